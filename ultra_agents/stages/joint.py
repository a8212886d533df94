"""After the single tests: what nobody could decide one by one is put to the test together.

In sparse tasks no single suggestion shows a gain and the set does (`docs/method.md`, "What was measured"), so
`verification.decide` says which test has the last word: `single` keeps what passed alone; `joint` tests nothing alone
and keeps of what the critic accepted the rows that hold together; `both` keeps what passed alone, and of the undecided
rest what holds together. Sets are tested as they will be used: the whole table at its matching and strength.

Where advice is imitated it is used twice: a copy learns from it, and the table acts on during refining. Only one of
the two is tested here, by default the copy (`verification.joint_as`), since a copy that is worse is what all of
refining starts from. A table that is to act, because no copy is used, has a test of its own (`stages.in_force`). With
`table` the copy is still compared with the policy before it is used, with what is left of the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from ultra_agents.contracts import Modulation, Policy
from ultra_agents.events import Dropped, StageProgress, StepsSpent
from ultra_agents.records import Advice, CriticalState, Explanation, Fate, JointVerdict
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Explained, Findings, JointOutcome
from ultra_agents.stages.imitate import Imitator, imitates, joint_rule
from ultra_agents.stages.table import modulation_engine
from ultra_agents.text import counted
from ultra_agents.verification import JointTester

LOST = ("left", "rejected", "dropped")
REASON, OPEN, UNPAID = "no gain together", "undecided together", "joint test budget spent"


def decided_together(context: RunContext, findings: Findings, explanations: Sequence[Explanation]) -> Explained:
    """The explanations with what the joint test says of each of their cases that it was asked about.

    Its steps are charged to the first explanation with a row in it. Too few rows for a set leave everything as it is.
    Where the set is imitated, what passed alone is learnt from as well, so it is tested with the rest; it stays
    accepted whatever comes of that.
    """
    config, rule = context.config, joint_rule(context)
    asked = [_asked_about(one, rule.decide) for one in explanations]
    candidates = sum(map(len, asked))
    if rule.decide == "single" or candidates < (1 if rule.decide == "joint" else rule.joint_min_rows):
        return Explained(tuple(explanations))
    streams = context.streams.child("joint")

    def build(some: Sequence[Advice]) -> Modulation:
        return modulation_engine(context, findings.trajectories, some, "ra", streams.generator("modulation"), ())

    as_copy = rule.joint_as == "copy" and imitates(context, findings) is None
    imitator = Imitator(context, findings.trajectories) if as_copy else None
    rows = [
        row
        for one, steps in zip(explanations, asked, strict=True)
        for row in _hopeful(one, steps).advice
        if imitator is not None or row.step in steps
    ]
    seeds = streams.integers(rule.joint_pairs, "reset")
    use: Callable[[Sequence[Advice]], Modulation | Policy] = build if imitator is None else imitator.copy
    segments = len(explanations)

    def progress(steps: int) -> None:
        note = f"{len(rows)} suggestions together: {steps:,} of at most {rule.joint_max_steps:,} steps"
        context.emit(StageProgress("explain", segments, segments, note))
        context.stop()  # waits while a person lets the run wait; a test that began is brought to its end

    with JointTester[Advice](context.environment, context.policy, rule, streams, use, seeds, progress) as tester:
        found = tester.select(rows, lean=imitator is not None and config.imitation.mode == "better")
        kept = [rows[index] for index in found.kept]
        copy = tester.built(found.kept) if imitator is not None and kept else None
    shown = imitator.demonstrations(kept) if imitator is not None and kept else None
    spent = found.env_steps + (0 if imitator is None else imitator.env_steps)
    context.emit(StepsSpent("joint", spent, "set"))
    outcome = JointOutcome(
        **{**asdict(found), "env_steps": spent},
        rows=len(rows),
        decide=rule.decide,
        imitated=imitator is not None,
        advice=tuple((row.episode, row.step) for row in kept),
        steps=0 if shown is None else len(shown),
        agreement=imitator.agreement(shown, copy) if imitator and shown and isinstance(copy, Policy) else (),
    )
    told = list(explanations)
    if outcome.pairs or rule.decide == "joint":  # else not a single pair could be paid for: nothing is known
        told = [_told(context, one, steps, outcome) for one, steps in zip(explanations, asked, strict=True)]
    first = next(index for index, steps in enumerate(asked) if steps)
    told[first] = replace(told[first], env_steps=told[first].env_steps + spent)
    return Explained(tuple(told), outcome, copy)


def _asked_about(one: Explanation, decide: str) -> set[int]:
    """Steps of the cases the joint test is asked about: those accepted untested, or those nobody could decide."""
    if decide == "joint":
        return {state.step for state in one.states if state.fate == "accepted"}
    return {state.step for state in one.states if state.fate in LOST and state.set_candidate is not None}


def _hopeful(one: Explanation, asked: set[int]) -> Explanation:
    """The explanation as if every case in question were accepted."""
    joint = JointVerdict(True, 0.0, 0.0, 0.0, 0)
    states = [replace(state, fate="accepted", joint=joint) if state.step in asked else state for state in one.states]
    return replace(one, states=tuple(states))


def _told(context: RunContext, one: Explanation, asked: set[int], outcome: JointOutcome) -> Explanation:
    """The explanation with the verdict of the joint test on the cases it was asked about."""
    verdict = JointVerdict(False, outcome.gain, outcome.low, outcome.high, outcome.pairs, outcome.stopped)

    def told(state: CriticalState) -> CriticalState:
        if state.step not in asked:
            return state
        if (one.segment.episode, state.step) in outcome.advice:
            joint = replace(verdict, kept=True)
            return replace(state, fate="accepted", stage="", reason="", detail="", joint=joint)
        reason = (OPEN if outcome.verdict == "undecided" else REASON) if outcome.pairs else UNPAID
        measured = f"{outcome.gain:+.3g} per episode ({outcome.low:+.3g} to {outcome.high:+.3g})"
        detail = f"{measured}, {counted(outcome.pairs, 'pair')}"
        context.emit(Dropped("test", reason, one.segment.name, f"step {state.step}: {detail}", f"{state.step} joint"))
        fate: Fate = "rejected" if outcome.pairs else "dropped"
        return replace(state, fate=fate, stage="test", reason=reason, detail=detail, joint=verdict)

    return replace(one, states=tuple(map(told, one.states)))
