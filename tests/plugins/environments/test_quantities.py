"""Quantities of MuJoCo tasks against MuJoCo itself, and what is made of other people's observations."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from ultra_agents_plugins.environments.any_gymnasium import named

from ultra_agents.contracts import capabilities
from ultra_agents.registry import create_environment
from ultra_agents.rules import interface_of

FEET = {
    "hopper": {"": "foot"},
    "walker2d": {"right_": "foot", "left_": "foot_left"},
    "half-cheetah": {"back_": "bfoot", "front_": "ffoot"},
}


@pytest.mark.parametrize("name", FEET)
def test_the_feet_are_where_mujoco_puts_them(name: str) -> None:
    import mujoco

    environment = create_environment(name)
    envs, rng, scratch = environment.make(2), np.random.default_rng(0), None
    observations, _ = envs.reset(seed=[0, 1])
    touched, agreed = [], []
    for _ in range(150):
        observations, *_ = envs.step(rng.uniform(-1, 1, envs.action_space.shape).astype(np.float32))
        told = environment.quantities(observations)
        for index, positions in enumerate(envs.qpos):
            scratch = scratch or mujoco.MjData(envs.model)
            scratch.qpos[:] = positions
            mujoco.mj_forward(envs.model, scratch)
            for foot, body in FEET[name].items():
                geom = int(envs.model.body_geomadr[envs.model.body(body).id])
                half = scratch.geom_xmat[geom].reshape(3, 3)[2, 2] * envs.model.geom_size[geom, 1]
                lowest = scratch.geom_xpos[geom][2] - abs(half) - envs.model.geom_size[geom, 0]
                assert told[f"{foot}foot_height"][index] == pytest.approx(lowest, abs=1e-9)
                touches = any(geom in (one.geom1, one.geom2) for one in scratch.contact)
                touched.append(touches)
                agreed.append((told[f"{foot}contact"][index] > 0) == touches)
    assert np.mean(agreed) > 0.99
    assert 0.05 < np.mean(touched) < 0.95
    feet = np.stack([told[f"{foot}contact"] for foot in FEET[name]])
    assert np.array_equal(told["stance"], (feet.max(axis=0) > 0) * 1.0)


def test_joints_stop_where_the_legend_says() -> None:
    legend = create_environment("hopper").legend
    assert (legend["hip"].low, legend["hip"].high) == pytest.approx((-np.radians(150), 0))
    assert (legend["ankle"].low, legend["ankle"].high) == pytest.approx((-np.radians(45), np.radians(45)))


def test_the_reachers_offsets_lead_from_the_target_to_the_fingertip() -> None:
    reacher = create_environment("reacher")
    observations, _ = reacher.make(5).reset(seed=list(range(5)))
    q = reacher.quantities(observations)
    x = 0.1 * np.cos(q["shoulder"]) + 0.11 * np.cos(q["shoulder"] + q["elbow"])
    y = 0.1 * np.sin(q["shoulder"]) + 0.11 * np.sin(q["shoulder"] + q["elbow"])
    np.testing.assert_allclose(x - q["target_x"], q["offset_x"], atol=1e-6)
    turned = np.arctan2(y, x) + q["aim"]
    outward = np.hypot(x, y) + q["reach"]
    np.testing.assert_allclose(outward * np.cos(turned), q["target_x"], atol=1e-6)
    np.testing.assert_allclose(outward * np.sin(turned), q["target_y"], atol=1e-6)
    np.testing.assert_allclose(q["distance"], np.hypot(q["offset_x"], q["offset_y"]))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Cart Position", "cart_position"),
        ("Pole Angular Velocity", "pole_v"),
        ("Cosine of theta1", "cos_theta1"),
        ("sine of the angle between the cart and the first pole", "sin_angle_cart_first_pole"),
        ("y = sin(theta)", "sin_theta"),
        ("Angular Velocity", "angular_velocity"),
        ("z-coordinate of the torso (height of hopper)", "z_torso"),
        ("own", ""),
        ("3 lidars", ""),
        ("Größe \x1b[31m", "gr_e_31m"),
        ("x" * 5000, "x" * 40),
        ("", ""),
    ],
)
def test_a_row_becomes_a_word(text: str, name: str) -> None:
    assert named.word(text) == name


TABLE = """
| Num | Observation   | Min                 | Max         | Unit           |
|-----|---------------|---------------------|-------------|----------------|
| 0   | Lift          | ~ -0.418 rad (-24°) | -Inf        |                |
| 1   | Lift          | -π                  | 2 * pi      | angle (rad)    |
| 2   | Speed         | 1e999               | .           | speed (m/s)    |
"""


def test_a_table_gives_units_and_ranges_and_random_play_the_rest() -> None:
    found = {"observation space": TABLE.splitlines()}
    space = Box(np.array([-9, -9, -np.inf, -1], np.float32), np.array([9, 9, np.inf, 1], np.float32))
    spread = np.array([[0, 0, 5, 0], [1, 1, 2, 1]], np.float64)
    names = named.names_of(space, space, found, spread)
    assert names is not None
    legend = names.legend
    assert list(legend) == ["lift_0", "lift_1", "speed", "obs_3"]  # two alike are numbered, a missing row is too
    assert [one.unit for one in legend.values()] == ["rad", "rad", "m/s", "unknown"]
    assert (legend["lift_0"].low, legend["lift_0"].high) == (-0.418, 9)
    assert (legend["lift_1"].low, legend["lift_1"].high) == pytest.approx((-np.pi, 2 * np.pi), abs=1e-4)
    assert (legend["speed"].low, legend["speed"].high) == (-1, 11)  # 3 deviations about the mean
    assert (legend["obs_3"].low, legend["obs_3"].high) == (-1, 1)


def test_dictionaries_and_tuples_are_taken_apart_by_their_keys() -> None:
    space = Dict(
        {
            "arm": Tuple((Box(-1, 1, (2,)), Discrete(3, start=5))),
            "goal pose": Box(-1, 1, (1,)),
            "import": MultiDiscrete([2, 4]),
            "lights": MultiBinary(2),
        }
    )
    flat = gymnasium.spaces.flatten_space(space)
    names = named.names_of(space, flat, {}, np.zeros((2, *flat.shape)))
    assert names is not None
    space.seed(0)
    samples: list[Any] = [space.sample() for _ in range(20)]
    found = names.of(np.stack([gymnasium.spaces.flatten(space, one) for one in samples]))
    assert list(found) == list(names.legend)
    expected = {
        "arm_0_0": [one["arm"][0][0] for one in samples],
        "arm_0_1": [one["arm"][0][1] for one in samples],
        "arm_1": [one["arm"][1] for one in samples],
        "goal_pose": [one["goal pose"][0] for one in samples],
        "obs_import_0": [one["import"][0] for one in samples],
        "obs_import_1": [one["import"][1] for one in samples],
        "lights_0": [one["lights"][0] for one in samples],
        "lights_1": [one["lights"][1] for one in samples],
    }
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], np.array(values, np.float64))
    assert (names.legend["arm_1"].low, names.legend["arm_1"].high) == (5, 7)


def test_an_image_is_no_list_of_numbers() -> None:
    image = Box(0, 255, (30, 30, 3), np.uint8)
    assert named.names_of(image, image, {}, np.zeros((2, 2700))) is None


def test_one_value_of_several_is_one_number() -> None:
    lake = create_environment("gymnasium:FrozenLake-v1")
    assert lake.quantities(np.eye(16)[[3, 7]])["obs"].tolist() == [3, 7]
    assert "quantities" in capabilities(lake)


def test_what_a_person_would_name_in_a_grid() -> None:
    pytest.importorskip("minigrid")
    from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX

    grid = create_environment("gymnasium:MiniGrid-DoorKey-5x5-v0")
    image = np.zeros((7, 7, 3), np.uint8)
    image[:, :, 0] = OBJECT_TO_IDX["empty"]

    def put(ahead: int, right: int, name: str, state: int = 0) -> None:
        image[3 + right, 6 - ahead] = OBJECT_TO_IDX[name], COLOR_TO_IDX["yellow"], state

    put(3, 0, "wall")
    put(2, -1, "door", 2)
    put(5, 3, "goal")
    put(0, 1, "wall")
    put(0, 0, "key")  # carried
    put(4, 0, "key")
    put(6, 0, "key")
    seen = gymnasium.spaces.flatten(grid.facts.inner_space, {"direction": 1, "image": image})
    put(1, 0, "lava")
    then = gymnasium.spaces.flatten(grid.facts.inner_space, {"direction": 3, "image": image})
    q = grid.quantities(np.stack([seen, then]))
    assert q["direction"].tolist() == [1, 3]
    assert (q["goal_ahead"][0], q["goal_right"][0]) == (5, 3)
    assert (q["key_ahead"][0], q["key_right"][0]) == (4, 0)
    assert (q["door_ahead"][0], q["door_right"][0], q["door_open"][0], q["door_locked"][0]) == (2, -1, 0, 1)
    assert np.isnan(q["ball_ahead"][0])
    assert q["free_ahead"].tolist() == [2, 0]
    assert q["front_lava"].tolist() == [0, 1]
    assert (q["left_free"][0], q["right_free"][0]) == (1, 0)
    assert (q["carrying_key"][0], q["carrying_ball"][0]) == (1, 0)
    assert "key_ahead" in interface_of(grid).quantities
