"""One run, from a sub-optimal policy to a report: stages 0-11 in order.

| # | stage | in -> out | place |
|---|---|---|---|
| 0 | policy | checkpoint, or a short training run -> `Policy` | algorithm plugin, `policies.py` |
| 1 | collect | policy x simulators -> `Trajectory` (with simulator states) | `rollout/` |
| 2 | narrate | trajectory -> numbered steps in words, within a token budget | `narration/` + the describer |
| 3 | identify | narration -> `CriticalState`s with rationale (case analysis) | `agents/identifier.py` |
| 4 | advise | critical states -> `Suggestion`s (action, hold, rationale) | `agents/advisor.py` |
| 5 | criticise | suggestions -> implicit rewards, self-verification, verdict | `agents/critic.py` |
| 6 | test | suggestion + simulator state -> measured gain | `verification/` |
| 7 | tabulate, measure | accepted advice -> `AdviceTable`; what the advice is worth | `advice/`, `evaluation/` |
| 8 | imitate | accepted plans, replayed -> a policy that does the same, if it proves better | `stages/imitate.py` |
| 9 | modulate | actions, observations, table -> executed actions, bonus | `modulation/` |
| 10 | refine | modulated rollouts -> better policy | algorithm plugin, `refinement/` |
| 11 | evaluate, report | before/after, control -> statistics, page | `evaluation/` |

Stages 2-6 are one LangGraph state machine per segment of an episode (`agents/graph.py`). Every stage that finished
is kept in the run folder and is not repeated by `ultra resume`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import TypeAdapter

from ultra_agents import stages
from ultra_agents.config import Config, follows_actions, variant_of
from ultra_agents.events import Emit, EmitStreaming, RunFinished, RunStarted, StageFinished, StageStarted
from ultra_agents.records import Advice, Explanation, MethodResult
from ultra_agents.runs import RunFolder

T = TypeVar("T")
Until: TypeAlias = Literal["measure"]
"""A stage the pipeline can be told to end with."""


def run_pipeline(
    folder: RunFolder,
    config: Config,
    emit: Emit,
    stop: Callable[[], bool],
    until: Until | None = None,
    grow: EmitStreaming | None = None,
) -> None:
    """Run every stage of `config` that `folder` does not hold yet, and write the report.

    Args:
        folder: The run's folder; finished stages in it are read back instead of repeated.
        config: The resolved configuration.
        emit: Where events go.
        stop: Asked between pieces of work; true stops cleanly.
        until: `measure` ends once the advice is explained, tested, tabulated and measured, before anything is
            refined; the folder can be taken up again from there.
        grow: Told of the agents' replies while they are written; None where nobody looks.

    Raises:
        UltraError: What is wrong and what to do; `Interrupted` and `BudgetReached` leave a resumable folder.
    """
    run = _Run(folder, config, emit, stop)
    uses_advice = until == "measure" or any(variant_of(method) for method in config.methods)
    plan = [("policy", 0.02), ("collect", 0.03)]
    plan += [("explain", 0.5), ("tabulate", 0.01), ("measure", 0.01)] if uses_advice else []
    if until is None:
        plan += [("imitate", 0.03)] if any(map(follows_actions, config.methods)) else []
        plan += [(f"refine {method}", 0.4 / len(config.methods)) for method in config.methods]
        plan += [("evaluate", 0.1), ("report", 0.02)]
    emit(RunStarted(config.name, str(folder.path), config.hash(), bool(folder.done), tuple(plan)))

    with stages.open_context(folder, config, run.emit, stop, grow) as context:
        run.stage("policy", "Read the starting policy", lambda: stages.starting_policy(context), type(None))
        trajectories = run.stage(
            "collect", f"Play {config.collect.episodes} episodes", lambda: stages.collect_episodes(context), None
        )
        explanations: list[Explanation] = []
        advice: list[Advice] = []
        measures: dict[str, Any] = {}
        if uses_advice:
            explanations = run.stage(
                "explain",
                "Ask where the episodes were decided",
                lambda: stages.explain_episodes(context, trajectories),
                list[Explanation],
            )
            advice = run.stage(
                "tabulate",
                "Build the advice table",
                lambda: stages.tabulate(context, trajectories, explanations),
                list[Advice],
            )
            measures = run.stage(
                "measure",
                "Measure what the advice is worth",
                lambda: stages.measure(context, trajectories, explanations, advice, run.seconds),
                dict[str, Any],
            )
        if until == "measure":
            emit(RunFinished("finished", time.monotonic() - run.started, measures["headline"]))
            return
        imitation: stages.Imitation | None = None
        if any(map(follows_actions, config.methods)):
            imitation = run.stage(
                "imitate",
                "Replay the advice, learn to do the same, test that",
                lambda: stages.imitate_advice(
                    context, trajectories, advice, stages.joint_of(context, advice), stages.joint_steps(context)
                ),
                stages.Imitation,
            )
        results = [
            run.stage(
                f"refine {method}",
                f"Refine the policy: {method}",
                partial(stages.refine_method, context, method, trajectories, explanations, advice, imitation),
                MethodResult,
            )
            for method in config.methods
        ]
        results = run.stage(
            "evaluate",
            f"Play {config.evaluate.episodes} episodes on seeds never trained on",
            lambda: stages.evaluate_methods(context, results),
            list[MethodResult],
        )
        summary = run.stage(
            "report",
            "Write the report",
            lambda: stages.report(context, trajectories, explanations, advice, results, run.seconds, measures),
            str,
        )
    emit(RunFinished("finished", time.monotonic() - run.started, summary, str(folder.report_html)))


@dataclass
class _Run:
    """Runs stages once each, times them, and remembers their outcome in the run folder."""

    folder: RunFolder
    config: Config
    emit: Emit
    stop: Callable[[], bool]
    started: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    def stage(self, name: str, title: str, work: Callable[[], T], kind: Any) -> T:
        """Do `work` unless the folder holds its outcome, which is read back as `kind`.

        A `kind` of None or NoneType means the stage keeps its own outcome and is cheap to ask again.
        """
        keeps = kind not in (None, type(None))
        if keeps and (done := self.folder.stage_done(name)) is not None:
            self.seconds[name] = float(done["seconds"])
            self.emit(StageStarted(name, title))
            self.emit(StageFinished(name, 0.0, "already done"))
            value: T = TypeAdapter(kind).validate_python(done["value"])
            return value
        self.emit(StageStarted(name, title))
        began = time.monotonic()
        made = work()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
        if keeps:
            value_json = TypeAdapter(kind).dump_python(made, mode="json")
            self.folder.mark_done(name, {"seconds": self.seconds[name], "value": value_json})
        self.emit(StageFinished(name, self.seconds[name], stages.summary(name, made)))
        return made
