"""What settings of constants earn, as one surface."""

from __future__ import annotations

import numpy as np
import pytest

from ultra_agents.verification.surface import Setting, Surface, promising

BOUNDS = np.array([[0.0, -1.0, 1.0], [0.0, 0.0, 10.0]])


def played(count: int, noise: float, seed: int) -> dict[Setting, list[float]]:
    """Returns of two episodes each, best at (0.5, any): the second constant changes nothing."""
    rng = np.random.default_rng(seed)
    settings = [(float(a), float(b)) for a, b in rng.uniform(BOUNDS[:, 1], BOUNDS[:, 2], (count, 2))]
    return {one: (100 - 100 * (one[0] - 0.5) ** 2 + rng.normal(0, noise, 2)).tolist() for one in settings}


def regret(setting: Setting) -> float:
    return 100 * (setting[0] - 0.5) ** 2


def test_it_takes_episodes_of_all_settings_together() -> None:
    """Where noise hides what single settings are worth, its means are nearer to that, its choice better."""
    errors, chosen = [], []
    for seed in range(20):
        returns = played(48, 100.0, seed)
        found = Surface.of(returns, BOUNDS)
        assert found is not None
        worth = np.array([100 - regret(one) for one in found.settings])
        alone = np.array([np.mean(returns[one]) for one in found.settings])
        errors.append([np.square(found.means - worth).mean(), np.square(alone - worth).mean()])
        chosen.append([worth[found.means.argmax()], worth[alone.argmax()]])
    (surface, single), (better, worse) = np.mean(errors, axis=0), np.mean(chosen, axis=0)
    assert surface < 0.3 * single
    assert better > worse + 1


def test_its_means_are_returns_and_its_spread_is_that_of_episodes() -> None:
    returns = played(40, 1.0, 0)
    found = Surface.of(returns, BOUNDS)
    assert found is not None
    assert found.spread == pytest.approx(1.0, rel=0.3)
    for setting, mean in zip(found.settings, found.means, strict=True):
        assert mean == pytest.approx(100 - regret(setting), abs=3)
    assert found.order()[0] == found.settings[int(found.means.argmax())]


def test_draws_agree_where_much_was_played_and_differ_elsewhere() -> None:
    returns: dict[Setting, list[float]] = {(-1.0, 5.0): [0.0, 1.0] * 50, (-0.9, 5.0): [2.0, 3.0] * 50}
    found = Surface.of(returns, BOUNDS)
    assert found is not None
    draws = found.draws([(-1.0, 5.0), (1.0, 5.0)], 200, np.random.default_rng(0))
    assert draws.shape == (2, 200)
    assert draws[0].std() < 0.5 * draws[1].std()
    again = found.draws([(-1.0, 5.0), (1.0, 5.0)], 200, np.random.default_rng(0))
    np.testing.assert_array_equal(draws, again)


def test_nothing_is_told_apart_where_all_earn_the_same() -> None:
    assert Surface.of({}, BOUNDS) is None
    assert Surface.of({(0.0, 0.0): [1.0], (1.0, 1.0): [1.0]}, BOUNDS) is None


def test_single_episodes_may_be_all_noise() -> None:
    found = Surface.of({(0.0, 0.0): [1.0], (1.0, 1.0): [3.0]}, BOUNDS)
    assert found is not None
    assert found.spread == 1.0
    assert 1.0 < found.means[0] < found.means[1] < 3.0


def test_a_bold_finalist_stands_beside_a_cautious_one() -> None:
    """One lucky pair of episodes far from the others promises most, what was played often is surer."""
    returns: dict[Setting, list[float]] = {(x, 5.0): [80.0, 100.0, 120.0] * 10 for x in (-0.1, 0.0, 0.1)}
    returns |= {(-1.0, 0.0): [0.0, 20.0], (1.0, 10.0): [150.0, 90.0]}
    found = Surface.of(returns, BOUNDS)
    assert found is not None
    (_, bold), *cautious = promising({"a": found})
    assert bold == found.order()[0] == (1.0, 10.0)
    assert len(cautious) in (1, 2)
    assert all(y == 5.0 for _, (_, y) in cautious)
    assert found.errors[-1] > 2 * found.errors[0]


@pytest.mark.filterwarnings("error")
def test_returns_without_noise_and_constants_without_effect_are_no_reason_to_warn() -> None:
    returns: dict[Setting, list[float]] = {
        (x / 10, float(y)): [x * 1.0] * 3 for x in range(-9, 10) for y in (0, 5, 10)
    }
    found = Surface.of(returns, BOUNDS)
    assert found is not None
    assert found.spread == 0.0
    assert found.order()[0][0] == 0.9
    assert np.isfinite(found.draws([(0.95, 1.0), *found.settings], 8, np.random.default_rng(0))).all()


def test_what_promises_most_may_be_on_another_surface() -> None:
    poor = Surface.of({(0.0, 0.0): [1.0, 2.0], (1.0, 1.0): [3.0, 4.0]}, BOUNDS)
    rich = Surface.of({(0.0, 0.0): [11.0, 12.0], (0.5, 1.0): [1.0, 0.0]}, BOUNDS)
    assert poor is not None
    assert rich is not None
    assert promising({"poor": poor, "rich": rich})[0] == ("rich", (0.0, 0.0))
    assert promising({}) == []
