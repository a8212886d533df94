"""What a comparison answers, in plain words: did it help, against what, how sure, at what cost, and what was advised.

Nothing is claimed that an interval does not carry: a difference "helped" or "hurt" only where the interval over
seeds excludes 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ultra_agents.evaluation.wording import digits_for, interval, number
from ultra_agents.text import counted

HELPED, HURT, OPEN = "helped", "hurt", "no difference shown"
IDLE, UNSURE = "nothing acted", "no interval"
"""The answers there are. `nothing acted`: no advice passed its tests on any seed, so what differs is the cost of tests
and the chance of another training. `no interval`: one seed with too few episodes to judge by."""


@dataclass(frozen=True)
class Answer:
    """One method on one task, held against the baseline.

    Attributes:
        task: Name of the task.
        method: Name of the method.
        verdict: One of the words above.
        gain: The difference from the baseline with its interval, with the rules in force where there are any.
        alone: The same of the network alone, where rules are in force at the end; else empty.
        ended: The return it ended with, and the baseline's.
        basis: What the interval is over.
        cost: Environment steps that were spent before refining, and tokens, per seed; empty for none.
        advice: What came of its advice; empty for a method without.
        rules: The set of rules of the first seed whose rules acted or whose reward was added, as a document; empty for
            none.
    """

    task: str
    method: str
    verdict: str
    gain: str
    alone: str
    ended: str
    basis: str
    cost: str
    advice: str
    rules: str = ""

    @property
    def sentence(self) -> str:
        """One line for a terminal."""
        alone = f" (the network alone {self.alone})" if self.alone else ""
        parts = [f"{self.verdict}: {self.gain}{alone} over {self.basis}", self.ended, self.advice, self.cost]
        return f"{self.task}, {self.method}: " + "; ".join(part for part in parts if part)


def answers(summary: Mapping[str, Any]) -> list[Answer]:
    """An answer for each method of each task that trains and can be held against the baseline.

    Args:
        summary: Content of `report.json`.
    """
    baseline = summary["baseline"]
    return [
        _answer(task, name, row, found["methods"][baseline]["last"], baseline)
        for task, found in summary["tasks"].items()
        for name, row in found["methods"].items()
        if row["difference"] is not None and sum(row["env_steps"].values())
    ]


def headline(summary: Mapping[str, Any]) -> str:
    """What may be claimed, in one line: the sentences of all tasks."""
    return " ".join(sentences(summary))


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """One for each task: those whose paired difference from the baseline has an interval without 0; the others.

    Tasks of which nothing is finished come last, together.
    """
    found, tasks = answers(summary), summary["tasks"]
    begun = [name for name, one in tasks.items() if one["methods"]]
    told = [_about(name, [one for one in found if one.task == name], summary, summary["baseline"]) for name in begun]
    rest = ", ".join(name for name in tasks if name not in begun)
    return [*told, f"Nothing finished yet of {rest}."] if rest else told


def gaps(summary: Mapping[str, Any]) -> str:
    """How many cells of the file are not in the numbers, by task; empty where all are."""
    rows: dict[str, list[bool]] = {}
    for cell in summary["cells"]:
        rows.setdefault(cell["task"], []).append(cell["status"] != "finished")
    missing, each = sum(map(sum, rows.values())), [f"{task} {sum(row)} of {len(row)}" for task, row in rows.items()]
    return (
        f"{missing} of {len(summary['cells'])} cells are not in these numbers: {', '.join(each)}." if missing else ""
    )


def mixed(summary: Mapping[str, Any]) -> str:
    """What cells were not made with as those of the baseline were; empty where nothing is."""
    told = [
        f"{counted(row['cells'], 'cell')} made with another {row['name']} than the cell of {summary['baseline']} "
        f"on the same seed ({row['here']}, not {row['there']})"
        for row in summary["mixed"]
    ]
    return f"{', '.join(told)}: a part of the differences may come of that." if told else ""


def _about(task: str, found: Sequence[Answer], summary: Mapping[str, Any], baseline: str) -> str:
    if baseline not in summary["methods"]:
        return f"{task}: {baseline} is not among the methods, so there is nothing to hold them against."
    there = summary["tasks"][task]["methods"]
    if baseline not in there:
        return f"{task}: no cell of {baseline} is finished, so there is nothing to hold the others against."
    if not found:
        return f"{task}: nothing finished beside {baseline}."
    said = [f"{one.method} {one.verdict}, {one.gain}" for one in found if one.verdict in (HELPED, HURT)]
    for verdict in (OPEN, IDLE, UNSURE):
        names = [one.method for one in found if one.verdict == verdict]
        said += [f"{verdict} for {', '.join(names)}"] if names else []
    return f"{task}, against {baseline}{_went(summary['tasks'][task], baseline)}: {'; '.join(said)}."


def _went(found: Mapping[str, Any], baseline: str) -> str:
    """How far the baseline came from the starting policy: a method may look good beside training that went wrong."""
    before, after = found["before"], found["methods"][baseline]["last"]
    digits = digits_for([before, after])
    return f" (from {number(before['value'], digits)} to {number(after['value'], digits)})"


def _answer(task: str, name: str, row: Mapping[str, Any], other: Mapping[str, Any], baseline: str) -> Answer:
    ruled = row["difference_with_rules"]
    gap = ruled or row["difference"]
    ended = row["with_rules"] or row["last"]
    digits = digits_for([gap, ended, other])
    return Answer(
        task=task,
        method=name,
        verdict=_verdict(gap) if _acted(row) else IDLE,
        gain=interval(gap, digits),
        alone=interval(row["difference"], digits) if ruled else "",
        ended=f"ended at {number(ended['value'], digits)}, {baseline} at {number(other['value'], digits)}",
        basis=_basis(gap, len(row["difference_by_seed"])),
        cost=_cost(row),
        advice=_advice(row),
        rules=(row["rules"] or {}).get("text") or "",
    )


def _acted(row: Mapping[str, Any]) -> bool:
    """Something was advised and used, or the method is none that takes advice.

    Moves that hold one by one need not act: the copy that learnt them, and their table, are tested once more.
    """
    advice, rules = row["advice"] or {}, row["rules"] or {}
    if row["advice"] is None and row["rules"] is None:
        return True
    return bool(advice.get("acted") or rules.get("held") or rules.get("rewarded"))


def _verdict(gap: Mapping[str, Any]) -> str:
    if gap["low"] is None:
        return UNSURE
    return HELPED if gap["low"] > 0 else HURT if gap["high"] < 0 else OPEN


def _basis(gap: Mapping[str, Any], seeds: int) -> str:
    episodes = gap.get("episodes")
    return f"{seeds} training seeds" if episodes is None else f"{episodes} paired episodes of one training seed"


def _cost(row: Mapping[str, Any]) -> str:
    spent = sum(value for purpose, value in row["env_steps"].items() if purpose != "refine")
    tokens = 0 if row["advice"] is None else row["advice"]["cost"]["tokens"] / max(1, len(row["seeds"]))
    parts = [f"{spent:,.0f} of its steps before refining"] if spent else []
    parts += [f"{tokens:,.0f} tokens"] if tokens else []
    return ", ".join(parts)


def _advice(row: Mapping[str, Any]) -> str:
    """What the test let through, or acted without one: rules by seed, moves by number."""
    said = []
    if (worth := row["rules"]) is not None:
        held, seeds = worth["held"], worth["seeds"]
        where = "" if seeds == 1 else f" on {held} of {seeds} seeds" if held else f" on any of {seeds} seeds"
        rewarded = worth.get("rewarded", 0)
        if worth["verdicts"].get("untested"):
            said.append(f"rules acted untested{where}")
        elif held or not rewarded:
            said.append(f"{'' if held else 'no '}rules held{where}")
        if rewarded:
            on = "" if seeds == 1 else f" on {rewarded} of {seeds} seeds"
            said.append(f"an implicit reward was added{on}")
    if (worth := row["advice"]) is not None and worth["proposed"]:
        tested, held = worth["tested"], worth["held"]
        if tested:
            alone = f"{held or 'none'} of {counted(tested, 'tested suggestion')} held"
            more = worth["accepted"] > held  # a set is put to a test of its own
            said.append(f"{alone} by itself, {worth['accepted']} as part of a set" if more else alone)
            if worth["accepted"] and not worth["acted"]:
                said.append("neither their table nor a copy that learnt them did better than the policy")
        else:
            said.append(f"{worth['accepted']} of {counted(worth['proposed'], 'suggestion')} accepted, untested")
    return ", ".join(said)
