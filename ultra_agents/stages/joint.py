"""After the single tests: what nobody could decide one by one is put to the test together.

In sparse tasks no single suggestion shows a gain and the set does (METHOD section 6), so `verification.decide` says
which test has the last word: `single` keeps what passed alone; `joint` tests nothing alone and keeps of what the
critic accepted the rows that hold together; `both` keeps what passed alone, and of the undecided rest what holds
together. Sets are tested as they will be used: the whole table at its matching and strength.

Where advice is imitated it is used twice: a copy learns from it, and the table acts on during refining. Only one of
the two is tested, by default the copy (`verification.joint_as`). A second test would need another 4,800 to 9,600 steps
where `joint_max_steps` allows 10,000 in all, and would see little: the table acts at a tenth of the states at most,
with a chance of 0.3 that falls to 0, which moves the return of an episode by less than its noise, while a copy that is
worse is what all of refining starts from. A table that does harm costs samples, for overridden steps are learnt from
as what they are (`learn: mixture`). With `table` the copy is still compared with the policy before it is used, with
what is left of the budget.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from ultra_agents.contracts import Modulation, Policy
from ultra_agents.events import Dropped, StageProgress, StepsSpent
from ultra_agents.plugin_calls import action_word
from ultra_agents.records import Advice, Drop, Explanation, Trajectory
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.imitate import Imitator, imitates, joint_rule
from ultra_agents.stages.table import modulation_engine, source_of
from ultra_agents.verification import JointResult, JointTester, undecided

FILE = "joint.json"
REASON, UNPAID = "no gain together", "joint test budget spent"


def decided_together(
    context: RunContext, trajectories: Sequence[Trajectory], explanations: Sequence[Explanation]
) -> list[Explanation]:
    """The explanations with the rows that the joint test kept, and without those it did not.

    The steps of the joint test are charged to the first explanation with a row in it. Too few rows for a set leave
    everything as it is.
    """
    config = context.config
    rule = joint_rule(context)
    rows = [row for one in explanations for row in _candidates(context, trajectories, one)]
    if rule.decide == "single" or len(rows) < (1 if rule.decide == "joint" else rule.joint_min_rows):
        return list(explanations)
    streams = context.streams.child("joint")

    def build(some: Sequence[Advice]) -> Modulation:
        return modulation_engine(context, trajectories, some, "ra", streams.generator("modulation"))

    as_copy = rule.joint_as == "copy" and imitates(context) is None
    imitator = Imitator(context, trajectories) if as_copy else None
    if imitator is not None:  # learnt from as one set, so tested as one set
        rows += [row for one in explanations for row in one.advice if row not in rows]
    seeds = streams.integers(rule.joint_pairs, "reset")
    use: Callable[[Sequence[Advice]], Modulation | Policy] = build if imitator is None else imitator.copy
    segments = len(explanations)

    def progress(steps: int) -> None:
        note = f"{len(rows)} suggestions together: {steps:,} of at most {rule.joint_max_steps:,} steps"
        context.emit(StageProgress("explain", segments, segments, note))
        context.stop()  # waits while a person lets the run wait; a test that began is brought to its end

    with JointTester[Advice](context.environment, context.policy, rule, streams, use, seeds, progress) as tester:
        result = tester.select(rows, lean=imitator is not None and config.imitation.mode == "better")
    spent = result.env_steps + (0 if imitator is None else imitator.env_steps)
    context.emit(StepsSpent("joint", spent))
    result = replace(result, env_steps=spent)
    found = {**asdict(result), "rows": len(rows), "decide": rule.decide, "imitated": imitator is not None}
    found["advice"] = [[rows[index].episode, rows[index].step] for index in result.kept]
    context.folder.write_json(FILE, found)
    if result.pairs == 0 and rule.decide == "both":  # not a single pair could be paid for: nothing is known
        return _charged(explanations, spent)
    kept = {(rows[index].episode, rows[index].step) for index in result.kept}
    words = f"{result.gain:+.3g} per episode ({result.low:+.3g} to {result.high:+.3g}), {result.pairs} pairs"
    reason = REASON if result.pairs else UNPAID
    return _applied(context, trajectories, explanations, kept, words, reason, spent)


def _charged(explanations: Sequence[Explanation], env_steps: int) -> list[Explanation]:
    """The explanations, with what the joint test cost on the first of them."""
    first, *others = explanations
    return [replace(first, env_steps=first.env_steps + env_steps), *others]


def joint_result(context: RunContext) -> dict[str, Any] | None:
    """What the joint test of this run found; None where there was none."""
    path = context.folder.path / FILE
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found


def joint_steps(context: RunContext) -> int:
    """Environment steps the joint test of this run has spent."""
    found = joint_result(context)
    return 0 if found is None else int(found["env_steps"])


def joint_of(context: RunContext, advice: Sequence[Advice]) -> JointResult | None:
    """The joint test of exactly `advice` as it is imitated; None where another set was tested, or none."""
    found = joint_result(context)
    if found is None or not found.pop("imitated", False):
        return None
    same = {tuple(place) for place in found.pop("advice")} == {(row.episode, row.step) for row in advice}
    fields = {name: value for name, value in found.items() if name not in ("rows", "decide")}
    return JointResult(**{**fields, "kept": tuple(fields["kept"])}) if same and fields["kept"] else None


def _applied(
    context: RunContext,
    trajectories: Sequence[Trajectory],
    explanations: Sequence[Explanation],
    kept: set[tuple[int, int]],
    words: str,
    reason: str,
    env_steps: int,
) -> list[Explanation]:
    changed = []
    for one in explanations:
        rows = _candidates(context, trajectories, one)
        chosen = [replace(row, critique=f"Kept by the joint test: {words}. {row.critique}".strip()) for row in rows
                  if (row.episode, row.step) in kept]  # fmt: skip
        alone = [row for row in one.advice if row not in rows]
        lost = [row for row in rows if (row.episode, row.step) not in kept]
        drops = [Drop("test", reason, one.segment.name, f"step {row.step}: {words}") for row in lost]
        for drop in drops:
            context.emit(Dropped(drop.stage, drop.reason, drop.segment, drop.detail))
        charge = env_steps if rows else 0
        env_steps -= charge
        changed.append(
            replace(
                one,
                advice=tuple(sorted([*alone, *chosen], key=lambda row: row.step)),
                drops=(*one.drops, *drops),
                env_steps=one.env_steps + charge,
            )
        )
    return changed


def _candidates(context: RunContext, trajectories: Sequence[Trajectory], one: Explanation) -> list[Advice]:
    """The rows of one explanation that the joint test is asked about, one per state at most."""
    if context.config.verification.decide == "joint":
        return list(one.advice)
    settled = {row.step for row in one.advice}
    by_episode = {trajectory.episode: trajectory for trajectory in trajectories}
    why = {state.step: state.rationale for state in one.critical}
    rows: dict[int, Advice] = {}
    for trial in one.trials:  # in the order of the tests: of several at one state the last stands
        said = trial.suggestion
        if said.step in settled or not undecided(trial.result) or trial.result.gain <= 0:
            continue
        rows[said.step] = Advice(
            episode=said.episode,
            step=said.step,
            action=said.action,
            hold=said.hold,
            reward=trial.reward,
            taken_action=action_word(context.environment, by_episode[said.episode], said.step),
            taken_reward=0.0,
            rationale=why.get(said.step, ""),
            advice=said.rationale,
            critique="",
            importance=trial.importance,
            source=source_of(context.config),
            test=trial.result,
            then=said.then,
        )
    return list(rows.values())
