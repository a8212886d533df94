"""The declared constants of a set of rules, moved within their bounds by what the simulator says.

1. Each constant half of the way to either bound, all others as written (a model's first guess often has the wrong
   sign), and settings drawn around what was written play a few episodes each.
2. A Gaussian process over the constants ("Gaussian Processes for Machine Learning", Rasmussen and Williams 2006) takes
   what they earned together: one episode says little about its own setting, many say much about where to look. Which
   settings play next is drawn from it (Thompson sampling, several at a time: Kandasamy et al. 2018), until better
   constants than the best ones cannot be expected, or the steps are spent.
3. The settings that this process puts first, by its mean and more cautiously, against the one written, on fresh
   episodes: what was chosen is best by luck in part, so the best of them is taken only where it stands out there by
   more than a standard error. Halfway between two is no compromise, for what constants earn is not linear in them.

All settings play the same episodes with the same random numbers. Not part of the ULTRA paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ultra_agents.config import RuleTestConfig
from ultra_agents.contracts import Policy
from ultra_agents.records import FloatArray
from ultra_agents.rules import RuleSet
from ultra_agents.seeding import Streams
from ultra_agents.verification.paired import Entrant, Episodes
from ultra_agents.verification.surface import Setting, Surface

SIDE_BY_SIDE, ROUNDS = 8, 8
"""Settings drawn at a time, and how often that is done at most."""
SURE = 0.1
"""Tuning ends where no setting is expected to be better by so many standard deviations of an episode's return."""
ANYWHERE, NEARBY, BEST = 100, 120, 5
"""Settings that are drawn from: over the whole ranges, and near the best ones, of which there are so many."""
STEPS = 0.05, 0.15
"""How far apart those near the best ones are: standard deviations, as shares of a constant's range."""
DIGITS = 4
"""Significant digits of a moved constant."""


def tune(
    rules: RuleSet, over: Callable[[RuleSet], Policy], episodes: Episodes, streams: Streams, config: RuleTestConfig
) -> list[RuleSet]:
    """Search for better constants.

    Args:
        rules: As written.
        over: The policy with rules over it.
        episodes: Where settings play, and what that may cost.
        streams: Source of the settings.
        config: `tune_settings`, `tune_pairs`.

    Returns:
        With the constants that promise most, one to three; none where nothing promises more than what was written.
    """
    names = [name for name, (_, low, high) in rules.constants.items() if low < high]
    if not names:
        return []
    search = _Search(rules, names, over, episodes, streams.generator("settings"), config)
    return [search.moved(one) for one in search.finalists() if one != search.written]


class _Search:
    """Settings that have played, and which do so next."""

    def __init__(
        self,
        rules: RuleSet,
        names: Sequence[str],
        over: Callable[[RuleSet], Policy],
        episodes: Episodes,
        rng: np.random.Generator,
        config: RuleTestConfig,
    ) -> None:
        self.rules, self.names, self.over = rules, names, over
        self.episodes, self.rng, self.config = episodes, rng, config
        self.bounds = np.array([rules.constants[name] for name in names])
        self.written: Setting = tuple(self.bounds[:, 0].tolist())
        self.entrants: dict[Setting, Entrant] = {}

    def moved(self, setting: Setting) -> RuleSet:
        """The rules with these constants."""
        return self.rules.with_constants(dict(zip(self.names, setting, strict=True)))

    def finalists(self) -> list[Setting]:
        """What promises most of those that played; nothing where none did, or all earned the same."""
        probes = _probes(self.bounds)
        drawn = _drawn(self.bounds, self.config.tune_settings - 1 - len(probes), self.rng)
        played = self._play(dict.fromkeys([self.written, *probes, *drawn], self.config.tune_pairs))
        surface = Surface.of(self._returns(), self.bounds)
        for rounds in range(ROUNDS, 0, -1):
            following = self._following(surface) if played and surface else []
            if not following:
                break
            more = self._affordable(rounds)
            played = self._play({setting: self._count(setting) + more for setting in following})
            surface = Surface.of(self._returns(), self.bounds)
        return surface.finalists() if surface else []

    def _following(self, surface: Surface) -> list[Setting]:
        """What plays next; nothing where no setting is expected to be much better than the best that played."""
        candidates = [*surface.settings, *self._candidates(surface)]
        draws = surface.draws(candidates, 4 * SIDE_BY_SIDE, self.rng)
        expected = float((draws.max(axis=0) - draws[candidates.index(surface.best())]).mean())
        if expected < SURE * surface.spread:
            return []
        return list(dict.fromkeys(candidates[index] for index in draws[:, :SIDE_BY_SIDE].argmax(axis=0)))

    def _returns(self) -> dict[Setting, list[float]]:
        return {setting: entrant.returns for setting, entrant in self.entrants.items() if entrant.returns}

    def _count(self, setting: Setting) -> int:
        return len(self.entrants[setting].returns) if setting in self.entrants else 0

    def _play(self, wanted: dict[Setting, int]) -> bool:
        """Bring settings to so many episodes each; false once the steps do not pay for one more."""
        for setting in wanted:
            if setting not in self.entrants:
                self.entrants[setting] = Entrant(self.over(self.moved(setting)))
        for count in sorted(set(wanted.values())):
            alike = [self.entrants[setting] for setting, number in wanted.items() if number == count]
            if not self.episodes.extend(alike, count):
                return False
        return True

    def _affordable(self, rounds: int) -> int:
        """Episodes of each setting drawn if so many rounds are to be paid for; not fewer than to begin with."""
        everyone = self.entrants.values()
        length = sum(one.steps for one in everyone) / sum(len(one.returns) for one in everyone)
        return max(self.config.tune_pairs, int(self.episodes.left / (rounds * SIDE_BY_SIDE * length)))

    def _candidates(self, surface: Surface) -> list[Setting]:
        """Settings over the whole ranges, and near the best ones."""
        _, low, high = self.bounds.T
        anywhere = [_rounded(self.bounds, point) for point in self.rng.uniform(low, high, (ANYWHERE, len(low)))]
        centres = np.array(surface.order()[:BEST])[self.rng.integers(min(BEST, len(surface.settings)), size=NEARBY)]
        spread = np.resize(STEPS, NEARBY)[:, None] * (high - low)
        nearby = [_rounded(self.bounds, point) for point in self.rng.normal(centres, spread)]
        return [one for one in dict.fromkeys([*anywhere, *nearby]) if one not in surface.settings]


def settle(
    rules: RuleSet, finalists: Sequence[RuleSet], over: Callable[[RuleSet], Policy], episodes: Episodes, pairs: int
) -> RuleSet:
    """The set with the constants that fresh episodes support: those of a finalist, or those written.

    Where the budget does not pay for `pairs` of the first finalist and of what was written, the constants stay.
    """
    written, found = Entrant(over(rules)), list[tuple[RuleSet, Entrant]]()
    for finalist in finalists:
        entrant = Entrant(over(finalist))
        if not episodes.extend([written, entrant], pairs):
            break
        found.append((finalist, entrant))
    if not found:
        return rules
    chosen, best = max(found, key=lambda one: one[1].mean(pairs))
    return chosen if stands_out(np.subtract(best.returns, written.returns)) else rules


def stands_out(differences: FloatArray) -> bool:
    """Whether the mean of `(n,)` differences is above 0 by more than its standard error; n is 2 or more."""
    error = float(differences.std(ddof=1)) / np.sqrt(len(differences))
    return bool(differences.mean() > error)


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


def _rounded(bounds: FloatArray, setting: FloatArray) -> Setting:
    """Numbers a person would write, within the bounds."""
    inside = np.clip(setting, bounds[:, 1], bounds[:, 2])
    short = [float(f"{value:.{DIGITS}g}") for value in inside]
    return tuple(np.clip(short, bounds[:, 1], bounds[:, 2]).tolist())
