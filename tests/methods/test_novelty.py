from __future__ import annotations

import json

import numpy as np
import pytest
from ultra_agents_plugins.methods._moments import Moments
from ultra_agents_plugins.methods._novelty import CLIP, WAIT, Novelty, pack, unpack


def novelty(width: int = 3, seed: int = 0, learning_rate: float = 1e-3) -> Novelty:
    inputs = Moments(width)
    inputs.add(np.random.default_rng(1).normal(2.0, 3.0, (500, width)))
    made = Novelty(inputs, 16, learning_rate, 0.9, np.random.default_rng(seed))
    made.begin(4)
    return made


def test_moments_are_those_of_all_rows_whatever_the_batches() -> None:
    rows = np.random.default_rng(0).normal(5.0, 2.0, (97, 3))
    moments = Moments(3)
    for part in np.split(rows, [1, 2, 40, 40, 96]):
        moments.add(part)
    assert moments.count == 97
    assert moments.mean == pytest.approx(rows.mean(axis=0), rel=1e-12)
    assert moments.var == pytest.approx(rows.var(axis=0), rel=1e-12)
    assert np.abs(moments.scaled(rows * 100, 5.0)).max() == 5.0


def test_what_never_varied_counts_unscaled() -> None:
    moments = Moments(1)
    moments.add(np.ones((10, 1)))
    assert moments.scaled(np.array([[1.0], [3.0], [99.0]]), 5.0).ravel().tolist() == [0.0, 2.0, 5.0]


def test_the_bonus_falls_where_one_has_been_and_stays_high_where_not() -> None:
    rnd = novelty()
    familiar, new = np.full((4, 3), 2.0), np.full((1, 3), -4.0)
    before = rnd.error(familiar)[0]
    first = [float(rnd.bonus(familiar + 0.01 * np.arange(4)[:, None])[0]) for _ in range(WAIT + 20)][-1]
    later = [float(rnd.bonus(familiar + 0.01 * np.arange(4)[:, None])[0]) for _ in range(600)][-1]
    assert later < 0.2 * first
    assert rnd.error(familiar)[0] < 0.05 * before
    assert rnd.error(new)[0] > 20 * rnd.error(familiar)[0]


def test_the_bonus_is_divided_by_the_deviation_of_discounted_sums() -> None:
    rnd, rng = novelty(), np.random.default_rng(3)
    running, sums = np.zeros(4), []
    for step in range(WAIT + 30):
        rows = rng.normal(2.0, 3.0, (4, 3))
        error = rnd.error(rows)
        running = 0.9 * running + error
        sums += running.tolist()
        expected = error / np.std(sums) if step >= WAIT else np.zeros(4)
        assert rnd.bonus(rows) == pytest.approx(expected, rel=1e-9)
    assert rnd.sums.count == 4 * (WAIT + 30)
    assert rnd.inputs.count == 500 + 4 * (WAIT + 30)


def test_far_states_are_clipped() -> None:
    rnd = novelty()
    far, farther = (np.full((1, 3), value) for value in (1e3, 1e6))
    assert rnd.error(far) == rnd.error(farther)
    assert np.abs(rnd.inputs.scaled(far, CLIP)).max() == CLIP


def test_the_gradient_is_right() -> None:
    """Adam's first moment after one step is a tenth of the gradient: compared with finite differences."""
    rnd = novelty()
    rows = np.random.default_rng(5).normal(2.0, 3.0, (4, 3))
    weights, h = rnd._predictor[2], 1e-6
    slope = np.zeros(6)
    for index in range(6):
        weights.flat[index] += h
        up = rnd.error(rows).mean()
        weights.flat[index] -= 2 * h
        slope[index] = (up - rnd.error(rows).mean()) / (2 * h)
        weights.flat[index] += h
    rnd._learn(rows)
    assert rnd._first[2].ravel()[:6] / 0.1 == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_state_is_exact_and_json() -> None:
    one, other, rng = novelty(), novelty(), np.random.default_rng(8)
    for _ in range(WAIT + 5):
        one.bonus(rng.normal(size=(4, 3)))
    other.load_state(json.loads(json.dumps(one.state())))
    for _ in range(5):
        rows = rng.normal(size=(4, 3))
        assert one.bonus(rows).tolist() == other.bonus(rows).tolist()


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.array([3], np.int64), np.zeros((0, 2), np.float32)]
)
def test_arrays_survive_packing(array: np.ndarray) -> None:  # type: ignore[type-arg]
    back = unpack(json.loads(json.dumps(pack(array))))
    assert back.dtype == array.dtype
    assert back.tolist() == array.tolist()
