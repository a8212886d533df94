"""Words and figures of the report: how a number is rounded, how an interval is written, what may be claimed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ultra_agents.config import Config, baseline_of, method_class, trains, variant_of


def method_label(method: str, config: Config) -> str:
    """A method's name for people: `ultra-ra` -> "ULTRA-RA", `continue` -> "continued PPO", `rice` -> "RICE"."""
    cls = method_class(method)
    if cls is None:
        return method
    suffix = "" if config.proposer == "llm" or cls.advice is None else f" ({config.proposer} advice)"
    return cls.label.replace("{algorithm}", config.refine.algorithm.name.rpartition(":")[2].upper()) + suffix


def headline(
    methods: Mapping[str, Any],
    comparison: Mapping[str, Any],
    advice: Mapping[str, Any],
    rules: Mapping[str, Any] | None = None,
) -> str:
    """The answer in one sentence that claims no more than the interval allows.

    It speaks of the first method configured that uses advice (or else trains, or else of the first), not of the one
    that did best: choosing after the fact would be a claim the interval does not cover. Where rules are in force at
    the end they are what acts, and come first.
    """
    advised = [name for name in methods if variant_of(name)]
    others = sorted(methods, key=lambda name: 2 * (not trains(name)) + (baseline_of([name]) is not None))
    if not methods:
        return "Nothing was refined in this run, so there is nothing to compare."
    subject = (advised or others)[0]
    row = methods[subject]
    last, before = row["returns_last"], row["returns_before"]
    if subject in comparison:
        other, found = methods[comparison[subject]["against"]], comparison[subject]
        ruled = found["with_rules"]
        acting, gap = (last, found) if ruled is None else (row["returns_after_with_rules"], ruled)
        digits = digits_for([acting, other["returns_last"], gap])
        says = (
            "excludes 0" if gap["verdict"] != "undecided"
            else "includes 0" if gap["enough"] else "rests on too few episodes to claim anything"
        )  # fmt: skip
        text = (
            f"{row['label']}{'' if ruled is None else ' with its rules in force'} ended at "
            f"{number(acting['mean'], digits)}, {other['label']} at {number(other['returns_last']['mean'], digits)}; "
            f"the paired difference {interval(gap, digits)} {says}."
        )
        if ruled is not None:
            digits = digits_for([last, found])
            text += f" Its network alone: {number(last['mean'], digits)}, {interval(found, digits)}."
    else:
        beside = "nothing without advice" if advised else "nothing else" if len(methods) == 1 else "no plain training"
        ruled = row["change_with_rules"]
        acting, change = (last, row["change"]) if ruled is None else (row["returns_after_with_rules"], ruled)
        digits = digits_for([acting, before])
        text = (
            f"{row['label'][0].upper()}{row['label'][1:]}"
            f"{'' if ruled is None else ' with its rules in force'} went from "
            f"{number(before['mean'], digits)} to {number(acting['mean'], digits)}, a paired change of "
            f"{interval(change, digits)}; {beside} was run beside it to compare with."
        )
        if ruled is not None:
            text += f" Its network alone: {number(last['mean'], digits)}, {interval(row['change'], digits)}."
    rewarded = "r" in (variant_of(subject) or "") and bool((rules or {}).get("rewards"))
    if advised and advice["accepted"] == 0 and not (rules or {}).get("held") and rewarded:
        text += " No rule acted, only the implicit reward."
    elif advised and advice["accepted"] == 0 and not (rules or {}).get("held"):
        what = "No suggestion was accepted" if rules is None else "No set of rules held in the simulator"
        text += f" {what}, so no advice could act."
    return text


def digits_for(intervals: Iterable[Mapping[str, Any]]) -> int:
    """Decimals that show two significant digits of the widest interval's half width, 0 to 4."""
    widths = [(row["high"] - row["low"]) / 2 for row in intervals if row.get("low") is not None]
    width = max(widths, default=0.0)
    return 2 if width <= 0 else min(4, max(0, 1 - math.floor(math.log10(width))))


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A figure for people: thousands separated, never "-0.0"; "–" for a missing one."""
    if value is None:
        return "–"
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text


def interval(row: Mapping[str, Any], digits: int = 2) -> str:
    """A signed estimate with its interval: "+1.4 [-0.2, 3.0]"."""
    ends = "no interval" if row["low"] is None else f"{number(row['low'], digits)}, {number(row['high'], digits)}"
    return f"{number(row.get('mean', row.get('value')), digits, sign=True)} [{ends}]"
