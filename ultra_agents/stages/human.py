"""A person's advice goes through the test that a model's goes through, and to the same place.

Moves at a step become an `Explanation` of their own (`source` is `human`), beside those of the run's proposer; what is
accepted is a row of the table. A set of rules joins the run's proposals. It takes the place of the run's own set where
it held and that did not, or where it is surely better in the very episodes that both were tested in. Steps are charged
to the methods that use advice. A person's advice is always tested alone and in the simulator, whatever
`verification.mode` and `verification.decide` ask of the proposer's. Its implicit rewards are those of controls: +1 for
what is suggested, -1 for what the policy did.

What refining has used cannot be changed any more: results must not stand beside advice they do not know of.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

from ultra_agents.agents.decisions import why_refused
from ultra_agents.agents.wording import measured
from ultra_agents.errors import ConfigError, RunError
from ultra_agents.plugin_calls import action_word
from ultra_agents.records import (
    HUMAN,
    Advice,
    Attempt,
    CriticalState,
    Critique,
    Explanation,
    Narration,
    Segment,
    Suggestion,
    TestResult,
    Trajectory,
)
from ultra_agents.rollout.store import load_trajectories
from ultra_agents.runs import RunFolder
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.explain import suggestion_tester
from ultra_agents.stages.findings import Explained, Findings, MeasuredEffects, Restoring
from ultra_agents.stages.human_kept import kept
from ultra_agents.stages.keeping import AsJSON
from ultra_agents.stages.narrate import probe_restoring
from ultra_agents.stages.rules_overview import read_rules
from ultra_agents.verification import check_place, parse_moves

Progress: TypeAlias = Callable[[str, int], object]
"""Told what is being done and the environment steps so far."""
POLL_S = 0.2
"""Seconds between two reports of progress."""
KIND = "a person's advice"
"""Kind of the segments of a person's moves."""
BEFORE = ("policy", "collect", "probe", "effects", "narrate", "explain", "tabulate", "rules", "measure")
"""Stages before anything uses the advice."""


@dataclass(frozen=True)
class MovesTried:
    """What came of testing a person's moves.

    Attributes:
        explanation: One case: the state, the plan, its test, its fate.
        known: It was tested before: nothing was played now.
        source: Who suggested it first.
    """

    explanation: Explanation
    known: bool = False
    source: str = HUMAN

    @property
    def case(self) -> CriticalState:
        """The only one."""
        return self.explanation.states[0]

    @property
    def attempt(self) -> Attempt:
        """The only one."""
        return self.case.attempts[0]

    @property
    def test(self) -> TestResult:
        """Of the attempt."""
        assert self.attempt.test is not None, "it is made by the test"
        return self.attempt.test


# -- what is known of a run ----------------------------------------------------------------------------------------


def read_findings(context: RunContext) -> Findings:
    """What the finished stages of a run have of its episodes and advice, as far as a person's advice needs it.

    Raises:
        RunError: There are no episodes yet, or something is damaged.
    """
    folder = context.folder
    check_collected(folder)
    findings = Findings(load_trajectories(folder.trajectories))
    parts = (
        ("probe", "restoring", Restoring),
        ("effects", "effects", MeasuredEffects),
        ("narrate", "narrations", list[Narration]),
        ("explain", "explained", Explained),
        ("tabulate", "advice", list[Advice]),
        ("measure", "measures", dict),
    )
    for stage, name, kind in parts:
        if (done := folder.stage_done(stage)) is not None:
            with folder.reading(stage):
                value = done["value"]
                kept = {**value, "copy": None} if kind is Explained else value
                findings = replace(findings, **{name: AsJSON(kind).read(kept)})
    return replace(findings, rules=read_rules(folder))


def check_collected(folder: RunFolder) -> None:
    """Raise a `RunError` where a run has no episodes yet."""
    if folder.stage_done("collect") is None or not any(folder.trajectories.glob("episode-*.npz")):
        raise RunError(
            f"{folder.path} has no episodes yet",
            found=f"finished stages: {', '.join(folder.done) or 'none'}",
            expected="the episodes of its policy, with simulator states",
            hint=f"go on with it: ultra resume {folder.path}",
        )


def check_takes(folder: RunFolder, rules: bool) -> None:
    """Refuse to keep advice that could not act in this run, or would stand beside results it had no part in.

    Args:
        folder: The run.
        rules: It is a set of rules, not moves.

    Raises:
        RunError: The run's advice has another form, its agents are not finished, or refining has begun.
    """
    what, form = ("rules" if rules else "moves"), folder.config.form
    only = "--dry tests it all the same and keeps nothing"
    if not (folder.config.of_rules if rules else folder.config.of_moves):
        raise RunError(
            f"the run {folder.name} cannot use {what}: its advice is {form}",
            found=f"advice.form: {form}",
            expected=f"advice.form: {what} or both",
            hint=f"start a run with --set advice.form=both; {only}",
        )
    later = [stage for stage in folder.done if stage not in BEFORE]
    if later:
        raise RunError(
            f"the run {folder.name} has used its advice already: its results would not be those of this advice",
            found=f"finished stages: {', '.join(later)}",
            expected="a run that has not gone beyond its explaining (ultra explain stops there)",
            hint=f"take it up in a copy: ultra fork {folder.path} --from {later[0]} --name {folder.name}-2; {only}",
        )
    if folder.stage_done("rules" if rules else "explain") is None:
        raise RunError(
            f"the agents of the run {folder.name} have not finished, so there is nothing yet to add advice to",
            found=f"finished stages: {', '.join(folder.done) or 'none'}",
            expected=f"the stage {'rules' if rules else 'explain'} finished",
            hint=f"go on with it: ultra explain {folder.path}; {only}. ultra note tells the agents something",
        )


def episode_of(findings: Findings, number: int) -> Trajectory:
    """The episode of this number.

    Raises:
        ConfigError: There is none.
    """
    for one in findings.trajectories:
        if one.episode == number:
            return one
    numbers = sorted(one.episode for one in findings.trajectories)
    raise ConfigError(
        f"there is no episode {number} in this run",
        found=f"episode {number}",
        expected=f"one of {', '.join(map(str, numbers[:12]))}{', ...' if len(numbers) > 12 else ''}",
    )


# -- moves ---------------------------------------------------------------------------------------------------------


def read_moves(context: RunContext, findings: Findings, episode: int, step: int, text: str) -> Suggestion:
    """A person's moves at a step, if they can be tested there.

    Raises:
        ConfigError: There is no such step, or the moves are none (`parse_moves`).
    """
    trajectory = episode_of(findings, episode)
    if not 0 <= step < len(trajectory):
        raise ConfigError(
            f"episode {episode} has no step {step}",
            found=f"step {step}",
            expected=f"a step from 0 to {len(trajectory) - 1}",
        )
    plan = parse_moves(text, context.environment, context.config.verification.longest_plan)
    suggestion = Suggestion(episode, step, plan)
    check_place(context.environment, trajectory, suggestion)
    return suggestion


def tried_before(findings: Findings, suggestion: Suggestion) -> MovesTried | None:
    """The test of the same moves at the same step, by whomever they were suggested; None where there was none."""
    for one in findings.explanations:
        for state in one.states:
            if (one.segment.episode, state.step) != (suggestion.episode, suggestion.step):
                continue
            for attempt in state.attempts:
                if attempt.plan == suggestion.plan and attempt.test is not None:
                    case = replace(state, attempts=(attempt,), joint=None)
                    alone = replace(one, states=(case,), notes=())
                    return MovesTried(alone, known=True, source=one.source)
    return None


def try_moves(
    context: RunContext,
    findings: Findings,
    suggestion: Suggestion,
    why: str = "",
    *,
    workers: int | None = None,
    progress: Progress = lambda what, steps: None,
) -> MovesTried:
    """Test a person's moves as a model's are tested, unless the very same were tested before.

    Args:
        context: The run, with its starting policy.
        findings: What is known of it.
        suggestion: Of `read_moves`.
        why: In the person's words.
        workers: Processes that play; None: as configured.
        progress: Told of the environment steps from a thread of its own.

    Raises:
        RunError: States cannot be restored, or the budget of a test does not pay for one pair of rollouts.
    """
    if (known := tried_before(findings, suggestion)) is not None:
        return known
    trajectory = episode_of(findings, suggestion.episode)
    restoring = findings.restoring
    if context.folder.stage_done("probe") is None:
        restoring = probe_restoring(context)
    if not restoring.exact or trajectory.snapshots is None:
        raise RunError(
            "moves at a step cannot be tested in this run",
            found=restoring.why or "the episodes were collected without simulator states",
            expected="an environment that restores states exactly, and episodes with simulator states",
            hint="a rule is tested in whole episodes and needs neither: --rule FILE",
        )
    tester = suggestion_tester(context, findings, workers)
    with tester, telling("test", lambda: tester.env_steps, progress):
        result = tester(trajectory, suggestion)
    if result is None or result.stopped == "invalid":
        raise RunError(
            f"the moves could not be tested: {suggestion}",
            found="the budget of one test does not pay for a pair of rollouts"
            if result is None
            else "a faulty rollout",
            expected="fewer steps, or a larger verification.max_steps and max_test_steps",
        )
    return MovesTried(_explanation(context, trajectory, suggestion, result, why))


def keep_moves(context: RunContext, findings: Findings, tried: MovesTried) -> Findings:
    """Put tested moves into the run folder: the explanations, the table, the measures; all of it or nothing.

    Raises:
        RunError: It cannot be written.
    """
    explained = replace(findings.explained, explanations=(*findings.explanations, tried.explanation))
    return kept(context, replace(findings, explained=explained), tried.test.env_steps)


def _explanation(
    context: RunContext, trajectory: Trajectory, suggestion: Suggestion, result: TestResult, why: str
) -> Explanation:
    stop = min(suggestion.step + suggestion.plan.steps, len(trajectory))
    critique = Critique("accept", 1.0, -1.0, "")
    case = CriticalState(
        step=suggestion.step,
        rationale=why or KIND,
        importance=1.0,
        taken_action=action_word(context.environment, trajectory, suggestion.step),
        attempts=(Attempt(suggestion.plan, why, critique, result),),
        fate="accepted" if result.passed else "rejected",
        stage="" if result.passed else "test",
        reason="" if result.passed else why_refused(result),
        detail="" if result.passed else measured(suggestion.plan, result),
    )
    segment = Segment(suggestion.episode, suggestion.step, stop, KIND)
    return Explanation(segment, (case,), env_steps=result.env_steps, source=HUMAN)


# -- parts ---------------------------------------------------------------------------------------------------------


@contextmanager
def telling(what: str | Callable[[], str], steps: Callable[[], int], progress: Progress) -> Iterator[None]:
    """While the block runs, tell from a thread of its own how many steps were taken."""
    done = threading.Event()

    def poll() -> None:
        while not done.wait(POLL_S):
            with suppress(RuntimeError):  # a budget was added while they were summed up
                progress(what if isinstance(what, str) else what(), steps())

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
