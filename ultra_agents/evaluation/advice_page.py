"""The report's section on what the advice is worth, from the measures in `report.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ultra_agents.evaluation.wording import number
from ultra_agents.text import counted

WHO = {
    "llm": "language models",
    "random": "random states and actions (control)",
    "value": "random actions where the policy's value fell (control)",
    "search": "plans searched in the simulator where the policy's value fell (control)",
    "oracle": "an expert policy",
    "file": "a person's file of rules",
    "constants": "rules with constants drawn at random (control)",
}
"""Proposers in words."""
A_PERSON = "a person beside them"
"""Whoever gave advice with `ultra advise`."""


@dataclass(frozen=True)
class Fact:
    """One measure: its name, its value, its interval, and what it means."""

    name: str
    value: str
    ends: str
    meaning: str


def facts(measures: Mapping[str, Any]) -> list[Fact]:
    """The measures that are known, in the order to show them; figures have hyphens for minus signs."""
    rows: list[Fact] = []
    precision = measures["precision"]
    if precision is not None:
        ends = f"{100 * precision['low']:.0f} to {100 * precision['high']:.0f} %"
        meaning = f"share of tested suggestions whose gain holds: {measures['held']} of {measures['tested']}"
        if measures.get("undecided"):
            meaning += f"; undecided, so not used by default: {measures['undecided']}"
        rows.append(Fact("Advice precision", f"{100 * precision['value']:.0f} %", ends, meaning))
    for key, name, meaning in (
        ("gain", "Gain of a suggestion", "mean of everything tested, in units of return; unselected"),
        ("gain_held", "Gain of those that hold", "selected by the same test, so a little too good"),
    ):
        row = measures[key]
        if row is not None:
            ends = "" if row["low"] is None else f"{_figure(row['low'])} to {_figure(row['high'])}"
            rows.append(Fact(name, _figure(row["value"], True), ends, meaning))
    joint = measures.get("joint")
    if joint is not None:
        ends = f"{_figure(joint['low'])} to {_figure(joint['high'])}" if joint["low"] is not None else ""
        used = f"{len(joint['kept'])} of {joint['rows']} used, {joint['env_steps']:,} steps"
        meaning = f"gain per episode of a set of suggestions in force together: {joint['verdict']}; {used}"
        rows.append(Fact("Tested together", _figure(joint["gain"], True), ends, meaning))
    for key in ("importance", "reward"):
        row = measures["rank"][key]
        if row is not None:
            who = "identifier's importance" if key == "importance" else "critic's reward"
            meaning = f"Spearman, {who} against measured gain, {row['n']} trials"
            rows.append(Fact(f"Rank correlation of {key}", f"{row['rho']:+.2f}", f"p = {row['p']:.2f}", meaning))
    rows += _critic(measures)
    if measures.get("left"):
        meaning = "critical states of which the advisor said that nothing would have earned more; not tested"
        rows.append(Fact("Left as they are", f"{measures['left']}", "", meaning))
    touched = measures["touched"]
    meaning = f"with accepted advice; {100 * touched['steps']:.2g} % of all steps"
    rows.append(Fact("Episodes touched", f"{100 * touched['episodes']:.0f} %", "", meaning))
    if (row := measures.get("search")) is not None:
        rows.append(Fact("Searched in the simulator", f"{row['suggestions']}", "", _search_words(row)))
    if measures["steps_per_test"] is not None:
        spent = f"{measures['cost']['env_steps']:,} in all, charged to the methods that use the advice"
        rows.append(Fact("Environment steps of a test", _figure(measures["steps_per_test"]), "", f"median; {spent}"))
    rows += _prices(measures)
    return rows


def _search_words(row: Mapping[str, Any]) -> str:
    """What became of the searches; what could not be searched is said."""
    words = [f"suggestions, {row['tried']:,} plans played for them in {row['env_steps']:,} steps"]
    if (goals := row.get("goals")) is not None:
        words.append(
            f"of {counted(goals['set'], 'goal')} {goals['reached']} reached, {goals['nearer']} come nearer to or "
            f"bettered, {goals['no_nearer']} not come nearer to, {goals['alone']} reached by the policy alone"
        )
    if row["changed"]:
        words.append(f"{row['changed']} became another plan than was written")
    if row["nothing"] and goals is None:
        words.append(f"{counted(row['nothing'], 'search')} found no gain")
    if row["fallback"]:
        words.append(f"{row['fallback']} could not be searched: no state, or a budget below one rollout")
    return "; ".join(words)


def in_training(report: Mapping[str, Any]) -> list[Fact]:
    """What became of the copy that imitates the advice and of the table, and whether either was used."""
    copy, table = report.get("imitation") or {}, report.get("table") or {}
    rows = []
    if copy.get("verdict"):
        used = "refining starts from it" if copy["used"] else "not used"
        meaning = f"gain per episode of a copy that learnt the advice: {copy['verdict']}; {used}"
        rows.append(_whole("Copy of the policy", copy, meaning))
    for one in report.get("rounds") or ():
        spent = one["collecting"] + one["testing"] + one["imitating"]
        used = f"{one['verdict']}; " + ("refining starts from it or a later one" if one["used"] else "not used")
        meaning = f"gain per episode over the copy before: {used}" if one["verdict"] else one["headline"]
        told = (
            f"; {counted(one['plans'], 'plan')} of {one['tested']} tested, {spent:,} environment steps"
            if one["episodes"]
            else ""
        )
        rows.append(_whole(f"Copy of round {one['number']}", one, meaning + told))
    if table.get("verdict") and table["verdict"] not in ("empty", "retired"):
        used = "it acts in training" if table["acts"] else "it does not act in training"
        reach = f"; {sum(one > 0 for one in table['reaches'])} of {counted(table['rows'], 'row')} beyond its own state"
        meaning = f"gain per episode of the table as it acts in training: {table['verdict']}; {used}"
        rows.append(_whole("Advice table", table, meaning + (reach if table["reaches"] else "")))
    return rows


def _critic(measures: Mapping[str, Any]) -> list[Fact]:
    """What the critic's verdicts were worth, given before the test."""
    found, rows = measures.get("critic"), []
    told = {
        "precision": ("Critic's accept, precision", "of {accepted} suggestions it accepted {both} held"),
        "recall": ("Critic's accept, recall", "of {held} suggestions that held it had accepted {both}"),
    }
    for key, (name, meaning) in told.items():
        if found is None or found[key] is None:
            continue
        row, text = found[key], meaning.format(**found)
        if found["undecided"]:
            text += f"; undecided in the test, so not counted: {found['undecided']}"
        ends = f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %"
        rows.append(Fact(name, f"{100 * row['value']:.0f} %", ends, text))
    return rows


def _whole(name: str, found: Mapping[str, Any], meaning: str) -> Fact:
    """A measurement in whole episodes, or a hyphen where there was none."""
    if not found["pairs"]:
        return Fact(name, "–", "", meaning)
    return Fact(name, _figure(found["gain"], True), f"{_figure(found['low'])} to {_figure(found['high'])}", meaning)


def _prices(measures: Mapping[str, Any]) -> list[Fact]:
    price = measures["per_accepted"]
    if price is None:
        return [Fact("Price of accepted advice", "–", "", "nothing was accepted")] if measures["proposed"] else []
    units = (
        ("tokens", "tokens", 0),
        ("env_steps", "steps", 0),
        ("calls", "model calls", 1),
        ("seconds", "seconds", 1),
    )
    first, *rest = [f"{price[key]:,.{digits}f} {unit}" for key, unit, digits in units if price[key]] or ["–"]
    meaning = "per accepted suggestion or set of rules" + (f", and {', '.join(rest)}" if rest else "")
    return [Fact("Price of accepted advice", first, "", meaning)]


def fidelity_rows(measures: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row per share K: both scores, their difference, its interval."""
    found = measures["fidelity"]
    return [
        {
            "share": f"{100 * row['share']:.0f} %",
            "critical": number(row["critical"], 2, sign=True),
            "random": number(row["random"], 2, sign=True),
            "difference": number(row["difference"], 2, sign=True),
            "ends": "" if row["low"] is None else f"[{row['low']:.2f}, {row['high']:.2f}]",
        }
        for row in (found["scores"] if found else ())
    ]


def _figure(value: float, sign: bool = False) -> str:
    size = abs(value)
    return number(value, 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.095 or size == 0 else 3, sign)
