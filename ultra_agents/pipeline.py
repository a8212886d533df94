"""One run, from a sub-optimal policy to a report: stages 0-11 in order.

| # | stage | in -> out | place |
|---|---|---|---|
| 0 | policy | checkpoint, or a short training run -> `Policy` | algorithm plugin, `policies.py` |
| 1 | collect | policy x simulators -> `Trajectory` (with simulator states) | `rollout/` |
| 2 | probe, effects, narrate | can states be restored?; what do actions do?; trajectory -> numbered steps in words, \
within a token budget | `effects/`, `narration/` + the describer |
| 3 | identify | narration -> `CriticalState`s with rationale (case analysis) | `agents/identifier.py` |
| 4 | advise | critical state -> `Attempt`: a plan (actions with holds) and its rationale | `agents/advisor.py` |
| 5 | criticise | suggestions -> implicit rewards, self-verification, verdict | `agents/critic.py` |
| 6 | test | suggestion + simulator state -> measured gain | `verification/` |
| 6 | rules | sets of closed-loop rules -> the one that held (`advice.form`) | `stages/rules.py`, `verification/` |
| 7 | tabulate, measure | accepted advice -> `AdviceTable`; what the advice is worth | `advice/`, `evaluation/` |
| 8 | start | rules that held -> a copy that learnt them, the rules in force, or both | `stages/start.py` |
| 8 | imitate | accepted plans, replayed -> a policy that does the same, if it proves better | `stages/imitate.py` |
| 8 | iterate | the better copy's episodes -> advice, tested, imitated once more | `stages/iterate.py` |
| 8 | test the table | rows at their neighbours, the table in whole episodes -> what may act | `stages/in_force.py` |
| 9 | modulate | actions, observations, table -> executed actions, bonus | `modulation/` |
| 10 | refine | modulated rollouts -> better policy | algorithm plugin, `refinement/` |
| 11 | evaluate, report | before/after, control -> statistics, page | `evaluation/` |

Stages 3-6 are one LangGraph state machine per segment of an episode (`agents/graph.py`); what it makes is an
`Explanation`, whose critical states hold every attempt, test and fate. What is known travels as one `Findings`. Every
stage that finished is kept in the run folder and is not repeated by `ultra resume`. With `agents.approve` a person
says after stage 6 what of it may be used (`stages/approve.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from ultra_agents import stages
from ultra_agents.config import Config, colours_of, follows_actions, uses_advice
from ultra_agents.events import Emit, EmitStreaming, RunFinished, RunForked, RunStarted, StageFinished, StageStarted
from ultra_agents.records import Advice, MethodResult, Narration
from ultra_agents.records.approval import Place
from ultra_agents.runs import RunFolder, read_lines
from ultra_agents.runs.files import round_copies, round_stage
from ultra_agents.stages import (
    AsJSON,
    Episodes,
    Explained,
    Findings,
    Imitation,
    Keeping,
    MeasuredEffects,
    Restoring,
    Round,
    RulesFound,
    Start,
    TableTest,
    WithCopy,
)
from ultra_agents.text import counted

T = TypeVar("T")
Until: TypeAlias = Literal["measure"]
"""A stage the pipeline can be told to end with."""


def plan_of(config: Config, until: Until | None = None) -> dict[str, float]:
    """The stages of a run in order, with their shares of its time; some may turn out to have nothing to do."""
    advised = until == "measure" or uses_advice(config)
    moves = config.of_moves
    plan = {"policy": 0.02, "collect": 0.03}
    if advised:
        plan |= {"probe": 0.01, **({"effects": 0.01} if stages.tells_effects(config) else {}), "narrate": 0.01}
        asked = config.agents.approve
        plan |= {"explain": 0.5, **({"approve": 0.01} if asked else {}), "tabulate": 0.01} if moves else {}
        plan |= {"rules": 0.2, **({"approve rules": 0.01} if asked else {})} if config.of_rules else {}
        plan |= {"measure": 0.01}
    if until is None:
        plan |= {"start": 0.12} if advised and config.of_rules else {}
        plan |= {"imitate": 0.03} if moves and any(map(follows_actions, config.methods)) else {}
        plan |= {name: 0.1 for name in rounds_of(config)} if "imitate" in plan else {}
        plan |= {"table": 0.02} if advised and moves else {}
        plan |= {f"refine {method}": 0.4 / len(config.methods) for method in config.methods}
        plan |= {"evaluate": 0.15, "report": 0.02}
    return plan


def rounds_of(config: Config) -> dict[str, int]:
    """The stages of expert iteration after the first round, which are the stages up to `imitate`, by their number."""
    return {round_stage(number): number for number in range(2, config.imitation.iterations + 1)}


def run_pipeline(
    folder: RunFolder,
    config: Config,
    emit: Emit,
    stop: Callable[[], bool],
    until: Until | None = None,
    emit_streaming: EmitStreaming | None = None,
) -> None:
    """Run every stage of `config` that `folder` does not hold yet, and write the report.

    Args:
        folder: The run's folder; finished stages in it are read back instead of repeated.
        config: The resolved configuration.
        emit: Where events go.
        stop: Asked between pieces of work; true stops cleanly.
        until: `measure` ends once the advice is explained, tested, tabulated and measured, before anything is
            refined; the folder can be taken up again from there.
        emit_streaming: Told of the agents' replies while they are written; None where nobody looks.

    Raises:
        UltraError: What is wrong and what to do; `Interrupted` and `BudgetReached` leave a resumable folder.
    """
    run = _Run(folder, emit)
    plan = tuple(plan_of(config, until).items())
    moves, advised = config.of_moves, "probe" in dict(plan)
    imitated = moves and until is None and any(map(follows_actions, config.methods))
    colours = tuple(colours_of(config.methods).items())
    parent = folder.parent
    resumed = any(row.get("event") == RunStarted.__name__ for row in read_lines(folder.events))
    emit(RunStarted(config.name, str(folder.path), config.hash(), resumed, plan, colours))
    if parent is not None:
        emit(RunForked(parent.name, parent.stage, parent.shared, parent.words, parent.paid.words))

    context = stages.run_context(folder, config, emit, stop, emit_streaming)
    context.tell_settings()
    context = context.starting_with(
        run.always("policy", "Read the starting policy", lambda: stages.starting_policy(context))
    )
    findings = Findings(
        run.once(
            "collect",
            f"Play {counted(config.collect.episodes, 'episode')}",
            lambda: stages.collect_episodes(context),
            Episodes(context),
        )
    )
    if advised:
        findings = _advice(run, context, findings)
    if until == "measure":
        emit(RunFinished("finished", time.monotonic() - run.started, findings.measures["headline"]))
        return
    if findings.rules is not None:
        start = run.once(
            "start",
            "Learn the rules, and choose where to start",
            lambda: stages.choose_start(context, findings),
            WithCopy(context, Start, "start-copy"),
        )
        findings = replace(findings, start=start)
    held = findings.rules is not None and findings.rules.held  # they take the place of moves
    if imitated and not held:
        imitation = run.once(
            "imitate",
            "Replay the advice, learn to do the same, test that",
            lambda: stages.imitate_advice(context, findings),
            WithCopy(context, Imitation, "imitated"),
        )
        findings = replace(findings, imitation=imitation)
        for stage, number in rounds_of(config).items():
            made = run.once(
                stage,
                f"Once more from the better copy: round {number}",
                partial(stages.iterate_advice, context, findings, number),
                WithCopy(context, Round, round_copies([stage])[stage]),
            )
            findings = replace(findings, rounds=(*findings.rounds, made))
    if advised and moves and not held:
        table = run.once(
            "table",
            "Test the table as it will act",
            lambda: stages.try_table(context, findings),
            AsJSON[TableTest](TableTest),
        )
        findings = replace(findings, table=table)
    results = [
        run.once(
            f"refine {method}",
            f"Refine the policy: {method}",
            partial(stages.refine_method, context, method, findings),
            AsJSON[MethodResult](MethodResult),
        )
        for method in config.methods
    ]
    results = run.once(
        "evaluate",
        f"Play {counted(config.evaluate.episodes, 'episode')} on seeds never trained on",
        lambda: stages.evaluate_methods(context, results),
        AsJSON[list[MethodResult]](list[MethodResult]),
    )
    summary = run.once(
        "report",
        "Write the report",
        lambda: stages.report(context, findings, results, run.seconds),
        AsJSON[str](str),
    )
    emit(RunFinished("finished", time.monotonic() - run.started, summary, str(folder.report_html)))


def _advice(run: _Run, context: stages.RunContext, findings: Findings) -> Findings:
    """Stages 2-7: what the agents and the tests find in the episodes."""
    restoring = run.once(
        "probe",
        "See whether simulator states can be restored",
        lambda: stages.probe_restoring(context),
        AsJSON[Restoring](Restoring),
    )
    findings = replace(findings, restoring=restoring)
    if stages.tells_effects(context.config):
        effects = run.once(
            "effects",
            "Measure what actions do",
            lambda: stages.find_effects(context, findings),
            AsJSON[MeasuredEffects](MeasuredEffects),
        )
        findings = replace(findings, effects=effects)
    narrations = run.once(
        "narrate",
        "Tell the episodes in words",
        lambda: stages.narrate_episodes(context, findings),
        AsJSON[list[Narration]](list[Narration]),
    )
    findings = replace(findings, narrations=narrations)
    if context.config.of_moves:
        explained = run.once(
            "explain",
            "Ask where the episodes were decided",
            lambda: stages.explain_episodes(context, findings),
            WithCopy(context, Explained, "tested-together"),
        )
        findings = replace(findings, explained=explained)
        if context.config.agents.approve:
            refused = run.once(
                "approve",
                "Wait for a person's word on what held",
                lambda: stages.approve_advice(context, findings),
                AsJSON[list[Place]](list[Place]),
            )
            findings = stages.without_refused(findings, refused)
        advice = run.once(
            "tabulate",
            "Build the advice table",
            lambda: stages.tabulate(context, findings),
            AsJSON[list[Advice]](list[Advice]),
        )
        findings = replace(findings, advice=advice)
    if context.config.of_rules:
        rules = run.once(
            "rules",
            "Propose rules, and test them",
            lambda: stages.find_rules(context, findings),
            AsJSON[RulesFound](RulesFound),
        )
        findings = replace(findings, rules=rules)
        if context.config.agents.approve:
            yes = run.once(
                "approve rules",
                "Wait for a person's word on the rules that held",
                lambda: stages.approve_rules(context, findings),
                AsJSON[bool](bool),
            )
            findings = replace(findings, rules=rules if yes else rules.refuse())
    measures = run.once(
        "measure",
        "Measure what the advice is worth",
        lambda: stages.measure(context, findings, run.seconds),
        AsJSON[dict[str, Any]](dict[str, Any]),
    )
    return replace(findings, measures=measures)


@dataclass
class _Run:
    """Runs stages, times them, and remembers their values in the run folder."""

    folder: RunFolder
    emit: Emit
    started: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    def always(self, name: str, title: str, work: Callable[[], T]) -> T:
        """Do `work`, which is cheap to do again."""
        self.emit(StageStarted(name, title))
        began = time.monotonic()
        made = work()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
        self.emit(StageFinished(name, self.seconds[name], stages.summary(made)))
        return made

    def once(self, name: str, title: str, work: Callable[[], T], keeping: Keeping[T]) -> T:
        """Do `work` unless the folder holds its value, which is read back."""
        if (done := self.folder.stage_done(name)) is not None:
            self.emit(StageStarted(name, title))
            with self.folder.reading(name):
                self.seconds[name] = float(done["seconds"])
                made = keeping.read(done["value"])
            self.emit(StageFinished(name, 0.0, "already done"))
            return made

        def work_and_keep() -> T:
            began = time.monotonic()
            made = work()
            kept = keeping.write(made)
            self.folder.mark_done(name, {"seconds": time.monotonic() - began, "value": kept})
            return made

        return self.always(name, title, work_and_keep)
