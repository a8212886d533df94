"""An implicit reward, an expression over named quantities, is held against the collected episodes before it is used.

What it would have paid in each collected episode is ranked against the returns. That costs no environment step, and
refutes a reward that pays the worse episodes, one that has no finite value where the policy goes, and one that pays
every step alike. It cannot judge where the returns do not vary, as in a sparse task that the policy never solved; a
race of short training arms with and without it can (`stages.reward_race`). Not part of the ULTRA paper, whose critic's
rewards are believed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.records import Array, FloatArray, Trajectory
from ultra_agents.rules import RuleSet
from ultra_agents.rules.ruleset import Quantities

Agreement: TypeAlias = Literal["agrees", "opposes", "unclear", "unjudged", "undefined", "constant"]
RaceVerdict: TypeAlias = Literal["better", "worse", "undecided"]
REFUSED: tuple[Agreement, ...] = ("opposes", "undefined", "constant")
FEWEST = 4
"""Episodes without which no rank is told."""
LIMIT = 1.0
"""Rewards and potentials are clipped to this either way, as in training."""


@dataclass(frozen=True)
class RewardRace:
    """Short training arms with and without an implicit reward, from the same policy with the same random numbers.

    Attributes:
        verdict: `better`, `worse` or `undecided`.
        gain: Mean difference of the return the arms end with, with minus without.
        low: Lower end of its interval.
        high: Upper end.
        arms: `(return with, return without)`, a pair for each seed.
        arm_steps: Environment steps that each arm was trained for.
        env_steps: Environment steps spent, the episodes that scored the arms included.
        stopped: `good`, `bad`, `pairs` (all were raced) or `steps` (the budget did not pay for another pair).
    """

    verdict: RaceVerdict
    gain: float = 0.0
    low: float = 0.0
    high: float = 0.0
    arms: tuple[tuple[float, float], ...] = ()
    arm_steps: int = 0
    env_steps: int = 0
    stopped: str = ""

    @property
    def words(self) -> str:
        """One line for a person."""
        if not self.arms:
            return f"{self.verdict}: the budget did not pay for a pair of arms"
        return (
            f"{self.verdict}: {self.gain:+.3g} [{self.low:+.3g}, {self.high:+.3g}] in {len(self.arms)} pairs of arms "
            f"of {self.arm_steps:,} steps each"
        )


@dataclass(frozen=True)
class RewardTest:
    """What the collected episodes say of an implicit reward, and what a race said.

    Attributes:
        kind: `potential` or `reward`.
        agreement: `agrees`: it pays the better episodes more, with the confidence asked; `opposes`: less; `unclear`:
            neither is known; `unjudged`: returns or sums do not vary, or the episodes are too few; `undefined`: it
            has no finite value where every quantity it reads has one, or nowhere; `constant`: it reads no
            quantity, or is the same everywhere once it is clipped.
        rank: Rank correlation of its sum over an episode (a potential's mean) with the return; None if not known.
        low: Lower end of its interval, at the test's confidence.
        high: Upper end.
        episodes: Collected ones it was held against.
        steps: Their steps.
        undefined: Steps without a finite value, of quantities that all have one.
        missing: Steps at which a quantity it reads has no value; it pays nothing there.
        clipped: Share of the steps at which it lies beyond [-1, 1].
        unjudged: Why the episodes cannot judge it; empty where they can.
        race: Of training arms; None where none was run.
    """

    kind: Literal["potential", "reward"]
    agreement: Agreement
    rank: float | None = None
    low: float | None = None
    high: float | None = None
    episodes: int = 0
    steps: int = 0
    undefined: int = 0
    missing: int = 0
    clipped: float = 0.0
    unjudged: str = ""
    race: RewardRace | None = None

    __test__ = False  # not a test class, whatever pytest thinks of the name

    @property
    def acts(self) -> bool:
        """It may be used: nothing speaks against it."""
        return self.agreement not in REFUSED and (self.race is None or self.race.verdict != "worse")

    @property
    def reason(self) -> str:
        """Why it is refused, in few words that can be counted; empty where it is not."""
        if self.agreement in REFUSED:
            return {
                "opposes": "implicit reward opposes the returns",
                "undefined": "implicit reward without a finite value",
                "constant": "implicit reward pays every step alike",
            }[self.agreement]
        return "" if self.acts else "implicit reward lost its race"

    @property
    def words(self) -> str:
        """One line for a person: used or not, and why."""
        ranked = f"rank correlation {_signed(self.rank)} [{_signed(self.low)}, {_signed(self.high)}] of its " + (
            f"{'mean' if self.kind == 'potential' else 'sum'} with the return over {self.episodes} collected episodes"
        )
        said = {
            "agrees": ranked,
            "opposes": f"{ranked}: it pays the worse episodes more",
            "unclear": f"{ranked}: it is not known which episodes it pays more",
            "unjudged": f"the {self.episodes} collected episodes cannot judge it: {self.unjudged}",
            "undefined": f"it has no finite value at {self.undefined or self.missing:,} of {self.steps:,} collected "
            "steps",
            "constant": f"it pays every one of {self.steps:,} collected steps alike",
        }[self.agreement]
        parts = ["used" if self.acts else "not used", said]
        if self.clipped > 0.5 and self.agreement != "undefined":
            parts.append(f"beyond +-1, where it is clipped, at {100 * self.clipped:.0f} % of the steps")
        if self.race is not None:
            parts.append(f"race {self.race.words}")
        return f"{parts[0]}: {'; '.join(parts[1:])}"

    def with_race(self, race: RewardRace) -> RewardTest:
        """The same with the outcome of a race."""
        return replace(self, race=race)


def hold_against(
    rules: RuleSet, environment: Environment, trajectories: Sequence[Trajectory], confidence: float
) -> RewardTest | None:
    """What collected episodes say of the potential or the reward of a set; None if it has neither.

    Args:
        rules: Bound to the environment's interface.
        environment: The plugin, for its quantities.
        trajectories: Episodes of the policy alone.
        confidence: Of each end of the interval.
    """
    document = rules.document
    if document.potential is None and document.reward is None:
        return None
    kind: Literal["potential", "reward"] = "reward" if document.potential is None else "potential"
    paid, undefined, missing = _paid(rules, environment, trajectories)
    everything = np.concatenate(paid) if paid else np.zeros(0)
    known = everything[np.isfinite(everything)]
    found = RewardTest(
        kind, "unjudged", episodes=len(paid), steps=len(everything), undefined=undefined, missing=missing,
        clipped=float(np.mean(np.abs(known) > LIMIT)) if len(known) else 0.0,
    )  # fmt: skip
    if undefined or (len(everything) and not len(known)):
        return replace(found, agreement="undefined")
    values = [np.clip(np.nan_to_num(one, nan=0.0), -LIMIT, LIMIT) for one in paid]
    levelled = len(known) and np.ptp(known) > 0 and np.ptp(np.concatenate(values)) == 0
    if not any(rules.read) or levelled:
        return replace(found, agreement="constant")
    sums = [float(one.mean() if kind == "potential" else one.sum()) if len(one) else 0.0 for one in values]
    returns = [one.episode_return for one in trajectories]
    ends = rank_interval(sums, returns, confidence)
    if ends is None:
        few, same = f"they are fewer than {FEWEST}", f"they all return {returns[0]:.6g}" if returns else ""
        alike = "it pays the same in each of them"
        return replace(found, unjudged=few if len(sums) < FEWEST else same if np.ptp(returns) == 0 else alike)
    rank, low, high = ends
    agreement: Agreement = "agrees" if low > 0 else "opposes" if high < 0 else "unclear"
    return replace(found, agreement=agreement, rank=rank, low=low, high=high)


def rank_interval(
    ones: Sequence[float], others: Sequence[float], confidence: float
) -> tuple[float, float, float] | None:
    """Spearman's rank correlation with an interval, each end with the confidence asked.

    Fisher's transformation with the variance 1.06 / (n - 3) of ranks (Fieller, Hartley and Pearson 1957). A perfect
    order of n episodes counts as 1 - 1/n, so that few of them do not pass for certainty. None for fewer than `FEWEST`,
    or where one of the two does not vary.
    """
    if len(ones) < FEWEST or np.ptp(ones) == 0 or np.ptp(others) == 0:
        return None
    from scipy.special import ndtri
    from scipy.stats import spearmanr

    rank = float(spearmanr(ones, others).statistic)
    limit = 1 - 1 / len(ones)
    middle = math.atanh(min(max(rank, -limit), limit))
    half = float(ndtri(confidence)) * math.sqrt(1.06 / (len(ones) - 3))
    return rank, min(math.tanh(middle - half), rank), max(math.tanh(middle + half), rank)


def _paid(
    rules: RuleSet, environment: Environment, trajectories: Sequence[Trajectory]
) -> tuple[list[FloatArray], int, int]:
    """By episode, the values as written, NaN where there is none; steps undefined, steps with a quantity missing."""
    found, undefined, missing = list[FloatArray](), 0, 0
    before, after = rules.read
    for one in trajectories:
        quantities = environment.quantities(one.observations)
        if rules.document.potential is not None:
            values = rules.potential(quantities, unknown=np.nan)
            lacks = _lacks(quantities, before, len(values))
        else:
            now = {name: column[:-1] for name, column in quantities.items()}
            then = {name: column[1:] for name, column in quantities.items()}
            values = rules.reward(now, then, unknown=np.nan)
            lacks = _lacks(now, before, len(values)) | _lacks(then, after, len(values))
        found.append(values)
        undefined += int(np.count_nonzero(~np.isfinite(values) & ~lacks))
        missing += int(np.count_nonzero(~np.isfinite(values) & lacks))
    return found, undefined, missing


def _lacks(quantities: Quantities, names: Sequence[str], count: int) -> Array:
    """`(n,)` bool, where one of the named quantities has no value."""
    found = np.zeros(count, dtype=bool)
    for name in names:
        found |= ~np.isfinite(np.asarray(quantities[name], np.float64))
    return found


def _signed(value: float | None) -> str:
    return "?" if value is None else f"{value:+.2f}"
