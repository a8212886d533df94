"""Measurements as people and models read them."""

from __future__ import annotations

import math

from ultra_agents.records import Plan, TestResult

FEWEST = 4
"""Pairs below which no interval is told: it would say nothing, in numbers that look as if they did."""


def measured(plan: Plan, result: TestResult) -> str:
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
