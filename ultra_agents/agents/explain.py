"""Stages 3-6 for many segments: language-model agents explain, the simulator disposes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultra_agents.agents import prompts
from ultra_agents.agents.runner import Item, SegmentRunner, Stop, never
from ultra_agents.agents.state import Asks, Context, Tester
from ultra_agents.config import AgentConfig, AgentsConfig, VerificationConfig
from ultra_agents.contracts import Environment
from ultra_agents.errors import ConfigError
from ultra_agents.events import Emit
from ultra_agents.records import Explanation, Narration, Trajectory

if TYPE_CHECKING:
    from ultra_agents.agents.graph import Minds
    from ultra_agents.agents.ray_segments import RaySegments

__all__ = ["Explainer", "Tester"]

SPEED_ONLY = {"workers", "slots"}
"""Keys of `verification` that change how fast a test is, never what it finds."""


class Explainer:
    """Explains segments with language models.

    Args:
        environment: Brief, describer, action names.
        gateway: The models; asked from several threads.
        agents: Numbers and models of the agents.
        verification: How suggestions are verified.
        tester: The simulator test; None leaves the decision to the critic in every mode.
        checkpoint: SQLite file with the progress of each segment.
        emit: Where events go; called from several threads.
        source: Written into each row of advice.
        models: What tells one choice of models from another (provider, options, by role): another model is not
            answered from an old explanation.
        cluster: Explains segments elsewhere.

    Raises:
        ConfigError: An agent has fallbacks but no first model.
    """

    def __init__(
        self,
        *,
        environment: Environment,
        gateway: Asks,
        agents: AgentsConfig,
        verification: VerificationConfig,
        tester: Tester | None,
        checkpoint: Path,
        emit: Emit,
        source: str,
        models: Mapping[str, Any] | None = None,
        cluster: RaySegments | None = None,
    ) -> None:
        for role in ("identifier", "advisor", "critic"):
            agent: AgentConfig = getattr(agents, role)
            if agent.fallback and agent.llm is None:
                raise ConfigError(
                    f"agents.{role} has a fallback, but no model it falls back from",
                    found=f"fallback: {', '.join(agent.fallback)}",
                    hint=f"set agents.{role}.llm",
                )
        settings = {
            "agents": agents.model_dump(mode="json", exclude={"concurrency"}),
            "verification": verification.model_dump(mode="json", exclude=SPEED_ONLY),
            "tested": tester is not None,
            "source": source,
            "models": dict(models or {}),
            "prompts": prompts.fingerprint(),
        }

        def context(trajectory: Trajectory, narration: Narration, stop: Stop) -> Context:
            return Context(
                trajectory=trajectory,
                narration=narration,
                environment=environment,
                gateway=gateway,
                agents=agents,
                verification=verification,
                tester=tester,
                emit=emit,
                source=source,
                stop=stop,
            )

        def fingerprint(narration: Narration) -> str:
            opening = prompts.opening(environment.brief, narration.text)
            return digest({**settings, "opening": opening, "steps": narration.steps})

        self._runner = SegmentRunner(
            checkpoint=checkpoint,
            minds=_agents,
            context=context,
            fingerprint=fingerprint,
            limit=node_limit(agents),
            emit=emit,
            cluster=cluster,
        )

    def explain(self, trajectory: Trajectory, narration: Narration) -> Explanation:
        """Explain one segment."""
        return self._runner.run([(trajectory, narration)], 1, never)[0]

    def explain_all(
        self, items: Sequence[Item], concurrency: int, stop: Callable[[], bool] = never
    ) -> list[Explanation]:
        """Explain `items`, `concurrency` at a time; results in the order of the items, whatever came first.

        Raises:
            Interrupted: `stop()` became true; what was answered is kept, a question under way is asked again.
            UltraError: A spending cap was reached, a model is unreachable, a plugin is at fault.
        """
        return self._runner.run(items, concurrency, stop)


def _agents() -> Minds:
    from ultra_agents.agents.graph import Minds

    return Minds()


def digest(values: object) -> str:
    """Sixteen hex digits that change with any of the JSON-able `values`."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def node_limit(agents: AgentsConfig) -> int:
    """Nodes that no segment passes: langgraph's guard against graphs that never end.

    Per suggestion at most five (advise, criticise, test, reflect, accept or reject), and narrate, identify, finish.
    """
    return 10 + 5 * agents.max_critical * (1 + agents.max_revisions)
