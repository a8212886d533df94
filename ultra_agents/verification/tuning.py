"""The declared constants of a set of rules, moved within their bounds by what the simulator says.

1. Each constant half of the way to either bound, all others as written (a model's first guess often has the wrong
   sign), and settings drawn around what was written, raced by successive halving.
2. Unless what was written won, or the winner is no more than a standard error above it: one round of the cross-entropy
   method (Rubinstein 1999), settings drawn around the best ones, as far apart as those are, in the same race.
3. The best setting against the one written on fresh episodes. The best of many is best by luck in part, so the
   constants go only part of the way, by the positive-part James-Stein factor `1 - error^2 / difference^2` of that
   comparison, and stay as written where nothing is left of it.

All settings play the same episodes with the same random numbers. Not part of the ULTRA paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ultra_agents.config import RuleTestConfig
from ultra_agents.contracts import Policy
from ultra_agents.records import FloatArray
from ultra_agents.rules import RuleSet
from ultra_agents.seeding import Streams
from ultra_agents.verification.halving import halve
from ultra_agents.verification.paired import Entrant, Episodes

HEATS = 4
"""The last heat has `HEATS` times the pairs of the first."""
NARROWEST = 0.05
"""Least standard deviation of the second round, as a share of a constant's range."""
DIGITS = 4
"""Significant digits of a moved constant."""

Setting: TypeAlias = tuple[float, ...]


@dataclass(frozen=True)
class Tuned:
    """Outcome of the race.

    Attributes:
        written: As it was.
        best: With the constants that earned most.
        settings: Settings that were played, the written one included.
    """

    written: RuleSet
    best: RuleSet
    settings: int


def tune(
    rules: RuleSet, over: Callable[[RuleSet], Policy], race: Episodes, streams: Streams, config: RuleTestConfig
) -> Tuned:
    """Search for better constants.

    Args:
        rules: As written.
        over: The policy with rules over it.
        race: Where settings race.
        streams: Source of the settings.
        config: `tune_settings`, `tune_pairs`.
    """
    names = [name for name, (_, low, high) in rules.constants.items() if low < high]
    if not names:
        return Tuned(rules, rules, 0)
    entrants: dict[Setting, Entrant] = {}

    def raced(settings: Sequence[Setting]) -> list[Setting]:
        """The settings of the last heat, the best first."""
        for setting in settings:
            if setting not in entrants:
                entrants[setting] = Entrant(over(_moved(rules, names, setting)))
        playing = {id(entrants[setting]): setting for setting in settings}
        order = [entrants[setting] for setting in playing.values()]
        return [playing[id(one)] for one in halve(race, order, config.tune_pairs, HEATS * config.tune_pairs)]

    bounds = np.array([rules.constants[name] for name in names])
    written: Setting = tuple(bounds[:, 0].tolist())
    rng = streams.generator("settings")
    probes = _probes(bounds)
    first = raced([written, *probes, *_drawn(bounds, config.tune_settings - 1 - len(probes), rng)])
    best = (first or [written])[0]
    if best != written and not _stands_out(race, entrants[best], entrants[written]):
        best = written
    if best != written:
        around = _around(bounds, np.array(first), max(config.tune_settings // 3, 2), rng)
        best = (raced([written, *first, *around]) or [best])[0]
    return Tuned(rules, _moved(rules, names, best), sum(bool(one.returns) for one in entrants.values()))


def settle(tuned: Tuned, over: Callable[[RuleSet], Policy], episodes: Episodes, pairs: int) -> tuple[RuleSet, float]:
    """The set with its constants as far towards the best ones as fresh episodes support, and how far that is, 0 to 1.

    Where the budget does not pay for `pairs` of them, the constants stay as written.
    """
    written, best = tuned.written, tuned.best
    both = Entrant(over(best)), Entrant(over(written))
    if best == written or not episodes.extend(both, pairs):
        return written, 0.0
    trust = shrinkage(np.subtract(both[0].returns, both[1].returns))
    names = list(written.constants)
    bounds = np.array([written.constants[name] for name in names])
    there = np.array([best.constants[name][0] for name in names])
    if trust == 0.0:
        return written, 0.0
    return _moved(written, names, _rounded(bounds, bounds[:, 0] + trust * (there - bounds[:, 0]))), trust


def _stands_out(race: Episodes, best: Entrant, written: Entrant) -> bool:
    """Whether the winner is more than a standard error above what was written, in the pairs that both have played.

    It was selected by these pairs, so what does not stand out there does not at all.
    """
    race.extend([written], len(best.returns))
    pairs = min(len(best.returns), len(written.returns))
    return pairs < 2 or shrinkage(np.subtract(best.returns[:pairs], written.returns[:pairs])) > 0


def shrinkage(differences: FloatArray) -> float:
    """Positive-part James-Stein factor of the mean of `(n,)` differences: 0 where it is not positive, 1 where sure."""
    mean = float(differences.mean())
    if mean <= 0:
        return 0.0
    error = float(differences.var(ddof=1)) / len(differences)
    return max(0.0, 1.0 - error / mean**2)


def _probes(bounds: FloatArray) -> list[Setting]:
    """Each constant half of the way to its bounds, all others as written; `bounds` is `(k, 3)`: value, low, high."""
    found = []
    for index, (value, *ends) in enumerate(bounds.tolist()):
        for end in reversed(ends):
            setting = bounds[:, 0].copy()
            setting[index] = (value + end) / 2
            found.append(_rounded(bounds, setting))
    return found


def _drawn(bounds: FloatArray, count: int, rng: np.random.Generator) -> list[Setting]:
    """Settings over the whole ranges, likelier near what is written."""
    value, low, high = bounds.T
    return [_rounded(bounds, rng.triangular(low, value, high)) for _ in range(max(count, 0))]


def _around(bounds: FloatArray, elite: FloatArray, count: int, rng: np.random.Generator) -> list[Setting]:
    """Settings around the best ones `(m, k)`, the mean of which is where they are drawn around."""
    spread = np.maximum(elite.std(axis=0), NARROWEST * (bounds[:, 2] - bounds[:, 1]))
    return [_rounded(bounds, rng.normal(elite.mean(axis=0), spread)) for _ in range(count)]


def _rounded(bounds: FloatArray, setting: FloatArray) -> Setting:
    """Numbers a person would write, within the bounds."""
    inside = np.clip(setting, bounds[:, 1], bounds[:, 2])
    short = [float(f"{value:.{DIGITS}g}") for value in inside]
    return tuple(np.clip(short, bounds[:, 1], bounds[:, 2]).tolist())


def _moved(rules: RuleSet, names: Sequence[str], setting: Setting) -> RuleSet:
    return rules.with_constants(dict(zip(names, setting, strict=True)))
