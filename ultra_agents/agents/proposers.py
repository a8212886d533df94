"""The controls beside the agents: `random`, `value`, and an `oracle` (not part of the ULTRA paper).

They go through the same graph, the same test and the same rules as the language models' suggestions; only the three
nodes that decide are exchanged. A language model is worth its tokens by what it adds over `random`; `value` looks
where the policy itself saw its prospects fall; `oracle`, where an environment knows an expert, is the upper bound.
Controls do not revise: as many suggestions per segment as an identifier may name critical states, one for each state.
All have the implicit reward +1, the policy's actions -1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultra_agents.agents.controls import Control, Follow, Oracle, Random, Value
from ultra_agents.agents.explain import SPEED_ONLY, digest, node_limit
from ultra_agents.agents.runner import Item, SegmentRunner, Stop, never
from ultra_agents.agents.state import Answer, Context, Tester
from ultra_agents.config import AgentsConfig, VerificationConfig
from ultra_agents.contracts import Environment
from ultra_agents.events import Emit
from ultra_agents.records import Critique, Explanation, Narration, Trajectory
from ultra_agents.seeding import Streams

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

    from ultra_agents.agents.graph import Minds
    from ultra_agents.agents.ray_segments import RaySegments
    from ultra_agents.agents.state import State

__all__ = ["Control", "ControlProposer"]


class ControlProposer:
    """Proposes advice without a language model.

    Args:
        kind: `random`: uniform steps of the segment, uniform actions, uniform holds. `value`: the steps over which the
            policy's value estimate fell most, actions as for `random`. `oracle`: uniform among the steps where the
            environment's expert would have acted otherwise; what it does when it plays on from there.
        environment: Action names and the expert.
        agents: `max_critical` suggestions per segment, of up to `max_moves` moves held `min_hold` to `max_hold` steps.
        tester: The simulator test; None accepts everything.
        verification: How the tester tests, so that a changed test is run again.
        follow: Lets the environment's expert play on in the simulator, for `oracle`.
        streams: Source of the choices: equal seeds and segments give equal proposals.
        emit: Where events go; called from several threads.
        checkpoint: SQLite file with the progress of each segment, so that no test is run twice; None keeps none.
        cluster: Explains segments elsewhere; not for `oracle`.

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
        verification: VerificationConfig | None = None,
        follow: Follow | None = None,
        cluster: RaySegments | None = None,
    ) -> None:
        once = agents.model_copy(update={"max_revisions": 0})
        rule = (verification or VerificationConfig()).model_copy(
            update={"mode": "none" if tester is None else "simulate"}
        )
        mind: Random
        if kind == "oracle":
            mind = Oracle(streams, environment, follow, agents.expert_steps)
        else:
            mind = {"random": Random, "value": Value}[kind](streams)

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
            numbers = [agents.max_critical, agents.min_hold, agents.max_hold, agents.max_moves]
            numbers += [agents.expert_steps, int(follow is not None)]
            settings = [
                kind,
                *numbers,
                rule.model_dump(mode="json", exclude=SPEED_ONLY),
                streams.seed,
                list(streams.path),
            ]
            return digest([*settings, narration.segment.name, narration.text])

        self._runner = SegmentRunner(
            checkpoint=checkpoint,
            minds=lambda: _minds(mind),
            context=context,
            fingerprint=fingerprint,
            limit=node_limit(once),
            emit=emit,
            cluster=cluster,
        )

    def explain_all(
        self, items: Sequence[Item], concurrency: int, stop: Callable[[], bool] = never
    ) -> list[Explanation]:
        """Propose for `items`, and test; as `Explainer.explain_all`."""
        return self._runner.run(items, concurrency, stop)


class _NoModels:
    """Controls ask nobody."""

    def ask(self, **_: Any) -> Answer:
        raise RuntimeError("a control has no language model to ask")


def _minds(mind: Random) -> Minds:
    """The nodes that decide, as `mind` decides."""
    from langgraph.types import Command

    from ultra_agents.agents.advisor import suggested
    from ultra_agents.agents.critic import judged
    from ultra_agents.agents.graph import Minds
    from ultra_agents.agents.identifier import named

    def identify(state: State, runtime: Runtime[Context]) -> Any:
        context = runtime.context
        context.check()
        return named(context, mind.cases(context))

    def advise(state: State, runtime: Runtime[Context]) -> Any:
        context = runtime.context
        context.check()
        plan = mind.plan(context, state["critical"][state["current"]]["step"])
        if plan is None:
            refusal = {"stage": "advise", "reason": "no other action", "detail": ""}
            return Command(goto="reject", update={"suggestion": None, "refusal": refusal})
        command = suggested(state, context, plan.moves, mind.why)
        return replace(command, update={**command.update, "env_steps": plan.env_steps})  # type: ignore[dict-item]

    def criticise(state: State, runtime: Runtime[Context]) -> Any:
        return judged(state, runtime.context, Critique("accept", 1.0, -1.0, "a control has no critic"))

    return Minds(identify, advise, criticise)
