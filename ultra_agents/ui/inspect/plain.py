"""A run's critical states and rules without a terminal: one line each, stable for grep; or one JSON object."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from ultra_agents.records import Array, Attempt, Note, Trajectory
from ultra_agents.text import clean, counted
from ultra_agents.ui.inspect.glyphs import short
from ultra_agents.ui.inspect.run_view import LocatedState, RulesView, RunView, deciding_attempt, deciding_test

HEAD = ("episode:step", "fate", "taken", "suggested", "gain", "low", "high", "pairs", "stopped", "critic", "why")


def lines(run: RunView) -> Iterator[str]:
    """`run ...`, `note ...`, `method ...`, `episode ...`, `segment ...`, then a table of `critical ...` lines."""
    counts = ", ".join(
        f"{number} {fate}" for fate, number in run.counts.items() if number or fate not in ("open", "left")
    )
    yield (
        f"run {clean(run.name)}: {clean(run.environment)}, proposer {run.proposer}, {run.status}; "
        f"{counted(len(run.episodes), 'episode')}, {counted(len(run.told), 'segment')}, "
        f"{counted(len(run.critical), 'critical state')}: {counts}"
    )
    for note in run.notes:
        yield f"note {clean(note)}"
    for remark in run.remarks:
        yield f"person {clean(remark)}"
    for one in run.methods:
        ruled = "" if one.with_rules is None else f" with_rules={one.with_rules.mean:.2f}"
        yield f"method {one.method} before={one.before.mean:.2f} after={one.best.mean:.2f}{ruled}"
    for episode in run.episodes:
        yield (
            f"episode {episode.episode} steps={len(episode)} return={episode.episode_return:.2f} {ending_of(episode)}"
        )
    for explanation in run.told:
        yield f"segment {explanation.segment.name} critical={len(explanation.states)} {explanation.segment.kind}"
    if run.rules is not None:
        yield from _rule_lines(run.rules)
    table = [HEAD, *(row(one, run.has_critic) for one in run.critical)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD) - 1)]
    right = range(4, 8)
    for line in table if run.critical else ():
        cells = [cell.rjust(widths[n]) if n in right else cell.ljust(widths[n]) for n, cell in enumerate(line[:-1])]
        yield f"{'critical' if line is not HEAD else '#       '} {'  '.join(cells)}  {line[-1]}".rstrip()


def _rule_lines(rules: RulesView) -> Iterator[str]:
    """`rules VERDICT ...`, a line for each rule, and who acts in each episode as stretches of steps."""
    told = rules.headline if rules.headline.startswith(rules.verdict) else f"{rules.verdict}: {rules.headline}"
    yield f"rules {told}" + (f"; refining began from {rules.start}" if rules.start else "")
    if rules.reward:
        yield f"reward {rules.reward}"
    for one in rules.rows:
        brings = "-" if one.brings is None else f"{one.brings:+.4g}"
        acts = "dropped" if one.dropped else "-" if one.coverage is None else f"{one.coverage:.1%}"
        why = f": {one.why}" if one.why else ""
        yield f"rule {one.number} acts={acts} brings={brings} when {one.when} do {one.do}{why}"
    for episode, numbers in sorted(rules.acts.items()):
        shown = " ".join(f"{start}-{stop}:{number or 'policy'}" for start, stop, number in runs(numbers))
        yield f"acts {episode} {shown}"


def runs(numbers: Array) -> Iterator[tuple[int, int, int]]:
    """Stretches of equal numbers: first and last step, number."""
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for start, stop in pairwise(edges):
        yield start, stop - 1, int(numbers[start])


def row(one: LocatedState, has_critic: bool) -> tuple[str, ...]:
    """The cells of one critical state, `-` where there is nothing; the critic of a person's advice is `person`."""
    segment, state, by_person = one
    attempt, test = deciding_attempt(state), deciding_test(state)
    cells = [f"{segment.episode}:{state.step}", state.fate, state.taken_action]
    cells.append(clean(short(attempt.plan), 40) if attempt else "-")
    if test is None:
        cells += ["-"] * 5
    else:
        cells += [f"{test.gain:+.3f}", f"{test.low:+.3f}", f"{test.high:+.3f}", str(test.pairs), test.stopped]
    critique = attempt.standing if attempt is not None and has_critic and not by_person else None
    cells += ["person" if by_person else critique.verdict if critique else "-", clean(state.reason, 60) or "-"]
    return tuple(cells)


def ending_of(episode: Trajectory) -> str:
    """How an episode ended, in a word."""
    return "terminated" if episode.terminated else "truncated" if episode.truncated else "cut"


def note_text(note: Note) -> str:
    """`identify: step not shown (step 7)`."""
    return f"{note.stage}: {note.reason}" + (f" ({clean(note.detail, 120)})" if note.detail else "")


def to_json(run: RunView) -> str:
    """The run as JSON: `critical` holds one object per critical state with all its suggestions."""
    value = {
        "run": run.name,
        "folder": run.folder,
        "environment": run.environment,
        "status": run.status,
        "proposer": run.proposer,
        "notes": list(run.notes),
        "person": list(run.remarks),
        "methods": [
            {
                "method": one.method, "before": one.before.mean, "after": one.best.mean,
                "with_rules": None if one.with_rules is None else one.with_rules.mean,
            }
            for one in run.methods
        ],
        "episodes": [
            {"episode": one.episode, "steps": len(one), "return": one.episode_return, "ending": ending_of(one)}
            for one in run.episodes
        ],
        "segments": [
            {
                "segment": one.segment.name, "kind": one.segment.kind, "env_steps": one.env_steps,
                "notes": [note_text(note) for note in one.notes],
            }
            for one in run.told
        ],
        "rules": None if run.rules is None else _rules(run.rules),
        "critical": [_object(one, run.has_critic) for one in run.critical],
    }  # fmt: skip
    return json.dumps(_finite(value), indent=1, ensure_ascii=False)


def _rules(rules: RulesView) -> dict[str, Any]:
    """The set; `acts` holds for each episode the number of the rule that acts at each step, 0 for the policy."""
    return {
        "verdict": rules.verdict, "headline": rules.headline, "start": rules.start, "reward": rules.reward,
        "rules": [asdict(one) for one in rules.rows],
        "acts": {str(episode): numbers.tolist() for episode, numbers in sorted(rules.acts.items())},
    }  # fmt: skip


def _object(one: LocatedState, has_critic: bool) -> dict[str, Any]:
    segment, state, by_person = one
    has_critic = has_critic and not by_person
    return {
        "by_person": by_person,
        "episode": segment.episode, "step": state.step, "segment": segment.name, "fate": state.fate,
        "reason": state.reason, "detail": state.detail, "rationale": state.rationale, "importance": state.importance,
        "agreement": state.agreement, "taken": state.taken_action,
        "joint": None if state.joint is None else {**asdict(state.joint), "verdict": state.joint.verdict},
        "suggestions": [_suggestion(attempt, attempt is state.chosen, has_critic) for attempt in state.attempts],
    }  # fmt: skip


def _suggestion(attempt: Attempt, chosen: bool, has_critic: bool) -> dict[str, Any]:
    """One attempt; `verdict`, `reward`, `taken_reward` and `critique` are of the critic's last reading."""
    critique = attempt.standing
    return {
        "plan": str(attempt.plan), "moves": attempt.plan.moves, "written": str(attempt.written),
        "chosen": chosen, "rationale": attempt.rationale,
        "verdict": critique.verdict if critique and has_critic else None,
        "reward": critique.reward if critique else None,
        "taken_reward": critique.taken_reward if critique else None,
        "critique": critique.rationale if critique else "",
        "search": _searched(attempt), "test": None if attempt.test is None else asdict(attempt.test),
    }  # fmt: skip


def _searched(attempt: Attempt) -> dict[str, Any] | None:
    """What the search that made the plan measured; the plans are beside it."""
    found = attempt.search
    if found is None:
        return None
    told = {name: getattr(found, name) for name in ("gain", "tried", "env_steps", "reason", "changed")}
    return {**told, "goal": None if found.toward is None else found.toward.row}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
