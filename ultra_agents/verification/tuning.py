"""The declared constants of a set of rules, moved within their bounds by what the simulator says.

1. Each constant half of the way to either bound, all others as written (a model's first guess often has the wrong
   sign), and settings drawn around what was written play a few episodes each. Several sets share the settings: which
   of them can be tuned to earn most is not seen from what they earn as written.
2. A Gaussian process over the constants of each set ("Gaussian Processes for Machine Learning", Rasmussen and Williams
   2006) takes what they earned together: one episode says little about its own setting, many say much about where to
   look. Which settings play next is drawn from it (Thompson sampling, several at a time: Kandasamy et al. 2018), until
   better constants than the best ones cannot be expected, or the steps are spent.
3. The settings that this process puts first, by its mean and more cautiously, against the one written, on fresh
   episodes: what was chosen is best by luck in part, so the best of them is taken only where it stands out there by
   more than a standard error. Halfway between two is no compromise, for what constants earn is not linear in them.

All settings play the same episodes with the same random numbers. Not part of the ULTRA paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ultra_agents.config import RuleTestConfig
from ultra_agents.contracts import Policy
from ultra_agents.records import FloatArray
from ultra_agents.rules import RuleSet
from ultra_agents.seeding import Streams
from ultra_agents.verification.paired import Entrant, Episodes
from ultra_agents.verification.surface import Setting, Surface, promising

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
    sets: Sequence[RuleSet],
    over: Callable[[RuleSet], Policy],
    episodes: Episodes,
    streams: Streams,
    config: RuleTestConfig,
) -> list[tuple[int, RuleSet]]:
    """Search for better constants, of several sets at once: what may be worth most plays next, whichever set it is of.

    Args:
        sets: As written, of different structure.
        over: The policy with rules over it.
        episodes: Where settings play, and what that may cost.
        streams: Source of the settings.
        config: `tune_settings`, `tune_pairs`.

    Returns:
        With the constants that promise most, one to three, each with the position of its set; none where nothing
        promises more than the first set as written.
    """
    rng = streams.generator("settings")
    searches = [_Search(place, rules, over, rng) for place, rules in enumerate(sets) if _movable(rules)]
    found = _finalists(searches, episodes, config, rng) if searches else []
    better = [(search, setting) for search, setting in found if search.place or setting != search.written]
    return [(search.place, search.moved(setting)) for search, setting in better]


def _movable(rules: RuleSet) -> list[str]:
    """Constants whose bounds leave a choice."""
    return [name for name, (_, low, high) in rules.constants.items() if low < high]


_Place: TypeAlias = "tuple[_Search, Setting]"
"""Some constants of some set."""


def _finalists(
    searches: Sequence[_Search], episodes: Episodes, config: RuleTestConfig, rng: np.random.Generator
) -> list[_Place]:
    """What promises most of all that played; nothing where nothing did, or all earned the same."""
    share = config.tune_settings // len(searches)
    first = {(search, setting): config.tune_pairs for search in searches for setting in search.first(share)}
    played = _play(first, episodes)
    surfaces = _surfaces(searches, first, {})
    for rounds in range(ROUNDS, 0, -1):
        following = _following(surfaces, rng) if played and surfaces else []
        if not following:
            break
        more = _affordable(searches, episodes, config.tune_pairs, rounds)
        played = _play({(search, one): search.count(one) + more for search, one in following}, episodes)
        surfaces = _surfaces(searches, following, surfaces)
    return promising(surfaces)


def _surfaces(
    searches: Sequence[_Search], places: Iterable[_Place], before: Mapping[_Search, Surface]
) -> dict[_Search, Surface]:
    """Of each search what its settings earn, as `before` unless some of them have just played at `places`.

    Those without a difference have none.
    """
    fresh = {search for search, _ in places}
    found = {
        search: Surface.of(search.returns(), search.bounds) if search in fresh else before.get(search)
        for search in searches
    }
    return {search: surface for search, surface in found.items() if surface}


def _following(surfaces: Mapping[_Search, Surface], rng: np.random.Generator) -> list[_Place]:
    """What plays next; nothing where no setting is expected to be much better than the best that played."""
    places, draws = list[_Place](), list[FloatArray]()
    for search, surface in surfaces.items():
        candidates = [*surface.settings, *search.candidates(surface)]
        places += [(search, setting) for setting in candidates]
        draws.append(surface.draws(candidates, 4 * SIDE_BY_SIDE, rng))
    drawn = np.concatenate(draws)
    best = places.index(promising(surfaces)[0])
    expected = float((drawn.max(axis=0) - drawn[best]).mean())
    if expected < SURE * float(np.mean([surface.spread for surface in surfaces.values()])):
        return []
    return list(dict.fromkeys(places[index] for index in drawn[:, :SIDE_BY_SIDE].argmax(axis=0)))


def _play(wanted: Mapping[_Place, int], episodes: Episodes) -> bool:
    """Bring settings to so many episodes each; false once the steps do not pay for one more."""
    entrants = {place: place[0].entrant(place[1]) for place in wanted}
    for count in sorted(set(wanted.values())):
        if not episodes.extend([entrants[place] for place, number in wanted.items() if number == count], count):
            return False
    return True


def _affordable(searches: Sequence[_Search], episodes: Episodes, fewest: int, rounds: int) -> int:
    """Episodes of each setting drawn if so many rounds are to be paid for; not fewer than to begin with."""
    everyone = [one for search in searches for one in search.entrants.values()]
    length = sum(one.steps for one in everyone) / sum(len(one.returns) for one in everyone)
    return max(fewest, int(episodes.left / (rounds * SIDE_BY_SIDE * length)))


class _Search:
    """The settings of one set: those that have played, and those that might."""

    def __init__(
        self, place: int, rules: RuleSet, over: Callable[[RuleSet], Policy], rng: np.random.Generator
    ) -> None:
        self.place, self._rules, self._over, self._rng = place, rules, over, rng
        self._names = _movable(rules)
        self.bounds = np.array([rules.constants[name] for name in self._names])
        self.written: Setting = tuple(self.bounds[:, 0].tolist())
        self.entrants: dict[Setting, Entrant] = {}

    def moved(self, setting: Setting) -> RuleSet:
        """The rules with these constants."""
        return self._rules.with_constants(dict(zip(self._names, setting, strict=True)))

    def entrant(self, setting: Setting) -> Entrant:
        """What plays with these constants."""
        if setting not in self.entrants:
            self.entrants[setting] = Entrant(self._over(self.moved(setting)))
        return self.entrants[setting]

    def count(self, setting: Setting) -> int:
        """Episodes that it has played."""
        return len(self.entrants[setting].returns) if setting in self.entrants else 0

    def returns(self) -> dict[Setting, list[float]]:
        """By setting that has played, what its episodes earned."""
        return {setting: entrant.returns for setting, entrant in self.entrants.items() if entrant.returns}

    def first(self, count: int) -> list[Setting]:
        """As written, each constant moved by itself, and others drawn up to `count`."""
        probes = _probes(self.bounds)
        drawn = _drawn(self.bounds, count - 1 - len(probes), self._rng)
        return list(dict.fromkeys([self.written, *probes, *drawn]))

    def candidates(self, surface: Surface) -> list[Setting]:
        """Settings over the whole ranges, and near the best ones."""
        _, low, high = self.bounds.T
        anywhere = [_rounded(self.bounds, point) for point in self._rng.uniform(low, high, (ANYWHERE, len(low)))]
        centres = np.array(surface.order()[:BEST])[self._rng.integers(min(BEST, len(surface.settings)), size=NEARBY)]
        spread = np.resize(STEPS, NEARBY)[:, None] * (high - low)
        nearby = [_rounded(self.bounds, point) for point in self._rng.normal(centres, spread)]
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
