"""Environments as people write them: other interfaces, other spaces, modules in the folder one stands in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

from ultra_agents.errors import ConfigError, PluginError, UltraError
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.testing.environment_kit import check_environment


class Line(gymnasium.Env[Any, Any]):
    """A walk on a line; notes the actions it is given."""

    observation_space: gymnasium.Space[Any] = Box(-50, 50, (1,), np.float32)
    action_space: gymnasium.Space[Any] = Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.x, self.t, self.given = float(self.np_random.integers(-2, 2)), 0, []
        return self.seen(), {}

    def seen(self) -> Any:
        return np.array([self.x], np.float32)

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), f"illegal action {action!r}"
        self.given.append(action)
        self.x, self.t = self.x + 1.0, self.t + 1
        return self.seen(), 1.0, False, self.t >= 20, {}


class OldReset(Line):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed)[0]


class NoSeed(Line):
    def reset(self) -> Any:  # type: ignore[override]
        return super().reset()


class OldStep(Line):
    def step(self, action: Any) -> Any:
        observation, reward, ended, cut, info = super().step(action)
        return observation, reward, ended or cut, info


class Raises(Line):
    def step(self, action: Any) -> Any:
        if self.t == 5:
            raise RuntimeError("the robot fell over")
        return super().step(action)


class NoReward(Line):
    def step(self, action: Any) -> Any:
        return (self.seen(), None, *super().step(action)[2:])


class ArrayReward(Line):
    def step(self, action: Any) -> Any:
        return (self.seen(), np.array([2.5]), *super().step(action)[2:])


class OtherShape(Line):
    def seen(self) -> Any:
        return np.zeros(3, np.float32)


class Outside(Line):
    observation_space = Box(-3, 3, (1,), np.float32)


class Grid(Line):
    action_space = MultiDiscrete([3, 2], start=[-1, 0])


class Switches(Line):
    action_space = MultiBinary(3)


class Whole(Line):
    action_space = Box(2, 5, (1,), np.int64)


class Wide(Line):
    action_space = Box(0, 1000, (2,), np.int64)


class Square(Line):
    action_space = Box(-1, 1, (2, 2), np.float32)


class Unbounded(Line):
    action_space = Box(-np.inf, np.inf, (1,), np.float32)


class Many(Line):
    action_space = MultiDiscrete([100, 100])


class Parts(Line):
    observation_space = Dict({"at": Discrete(4, start=1), "moved": Box(-1, 1, (2, 2), np.float32)})

    def seen(self) -> Any:
        return {"at": 1 + self.t % 4, "moved": np.full((2, 2), 0.5, np.float32)}


class Halved(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Its `metadata`, asked of the class, is a property."""

    def __init__(self, **options: Any) -> None:
        super().__init__(Line(**options))

    def observation(self, observation: Any) -> Any:
        return observation / 2


CLASSES = (
    OldReset, NoSeed, OldStep, Raises, NoReward, ArrayReward, OtherShape, Outside, Grid, Switches, Whole, Wide,
    Square, Unbounded, Many, Parts, Halved,
)  # fmt: skip


@pytest.fixture(autouse=True)
def registered() -> Any:
    for cls in CLASSES:
        gymnasium.register(f"Odd/{cls.__name__}-v0", entry_point=cls)
        gymnasium.register(f"Odd/{cls.__name__}-v1", entry_point=cls, max_episode_steps=10)
    yield
    for cls in CLASSES:
        for version in (0, 1):
            gymnasium.registry.pop(f"Odd/{cls.__name__}-v{version}")


def odd(name: str, **options: Any) -> Any:
    return create_environment(f"gymnasium:Odd/{name}", options)


def test_a_class_that_is_a_wrapper_is_an_environment() -> None:
    with make_simulators(odd("Halved-v0"), 1) as simulators:
        first = simulators.reset(seed=[3])[0]
        second = simulators.step(np.array([0]))[0]
    assert second[0, 0] - first[0, 0] == 0.5


@pytest.mark.parametrize("version", ["v0", "v1"])  # with Gymnasium's time limit it is its wrapper that stumbles
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("OldReset", "reset() does not return (observation, info)"),
        ("NoSeed", "reset() takes no seed"),
        ("OldStep", "step() returns 4 things"),
        ("Raises", "the robot fell over"),
        ("NoReward", "a reward that is no number"),
        ("OtherShape", "does not fit its space"),
    ],
)
def test_what_an_environment_must_return_is_said(name: str, says: str, version: str) -> None:
    def play() -> None:
        with make_simulators(odd(f"{name}-{version}"), 2) as simulators:
            simulators.reset(seed=0)
            for _ in range(8):
                simulators.step(np.zeros(2, np.int64))

    with pytest.raises(UltraError) as caught:
        play()
    assert says in str(caught.value)
    assert name in str(caught.value)
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_the_check_stops_at_the_first_cause() -> None:
    report = check_environment(odd("OldStep-v0"))
    assert [row.check for row in report.failed] == ["brief"]
    assert "terminated" in report.failed[0].do
    assert sum("fails as 'brief' does" in row.detail for row in report.rows) == 17


def test_a_reward_in_an_array_is_taken_as_the_number_it_is() -> None:
    with make_simulators(odd("ArrayReward-v0"), 1) as simulators:
        simulators.reset(seed=0)
        assert simulators.step(np.zeros(1, np.int64))[1].tolist() == [2.5]


def test_an_observation_outside_its_space_is_told_once_and_taken() -> None:
    notes: list[str] = []
    with make_simulators(odd("Outside-v0"), 2, on_note=notes.append) as simulators:
        simulators.reset(seed=0)
        seen = [simulators.step(np.zeros(2, np.int64))[0].max() for _ in range(10)]
    assert max(seen) > 3
    assert len(notes) == 1
    assert "outside" in notes[0]
    assert "'gymnasium' of ultra-agents" in notes[0]
    assert "Odd/Outside-v0" in notes[0]


def test_the_conformance_kit_is_strict_about_bounds() -> None:
    assert "spaces" in {row.check for row in check_environment(odd("Outside-v0")).failed}


@pytest.mark.parametrize(
    ("name", "options", "space", "given"),
    [
        ("Grid", {}, Discrete(6), [np.array([0, 1])]),
        ("Switches", {}, Discrete(8), [np.array([0, 1, 1], np.int8)]),
        ("Whole", {}, Discrete(4), [np.array([5])]),
        ("Wide", {}, Box(0, 1000, (2,), np.float32), None),
        ("Square", {}, Box(-1, 1, (4,), np.float32), None),
        ("Unbounded", {"action_bound": 2.0}, Box(-2, 2, (1,), np.float32), None),
    ],
)
def test_actions_of_other_spaces_reach_the_environment_whole(
    name: str, options: dict[str, Any], space: gymnasium.Space[Any], given: Any
) -> None:
    environment = odd(f"{name}-v0", **options)
    assert environment.action_space == space
    envs = environment.make(1)
    envs.reset(seed=[0])
    action = np.array([3]) if isinstance(space, Discrete) else np.full((1, *(space.shape or ())), 0.7, np.float32)
    envs.step(action)
    taken = envs.envs[0].unwrapped.given[0]
    if given is not None:
        assert np.array_equal(taken, given[0])
    else:
        rounded = np.rint(0.7) if name == "Wide" else 0.7
        assert np.allclose(taken, np.full(envs.envs[0].action_space.shape, rounded))
    policy = create_algorithm("ppo").create_policy(environment.observation_space, environment.action_space, 0)
    envs.step(policy.act(envs.observe(), np.random.default_rng(0)))


def test_joint_actions_have_names() -> None:
    names = odd("Grid-v0").actions.names
    assert names == ("a0=-1 a1=0", "a0=-1 a1=1", "a0=0 a1=0", "a0=0 a1=1", "a0=1 a1=0", "a0=1 a1=1")


@pytest.mark.parametrize("name", ["Grid", "Wide", "Square", "Parts"])
def test_such_an_environment_conforms(name: str) -> None:
    report = check_environment(odd(f"{name}-v0"), max_steps=100)
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("name", "found", "hint"),
    [("Unbounded", "have no bounds", "action_bound: 1.0"), ("Many", "too many combinations", "TransformAction")],
)
def test_what_cannot_be_taken_is_refused_with_a_way_out(name: str, found: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=found) as caught:
        _ = odd(f"{name}-v0").action_space
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["ppo", "sac", "sb3-ppo"])
def test_algorithms_say_what_to_do_about_other_spaces(name: str) -> None:
    box, algorithm = Box(-1, 1, (2,), np.float32), create_algorithm(name)
    pairs: list[tuple[Any, Any]] = [(Discrete(4), box), (box, MultiDiscrete([2, 2]))]
    for spaces in pairs:
        with pytest.raises(PluginError) as caught:
            algorithm.create_policy(*spaces, 0)
        assert caught.value.hint


def test_parts_of_observations_are_flattened() -> None:
    environment = odd("Parts-v0")
    with make_simulators(environment, 1) as simulators:
        observations, _ = simulators.reset(seed=0)
    assert observations.tolist() == [[1, 0, 0, 0, 0.5, 0.5, 0.5, 0.5]]
    policy = create_algorithm("ppo").create_policy(environment.observation_space, environment.action_space, 0)
    assert policy.act(observations, Streams(0).generator("x")).shape == (1,)


CODE = """
from ultra_agents.errors import UltraError
from ultra_agents.registry import create_environment
try:
    print(create_environment("gymnasium:own_walk:OwnWalk-v0").observation_space)
except UltraError as error:
    print(error)
"""


def here(folder: Path) -> str:
    done = subprocess.run([sys.executable, "-P", "-c", CODE], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_module_in_the_current_folder_is_found(tmp_path: Path) -> None:
    assert "PYTHONPATH" in (missing := here(tmp_path))
    assert "pip install" not in missing
    (tmp_path / "own_walk.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('OwnWalk-v0', entry_point='own_walk:CartPoleEnv', max_episode_steps=20)\n"
    )
    assert here(tmp_path).startswith("Box(")
    (tmp_path / "own_walk.py").write_text("import some_helper_of_mine\n")
    told = here(tmp_path)
    assert "some_helper_of_mine" in told
    assert "pip install" not in told
    (tmp_path / "own_walk.py").write_text("1 / 0\n")
    assert "ZeroDivisionError" in here(tmp_path)
