"""An implicit reward is held against the collected episodes: what they say of it, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ultra_agents.records import Trajectory
from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.verification.reward import RewardRace, RewardTest, hold_against, rank_interval

WORLD = Corridor(CorridorOptions())


def episode(index: int, cells: Sequence[int], earned: float) -> Trajectory:
    observations = (2.0 * np.asarray(cells) / 8 - 1.0).astype(np.float32)[:, None]
    rewards = np.zeros(len(cells))
    rewards[-1] = earned
    return Trajectory(
        index, index, observations, np.zeros(len(cells), np.int64), rewards, np.zeros(len(cells)),
        tuple({} for _ in cells), terminated=True, truncated=False,
    )  # fmt: skip


BETTER_AHEAD = [episode(at, range(at + 2), float(at)) for at in range(7)]
"""Seven episodes: the farther it went the more it earned."""
ALIKE = [episode(at, range(at + 2), 0.0) for at in range(7)]
"""The same, as in a sparse task that was never solved."""


def held(text: str, episodes: Sequence[Trajectory] = BETTER_AHEAD) -> RewardTest:
    found = hold_against(parse_rules(text, interface_of(WORLD)), WORLD, episodes, 0.9)
    assert found is not None
    return found


@pytest.mark.parametrize("text", ["reward: next.cell - cell", "potential: cell / 8"])
def test_what_pays_the_better_episodes_more_agrees(text: str) -> None:
    found = held(text)
    assert (found.agreement, found.acts, found.reason) == ("agrees", True, "")
    assert found.rank == pytest.approx(1.0)
    assert 0 < (found.low or 0) < 1 == found.high
    assert found.words.startswith("used: rank correlation +1.00 [+")
    assert (found.episodes, found.undefined, found.missing) == (7, 0, 0)


@pytest.mark.parametrize("text", ["reward: cell - next.cell", "potential: -cell / 8"])
def test_what_pays_the_worse_episodes_more_is_refused(text: str) -> None:
    found = held(text)
    assert (found.agreement, found.acts, found.reason) == ("opposes", False, "implicit reward opposes the returns")
    assert (found.high or 0) < 0
    assert found.words.startswith("not used: rank correlation -1.00")


def test_a_rank_that_is_not_clear_refuses_nothing() -> None:
    mixed = [episode(at, range(at + 2), earned) for at, earned in enumerate([3, 1, 4, 1, 5, 2, 0])]
    found = held("reward: next.cell - cell", mixed)
    assert (found.agreement, found.acts) == ("unclear", True)
    assert (found.low or 0) < 0 < (found.high or 0)
    assert "it is not known which episodes it pays more" in found.words


SAME_WAY = [episode(at, range(4), float(at)) for at in range(5)]


@pytest.mark.parametrize(
    ("episodes", "why"),
    [
        (ALIKE, "they all return 0"),
        (BETTER_AHEAD[:3], "they are fewer than 4"),
        ([], "they are fewer than 4"),
        (SAME_WAY, "it pays the same in each of them"),
    ],
)
def test_what_the_episodes_cannot_judge_is_said_to_be_unjudged(episodes: list[Trajectory], why: str) -> None:
    found = held("reward: next.cell - cell", episodes)
    assert (found.agreement, found.acts, found.rank) == ("unjudged", True, None)
    assert f"the {len(episodes)} collected episodes cannot judge it: {why}" in found.words


def test_an_expression_without_a_finite_value_is_refused_with_its_count() -> None:
    found = held("reward: 1 / (next.cell - 4)")
    visited = sum(4 in range(1, at + 2) for at in range(7))
    assert (found.agreement, found.acts, found.undefined) == ("undefined", False, visited)
    assert found.reason == "implicit reward without a finite value"
    assert f"not used: it has no finite value at {visited} of {sum(range(1, 8))} collected steps" in found.words


def test_where_a_quantity_has_no_value_nothing_is_paid_and_that_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    given = WORLD.quantities

    def partly(observations: np.ndarray) -> dict[str, np.ndarray]:
        cells = np.asarray(given(observations)["cell"], np.float64)
        return {**given(observations), "cell": np.where(cells > 5, np.nan, cells)}

    monkeypatch.setattr(WORLD, "quantities", partly)
    found = held("potential: cell / 8")
    assert found.acts
    assert found.undefined == 0
    assert found.missing == sum(cell > 5 for at in range(7) for cell in range(at + 2))
    monkeypatch.setattr(WORLD, "quantities", lambda seen: {**given(seen), "cell": np.full(len(seen), np.nan)})
    nowhere = held("potential: cell / 8")
    assert (nowhere.agreement, nowhere.acts) == ("undefined", False)
    assert f"at {nowhere.steps} of {nowhere.steps} collected steps" in nowhere.words


@pytest.mark.parametrize("text", ["potential: 1 / 2", "reward: 0.3", "reward: 5 + cell"])
def test_what_pays_every_step_alike_is_refused(text: str) -> None:
    found = held(text)  # the last lies beyond 1, where it is clipped
    assert (found.agreement, found.acts) == ("constant", False)
    assert found.reason == "implicit reward pays every step alike"


def test_a_reward_that_is_mostly_clipped_says_so() -> None:
    found = held("reward: 9 * (next.cell - 3.5)")
    assert found.clipped == 1.0
    assert "beyond +-1, where it is clipped, at 100 % of the steps" in found.words


def test_a_set_without_a_reward_is_not_judged() -> None:
    assert (
        hold_against(parse_rules("rules: [{when: cell > 4, do: RIGHT}]", interface_of(WORLD)), WORLD, [], 0.9) is None
    )


def test_a_race_that_was_lost_refuses_and_one_that_is_not_decided_does_not() -> None:
    found = held("reward: next.cell - cell")
    lost = found.with_race(RewardRace("worse", -3.0, -5.0, -1.0, ((1.0, 4.0), (2.0, 5.0)), 100, 400, "bad"))
    assert (lost.acts, lost.reason) == (False, "implicit reward lost its race")
    assert "race worse: -3 [-5, -1] in 2 pairs of arms of 100 steps each" in lost.words
    assert found.with_race(RewardRace("undecided", 0.0, -1.0, 1.0, ((1.0, 1.0), (1.0, 1.0)), 100, 400, "pairs")).acts
    assert found.with_race(RewardRace("undecided")).words.endswith("the budget did not pay for a pair of arms")


def test_the_interval_of_a_rank_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    for truth in (0.0, 0.6):
        missed = np.zeros(2)
        for _ in range(2000):
            one, other = rng.standard_normal((2, 12))
            found = rank_interval(one.tolist(), (truth * one + np.sqrt(1 - truth**2) * other).tolist(), 0.9)
            assert found is not None
            population = 6 / np.pi * np.arcsin(truth / 2)  # of ranks, for normal pairs
            missed += [found[1] > population, found[2] < population]
        assert (missed / 2000 < 0.13).all(), missed


def test_few_episodes_in_perfect_order_are_not_certainty() -> None:
    four, five = (rank_interval(list(range(n)), list(range(n)), 0.9) for n in (4, 5))
    assert four is not None
    assert five is not None
    assert four[1] < 0 < five[1]
    assert four[0] == four[2] == 1.0
