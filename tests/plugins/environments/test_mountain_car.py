from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from ultra_agents.errors import EnvironmentFault
from ultra_agents.registry import create_environment


def test_bit_identical_to_gymnasium_across_episodes() -> None:
    ours = create_environment("mountain-car").make(6)
    theirs = gymnasium.make_vec(
        "MountainCar-v0",
        num_envs=6,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )
    seeds = [3, 1, 4, 15, 9, 2]
    mine, _ = ours.reset(seed=seeds)
    yours, _ = theirs.reset(seed=seeds)
    assert np.array_equal(mine, yours)
    rng, flags, limits = np.random.default_rng(0), 0, 0
    for _ in range(700):
        actions = rng.integers(0, 3, 6)
        actions[:3] = np.where(mine[:3, 1] > 0, 2, 0)
        a, b = ours.step(actions), theirs.step(actions)
        for one, other in zip(a[:4], b[:4], strict=True):
            assert np.array_equal(one, other)
        for index in np.flatnonzero(a[2] | a[3]):
            assert np.array_equal(a[4]["final_obs"][index], b[4]["final_obs"][index])
        mine = a[0]
        flags += int(a[2].sum())
        limits += int(a[3].sum())
    assert flags >= 9
    assert limits >= 9
    theirs.close()


def test_restored_cars_go_on_to_the_bit_across_the_reset() -> None:
    car = create_environment("mountain-car", {"max_steps": 40})
    source, target = car.make(1), car.make(3)
    source.reset(seed=[0])
    target.reset(seed=[1, 2, 3])
    rng = np.random.default_rng(0)
    for _ in range(25):
        source.step(rng.integers(0, 3, 1))
    car.restore(target, [1], car.snapshot(source, [0]))
    ends = 0
    for actions in rng.integers(0, 3, (60, 3)):
        a, b = source.step(actions[1:2]), target.step(actions)
        assert np.array_equal(a[0][0], b[0][1])
        assert a[3][0] == b[3][1]
        ends += int(a[3][0])
    assert ends == 2


def test_what_is_no_snapshot_is_refused() -> None:
    car = create_environment("mountain-car")
    envs = car.make(1)
    envs.reset(seed=[0])
    (state,) = car.snapshot(envs, [0])
    for bad in (b"", state[:-1], b"XXXX" + state[4:]):
        with pytest.raises(EnvironmentFault, match="not a snapshot"):
            car.restore(envs, [0], [bad])


def test_pushing_along_the_velocity_reaches_the_flag() -> None:
    car = create_environment("mountain-car")
    envs, act = car.make(20), car.expert()
    observations, _ = envs.reset(seed=list(range(20)))
    steps = np.zeros(20)
    for step in range(1, 201):
        observations, _, terminated, _, _ = envs.step(act(observations))
        steps[terminated & (steps == 0)] = step
    assert (steps > 0).all()
    assert steps.mean() < 130


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (
            (-0.9, -0.03),
            "The car is on the left slope (position -0.90), rolling left (uphill) at 0.030 per step; "
            "the flag is 1.40 ahead.",
        ),
        (
            (0.2, -0.02),
            "The car is on the right slope (position 0.20), rolling left (downhill) at 0.020 per step; "
            "the flag is 0.30 ahead.",
        ),
        (
            (-0.5, 0.0),
            "The car is near the bottom of the valley (position -0.50), standing almost still; "
            "the flag is 1.00 ahead.",
        ),
    ],
)
def test_states_in_words(state: tuple[float, float], text: str) -> None:
    assert create_environment("mountain-car").describe(np.array(state, np.float32), {}) == text


def test_the_car_is_drawn_where_it_is() -> None:
    car = create_environment("mountain-car")
    envs = car.make(1)
    envs.reset(seed=[0])
    columns = []
    for position in (-1.0, 0.3):
        envs.state[0] = position, 0.0
        columns.append(np.argwhere((car.render(envs, 0) == (50, 90, 200)).all(-1))[:, 1].mean())
    assert columns[0] < 50
    assert columns[1] > 230
