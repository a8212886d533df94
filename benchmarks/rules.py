"""How long does a set of rules take? 10,000 states and 20 terms, against the same in hand-written numpy.

Two rules on a sum of 20 terms (products, comparisons, functions) over 5 quantities, one of which is missing in one
state of ten; and, for the layer that acts while environments are stepped, the same in 16 states:

    python benchmarks/rules.py

Prints the median milliseconds of `RuleSet.decide`, those of numpy, and their ratio. Both give the same actions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from ultra_agents.rules import Interface, parse_rules

FACE = Interface(("a", "b", "c", "d", "e"), ("STAY", "UP", "DOWN"))
TERMS = (
    "0.9 * a", "- 1.1 * b", "+ a * b", "- c * d", "+ abs(a - c)", "- max(b, d)", "+ min(a, 2 * d)",
    "+ clip(c, -1, 1)", "- d ** 2", "+ 0.1 * c ** 3", "+ sin(a)", "- cos(b + c)", "+ tanh(d)", "- sqrt(abs(b))",
    "+ hypot(a, b)", "- sign(c)", "+ (a > b)", "- (2 if c > d else 1)", "+ floor(d)", "- a / (1 + abs(c))",
)  # fmt: skip
TEXT = f"""
let: {{total: "{" ".join(TERMS)}"}}
rules:
  - {{when: isfinite(e) and total > e, do: UP}}
  - {{when: isfinite(e) and total < -e, do: DOWN}}
"""


def by_hand(q: dict[str, Any]) -> Any:
    """The same in numpy: -1 where no rule acts."""
    a, b, c, d, e = (q[name] for name in FACE.quantities)
    total = 0.9 * a - 1.1 * b + a * b - c * d + np.abs(a - c) - np.maximum(b, d) + np.minimum(a, 2 * d)
    total = total + np.clip(c, -1, 1) - d**2 + 0.1 * c * c * c + np.sin(a) - np.cos(b + c) + np.tanh(d)
    total = total - np.sqrt(np.abs(b)) + np.hypot(a, b) - np.sign(c) + (a > b) - np.where(c > d, 2, 1)
    total = total + np.floor(d) - a / (1 + np.abs(c))
    there = np.isfinite(e)
    return np.where(there & (total > e), 1, np.where(there & (total < -e), 2, -1))


def milliseconds(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median of each, taken by turns: other work on the machine then slows all of them alike."""
    took: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, times in zip(calls, took, strict=True):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
    return [1e3 * median(times) for times in took]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    rounds = parser.parse_args().rounds
    rules, rng = parse_rules(TEXT, FACE), np.random.default_rng(0)
    for count in (10_000, 16):
        q = dict(zip(FACE.quantities, rng.normal(0, 1, (5, count)), strict=True))
        q["e"][rng.random(count) < 0.1] = np.nan
        if not np.array_equal(rules.act(q)[0], by_hand(q)):
            raise SystemExit("the rules and numpy differ")
        ours, theirs = milliseconds([partial(rules.decide, q), partial(by_hand, q)], rounds)
        print(
            f"{count:6} states x {len(TERMS)} terms: rules {ours:.3f} ms, numpy {theirs:.3f} ms, "
            f"ratio {ours / theirs:.2f}"
        )


if __name__ == "__main__":
    main()
