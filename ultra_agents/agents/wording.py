"""Suggestions and their measurements as people and models read them, and as JSON rows."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from ultra_agents.records import Suggestion, TestResult, moves_in_words


def in_words(suggestion: Suggestion) -> str:
    """`UP for 5 steps at step 118`; a plan: `UP for 5 steps, then STAY for 2 steps, from step 118`."""
    where = f", from step {suggestion.step}" if suggestion.then else f" at step {suggestion.step}"
    return moves_in_words(suggestion.moves) + where


def measured(suggestion: Suggestion, result: TestResult) -> str:
    """The measurement as a sentence for the advisor and the critic, in units of the environment's return.

    `UP for 8 steps lost 0.31 return on average: it did worse in 7 of 8 replays, better in 1 (interval of the gain
    -0.52 to -0.10).` Testers that count nothing leave the counts out.
    """
    plan, pairs = moves_in_words(suggestion.moves), result.pairs
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
    if math.isfinite(result.low) and math.isfinite(result.high):
        text += f" (interval of the gain {amount(result.low, True)} to {amount(result.high, True)})"
    return text + "."


def amount(value: float, sign: bool = False) -> str:
    """A return or a difference of returns with about three significant figures: 0.31, 12.4, 1,250."""
    size = abs(value)
    digits = 2 if size >= 0.095 or size == 0 else 4
    digits = 0 if size >= 100 else 1 if size >= 10 else digits
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text


def suggestion_row(suggestion: Suggestion) -> dict[str, Any]:
    """A suggestion in JSON types; `Suggestion(**row)` is the inverse."""
    return {**asdict(suggestion), "then": [list(move) for move in suggestion.then]}


def result_row(result: TestResult) -> dict[str, Any]:
    """A measurement in JSON types, whatever numbers the tester computed with; `TestResult(**row)` is the inverse."""
    counts = {name: int(getattr(result, name)) for name in ("pairs", "env_steps", "better", "worse")}
    numbers = {name: float(getattr(result, name)) for name in ("gain", "low", "high")}
    return {**asdict(result), **numbers, **counts, "passed": bool(result.passed), "stopped": str(result.stopped)}
