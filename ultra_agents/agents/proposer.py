"""Stages 3-6 for many segments: whoever proposes, the same graph, test and rules; the simulator disposes.

Segments run side by side, each remembered after every node: a finished one is never run again, an interrupted one goes
on at the node it was in. `model_proposer` asks language models; `control_proposer` asks nobody (`controls.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ultra_agents.agents import prompts
from ultra_agents.agents.running import Stop, Task, digest, run_side_by_side
from ultra_agents.agents.state import EXPLANATION, Answer, AsksModels, Context, Refines, Tester
from ultra_agents.config import AgentsConfig, CriticConfig, VerificationConfig
from ultra_agents.contracts import Environment
from ultra_agents.events import Emit, StageProgress
from ultra_agents.records import Explanation, Narration, Trajectory

if TYPE_CHECKING:
    from ultra_agents.agents.checkpoint import CheckpointPlace
    from ultra_agents.agents.controls import Control
    from ultra_agents.agents.goal_terms import Goals
    from ultra_agents.agents.graph import Roles
    from ultra_agents.agents.tools.toolbox import Toolbox

Item: TypeAlias = tuple[Trajectory, Narration]

SPEED_ONLY = {"workers", "slots"}
"""Keys of `verification` that change how fast a test is, never what it finds."""


def never() -> bool:
    """A `stop` that never stops."""
    return False


class NoModels:
    """The gateway of those who ask no model."""

    def ask(self, **_: Any) -> Answer:
        """Raise: a control has nobody to ask."""
        raise RuntimeError("a control has no language model to ask")


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposer:
    """Explains segments.

    Attributes:
        roles: Makes the nodes that decide (made late: langgraph is heavy).
        environment: Brief, describer, action names.
        agents: Numbers and models of the agents.
        verification: How suggestions are verified.
        tester: The simulator test; None leaves the decision to the critic in every mode.
        emit: Where events go; called from several threads.
        source: Who proposes, as the explanations say it.
        gateway: The models; asked from several threads.
        checkpoint: Where to keep the progress of each segment; None remembers nothing.
        effects: What actions do, as every agent is told (`ultra_agents.effects.effects_text`).
        tools: What models that call tools may call; None where they may call none.
        settings: What else an explanation depends on, as JSON: a segment explained under others is explained anew.
        refines: The search around suggestions before their test; None tests them as they are.
        goals: What goals may be about and the search for them, where advice is goals.
    """

    roles: Callable[[], Roles]
    environment: Environment
    agents: AgentsConfig
    verification: VerificationConfig
    tester: Tester | None
    emit: Emit
    source: str
    gateway: AsksModels = field(default_factory=NoModels)
    checkpoint: CheckpointPlace | None = None
    effects: str = ""
    tools: Toolbox | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    refines: Refines | None = None
    goals: Goals | None = None

    def explain(self, items: Sequence[Item], concurrency: int = 1, stop: Stop = never) -> list[Explanation]:
        """Explain `items`, `concurrency` at a time; results in the order of the items, whatever came first.

        The first error, or `stop()`, lets running questions end and starts nothing more; the checkpoint keeps what
        there is.

        Raises:
            Interrupted: `stop()` became true before all segments were finished.
            UltraError: Whatever else ended a segment: a spending cap, an unreachable model, a faulty plugin.
        """
        names = [narration.segment.name for _, narration in items]
        if len(set(names)) != len(names):
            raise ValueError(f"a segment is there twice: {sorted(names)}")
        from ultra_agents.agents.graph import build_graph

        states = run_side_by_side(
            [self._task(item) for item in items],
            lambda saver: build_graph(saver, self.roles()),
            checkpoint=self.checkpoint,
            concurrency=concurrency,
            most_nodes=node_limit(self.agents),
            stop=stop,
            finished=lambda name, count: self.emit(StageProgress("explain", count, len(items), name)),
        )
        return [EXPLANATION.validate_python(state["explanation"]) for state in states]

    def _task(self, item: Item) -> Task:
        trajectory, narration = item

        def context(stop: Stop) -> Context:
            return Context(
                trajectory, narration, self.environment, self.gateway, self.agents, self.verification, self.tester,
                self.emit, self.source, stop, self.effects, self.tools, self.refines, self.goals,
            )  # fmt: skip

        return Task(narration.segment.name, self._fingerprint(narration), context, "explanation")

    def _fingerprint(self, narration: Narration) -> str:
        """What one segment's conversation depends on."""
        unused = {"concurrency", "rules", "max_repairs", "improve", "checkpoints", "approve", "search"} | (
            {"tools"} if self.tools is None else set()
        )
        return digest(
            {
                **self.settings,
                "agents": self.agents.model_dump(mode="json", exclude=unused),
                "verification": self.verification.model_dump(mode="json", exclude=SPEED_ONLY),
                "tested": self.tester is not None,
                "source": self.source,
                "opening": prompts.opening(self.environment.brief, narration.text, self.effects),
                "segment": narration.segment.name,
                "steps": narration.candidates,
            }
        )


def model_proposer(
    *,
    environment: Environment,
    gateway: AsksModels,
    agents: AgentsConfig,
    verification: VerificationConfig,
    tester: Tester | None,
    checkpoint: CheckpointPlace | None,
    emit: Emit,
    source: str,
    models: Mapping[str, Any] | None = None,
    effects: str = "",
    tools: Toolbox | None = None,
    refines: Refines | None = None,
    goals: Goals | None = None,
) -> Proposer:
    """Language models propose.

    Args:
        environment: Brief, describer, action names.
        gateway: The models; asked from several threads.
        agents: Numbers and models of the agents.
        verification: How suggestions are verified.
        tester: The simulator test; None leaves the decision to the critic in every mode.
        checkpoint: Where to keep the progress of each segment.
        emit: Where events go; called from several threads.
        source: Who proposes, as the explanations say it.
        models: What tells one choice of models from another (provider, options, by role): another model is not
            answered from an old explanation.
        effects: What actions do, as every agent is told.
        tools: What models that call tools may call.
        refines: The search around suggestions before their test; None tests them as they are.
        goals: Where the advisor is asked for goals: what they may be about, and the search for them.
    """
    settings = {"models": dict(models or {}), "prompts": prompts.fingerprint()}
    if tools is not None:
        settings |= {"tools": tools.settings}
    if refines is not None:
        settings |= {"search": agents.search.model_dump(mode="json")}
    if goals is not None:
        settings |= {"goals": goals.settings}
    return Proposer(
        roles=_model_roles if goals is None else _goal_roles,
        environment=environment,
        agents=agents,
        verification=verification,
        tester=tester,
        emit=emit,
        source=source,
        gateway=gateway,
        checkpoint=checkpoint,
        effects=effects,
        tools=tools,
        settings=settings,
        refines=refines,
        goals=goals,
    )


def control_proposer(
    *,
    control: Control,
    environment: Environment,
    agents: AgentsConfig,
    tester: Tester | None,
    emit: Emit,
    checkpoint: CheckpointPlace | None = None,
    verification: VerificationConfig | None = None,
) -> Proposer:
    """A control proposes: no model, no revisions, tested alone whatever `verification.mode` says.

    Args:
        control: Where it looks and what it would do there.
        environment: Names the actions.
        agents: Numbers of suggestions and moves.
        tester: The simulator test; None accepts everything.
        emit: Where events go; called from several threads.
        checkpoint: Where to keep the progress of each segment; None remembers nothing.
        verification: How suggestions are verified.
    """
    from ultra_agents.agents.controls import roles_of

    rule = verification or VerificationConfig()
    return Proposer(
        roles=lambda: roles_of(control),
        environment=environment,
        agents=agents.model_copy(update={"max_revisions": 0, "critic": CriticConfig()}),
        verification=rule.model_copy(update={"mode": "none" if tester is None else "simulate"}),
        tester=tester,
        emit=emit,
        source=control.name,
        checkpoint=checkpoint,
        settings=control.settings,
    )


def node_limit(agents: AgentsConfig) -> int:
    """Nodes that no segment passes: langgraph's guard against graphs that never end.

    Per suggestion at most five (advise, criticise, test, reflect, accept or reject), and narrate, identify, finish.
    """
    return 10 + 5 * agents.max_critical * (1 + agents.max_revisions)


def _model_roles() -> Roles:
    from ultra_agents.agents.graph import Roles

    return Roles()


def _goal_roles() -> Roles:
    from ultra_agents.agents.goals import advise
    from ultra_agents.agents.graph import Roles

    return Roles(advise=advise)
