"""Measurements as people and models read them."""

from __future__ import annotations

import math

from ultra_agents.records import Attempt, Plan, Searched, TestResult
from ultra_agents.records.plans import ALONE

FEWEST = 4
"""Pairs below which no interval is told: it would say nothing, in numbers that look as if they did."""


def measurement(attempt: Attempt) -> str:
    """`measured` of a tested attempt; of one with a goal the plan is not spelled out."""
    assert attempt.test is not None, "it was tested"
    return measured(attempt.plan if attempt.goal is None else "What the search found for this goal", attempt.test)


def toward_words(search: Searched) -> str:
    """What a search for a goal came to; empty where there was none.

    `Of 48 sequences tried the best came to 1.62, the policy alone to 0.81: reached.`
    """
    if search.toward is None:
        return ""
    if search.reason == ALONE:
        return f"The policy alone reaches that, with {search.toward.alone:.3g}."
    return f"Of {search.tried} action sequences that the simulator tried the best {search.toward.words}."


def brief_plan(plan: Plan, most: int = 6) -> str:
    """The plan in words, of more than `most` moves the first ones."""
    if len(plan.moves) <= most:
        return str(plan)
    return f"{Plan(plan.moves[:most])}, and so on: {len(plan.moves)} moves in {plan.steps} steps"


def measured(plan: Plan | str, result: TestResult) -> str:
    """The measurement as a sentence for the advisor and the critic, in units of the environment's return.

    `UP for 8 steps lost 0.31 return on average: it did worse in 7 of 8 replays, better in 1 (interval of the gain
    -0.52 to -0.10).` Testers that count nothing leave the counts out; of fewer than four pairs no interval is told.
    """
    pairs = result.pairs
    replays = f"{pairs} {'replay' if pairs == 1 else 'replays'}"
    counted = result.better + result.worse > 0
    if result.gain == 0 and not counted:
        return f"{plan} changed nothing in {replays}."
    verb = "gained" if result.gain > 0 else "lost"
    text = f"{plan} {verb} {amount(abs(result.gain))} return on average"
    if result.gain > 0 and not result.passed:
        text += ", which is no clear gain"
    if counted:
        ways = [("worse", result.worse), ("better", result.better)]
        if result.gain > 0:
            ways.reverse()
        (first, most), (second, rest) = ways
        text += f": it did {first} in {most} of {replays}"
        text += f", {second} in {rest}" if rest else ""
    else:
        text += f" over {replays}"
    if pairs >= FEWEST and math.isfinite(result.low) and math.isfinite(result.high):
        text += f" (interval of the gain {amount(result.low, True)} to {amount(result.high, True)})"
    return text + "."


def amount(value: float, sign: bool = False) -> str:
    """A return or a difference of returns with about three significant figures: 0.31, 12.4, 1,250."""
    size = abs(value)
    digits = 2 if size >= 0.095 or size == 0 else 4
    digits = 0 if size >= 100 else 1 if size >= 10 else digits
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text
