"""The controls beside the agents: random states and actions, and an oracle (METHOD section 1, "beyond the paper").

They go through the same graph, the same test and the same rules as the language models' suggestions; only the three
nodes that decide are exchanged. A language model is worth its tokens by what it adds over `random`; `oracle`, where an
environment knows an expert, is the bound from above. Controls do not revise: as many suggestions per segment as an
identifier may name critical states, one for each state. All have the implicit reward +1, the policy's actions -1.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ultra_agents.agents.explain import digest, node_limit
from ultra_agents.agents.runner import Item, SegmentRunner, Stop, never
from ultra_agents.agents.state import Answer, Context, Tester
from ultra_agents.config import AgentsConfig, VerificationConfig
from ultra_agents.contracts import Environment, capabilities
from ultra_agents.errors import PluginError
from ultra_agents.events import Emit
from ultra_agents.narration.plugin import asking, plugin_name
from ultra_agents.records import Array, Critique, Explanation, Narration, Trajectory
from ultra_agents.seeding import Streams

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

    from ultra_agents.agents.graph import Minds
    from ultra_agents.agents.state import State

Control = Literal["random", "oracle"]


class ControlProposer:
    """Proposes advice without a language model.

    Args:
        kind: `random`: uniform steps of the segment, uniform actions other than the one taken, uniform hold. `oracle`:
            uniform among the steps where the environment's expert would have acted otherwise; its action, held for as
            long as it would choose it along the episode.
        environment: Action names and the expert.
        agents: `max_critical` suggestions per segment, held for `min_hold` to `max_hold` steps.
        tester: The simulator test; None accepts everything.
        streams: Source of the choices: equal seeds and segments give equal proposals.
        emit: Where events go; called from several threads.
        checkpoint: SQLite file with the progress of each segment, so that no test is run twice; None keeps none.

    Raises:
        PluginError: `oracle` in an environment that knows no expert.
    """

    def __init__(
        self,
        *,
        kind: Control,
        environment: Environment,
        agents: AgentsConfig,
        tester: Tester | None,
        streams: Streams,
        emit: Emit,
        checkpoint: Path | None = None,
    ) -> None:
        once = agents.model_copy(update={"max_revisions": 0})
        rule = VerificationConfig(mode="none" if tester is None else "simulate")
        mind = _Random(streams) if kind == "random" else _Oracle(streams, environment)

        def context(trajectory: Trajectory, narration: Narration, stop: Stop) -> Context:
            return Context(
                trajectory=trajectory,
                narration=narration,
                environment=environment,
                gateway=_NoModels(),
                agents=once,
                verification=rule,
                tester=tester,
                emit=emit,
                source=kind,
                stop=stop,
            )

        def fingerprint(narration: Narration) -> str:
            settings = [kind, agents.max_critical, agents.min_hold, agents.max_hold, tester is not None]
            return digest([*settings, streams.seed, list(streams.path), narration.text])

        self._runner = SegmentRunner(
            checkpoint=checkpoint,
            minds=lambda: _minds(mind),
            context=context,
            fingerprint=fingerprint,
            limit=node_limit(once),
            emit=emit,
        )

    def explain_all(
        self, items: Sequence[Item], concurrency: int, stop: Callable[[], bool] = never
    ) -> list[Explanation]:
        """Propose for `items`, and test; as `Explainer.explain_all`."""
        return self._runner.run(items, concurrency, stop)


@dataclass
class _Case:
    case_analysis: str
    step: int
    importance: float


class _NoModels:
    """Controls ask nobody."""

    def ask(self, **_: Any) -> Answer:
        raise RuntimeError("a control has no language model to ask")


class _Random:
    """Any step, any other action, any hold."""

    why = "chosen at random"

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def steps(self, context: Context) -> list[int]:
        """Candidates for critical steps."""
        return list(range(context.narration.segment.start, context.narration.segment.stop))

    def suggestion(self, context: Context, step: int) -> tuple[str, int] | None:
        """Action and hold; None where there is no other action."""
        others = [name for name in context.environment.actions.names if name != context.taken(step)]
        rng = self.rng(context, step)
        hold = int(rng.integers(context.agents.min_hold, context.agents.max_hold + 1))
        return (others[int(rng.integers(len(others)))], hold) if others else None

    def rng(self, context: Context, *address: int) -> np.random.Generator:
        """A generator of this segment's own."""
        return self._streams.generator(context.segment, *address)


class _Oracle(_Random):
    """Steps where the expert would have done something else; what it would have done."""

    why = "the expert would have acted otherwise"

    def __init__(self, streams: Streams, environment: Environment) -> None:
        super().__init__(streams)
        if "expert" not in capabilities(environment):
            raise PluginError(
                f"the environment plugin {plugin_name(environment)} knows no expert",
                expected="an environment that overrides expert()",
                hint="set proposer to llm or random",
            )
        with asking(environment, "expert()"):
            self._expert: Callable[[Array], Array] = environment.expert()
        self._lock = threading.Lock()

    def steps(self, context: Context) -> list[int]:
        """Steps of the segment where the expert differs from the policy."""
        segment = context.narration.segment
        wanted = self._wanted(context, segment.start, segment.stop)
        return [step for step, name in enumerate(wanted, segment.start) if name != context.taken(step)]

    def suggestion(self, context: Context, step: int) -> tuple[str, int] | None:
        """The expert's action, held while it stays the same on the states the policy met."""
        wanted = self._wanted(context, step, min(step + context.agents.max_hold, len(context.trajectory)))
        changes = [index for index, name in enumerate(wanted) if name != wanted[0]]
        return wanted[0], max(changes[0] if changes else len(wanted), context.agents.min_hold)

    def _wanted(self, context: Context, start: int, stop: int) -> list[str]:
        """Names of the expert's actions at the steps `start .. stop - 1`."""
        with self._lock, asking(context.environment, "expert()"):
            actions = np.asarray(self._expert(context.trajectory.observations[start:stop]))
            return [context.environment.actions.decode(action) for action in actions]


def _minds(mind: _Random) -> Minds:
    """The nodes that decide, as `mind` decides."""
    from langgraph.types import Command

    from ultra_agents.agents.advisor import suggested
    from ultra_agents.agents.critic import judged
    from ultra_agents.agents.graph import Minds
    from ultra_agents.agents.identifier import named

    def identify(state: State, runtime: Runtime[Context]) -> Any:
        context = runtime.context
        context.check()
        steps = mind.steps(context)
        count = min(context.agents.max_critical, len(steps))
        chosen = sorted(mind.rng(context).permutation(len(steps))[:count].tolist())
        return named(context, [_Case(mind.why, steps[index], 1.0) for index in chosen])

    def advise(state: State, runtime: Runtime[Context]) -> Any:
        context = runtime.context
        context.check()
        found = mind.suggestion(context, state["critical"][state["current"]]["step"])
        if found is None:
            refusal = {"stage": "advise", "reason": "no other action", "detail": ""}
            return Command(goto="reject", update={"suggestion": None, "refusal": refusal})
        return suggested(state, context, *found, mind.why)

    def criticise(state: State, runtime: Runtime[Context]) -> Any:
        return judged(state, runtime.context, Critique("accept", 1.0, -1.0, "a control has no critic"))

    return Minds(identify, advise, criticise)
