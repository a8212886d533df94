"""What the Stable-Baselines3 plugins refuse, each with one message."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from ultra_agents.errors import ConfigError, PluginError, PolicyError
from ultra_agents.registry import create_algorithm
from ultra_agents.seeding import Streams
from ultra_agents.testing._algorithm_world import World


def policy_for(algorithm: Any, envs: Any) -> Any:
    return algorithm.create_policy(envs.single_observation_space, envs.single_action_space, 0)


def test_without_the_package_one_message_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if "stable_b" in name else find(name, *a))
    with pytest.raises(PluginError, match=r"'sb3-ppo' needs Stable-Baselines3") as caught:
        create_algorithm("sb3-ppo")
    assert "pip install 'ultra-agents[sb3]'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("sb3-ppo", {"learnig_rate": 1e-3}, "did you mean 'learning_rate'"),
        ("sb3-sac", {"policy_kwargs": {"net_arc": [8]}}, "did you mean 'net_arch'"),
        ("sb3-ppo", {"learning_rate": "linear"}, "lin_3e-4"),
        ("sb3-ppo", {"learning_rate": "lin_-1"}, "lin_3e-4"),
        ("sb3-a2c", {"learning_rate": float("nan")}, "lin_3e-4"),
        ("sb3-sac", {"ent_coef": "auto_0"}, "auto_0.1"),
        ("sb3-sac", {"ent_coef": "automatic"}, "auto_0.1"),
        ("sb3-ppo", {"batch_size": 1}, "more than 1"),
        ("sb3-td3", {"policy_kwargs": {"activation_fn": "Tanh"}}, "tanh"),
    ],
)
def test_options_that_cannot_be_used_are_one_message(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create_algorithm(name, options)
    assert words in str(caught.value)


def test_numbers_as_yaml_reads_them_are_taken() -> None:
    assert float(create_algorithm("sb3-ppo", {"learning_rate": "3e-4"}).options.learning_rate) == 3e-4
    assert create_algorithm("sb3-sac", {"ent_coef": "0"}).options.ent_coef == "0"


@pytest.mark.parametrize(
    ("name", "observations", "actions", "words"),
    [
        ("sb3-dqn", (3,), Box(-1, 1, (2,)), "sb3-dqn takes Discrete actions only"),
        ("sb3-sac", (3,), Discrete(2), "sb3-sac takes Box actions only"),
        ("sb3-td3", (3,), Discrete(2), "use sb3-ppo, sb3-a2c or sb3-dqn"),
        ("sb3-ppo", (3,), Box(-np.inf, np.inf, (2,)), "bounded one-dimensional Box"),
        ("sb3-ppo", (3,), Discrete(2, start=1), "start at 0"),
        ("sb3-ppo", (3,), Dict({"a": Discrete(2)}), "Discrete or Box actions only"),
    ],
)
def test_spaces_it_cannot_have_are_refused(name: str, observations: Any, actions: Any, words: str) -> None:
    with pytest.raises(PluginError) as caught:
        create_algorithm(name).create_policy(Box(-1, 1, observations), actions, 0)
    assert words in str(caught.value)


def test_other_networks_are_refused() -> None:
    space = Box(-1, 1, (3,))
    with pytest.raises(PluginError, match="CnnPolicy takes pictures only"):
        create_algorithm("sb3-dqn", {"policy": "CnnPolicy"}).create_policy(space, Discrete(2), 0)
    with pytest.raises(PluginError, match="Box observations only"):
        create_algorithm("sb3-dqn").create_policy(Discrete(4), Discrete(2), 0)
    for name, arch in (("sb3-ppo", {"pi": [8], "qf": [8]}), ("sb3-sac", {"pi": [8]}), ("sb3-dqn", {"pi": [8]})):
        actions = Box(-1, 1, (1,)) if name == "sb3-sac" else Discrete(2)
        algorithm = create_algorithm(name, {"policy_kwargs": {"net_arch": arch}})
        with pytest.raises(PluginError, match="net_arch does not fit"):
            algorithm.create_policy(space, actions, 0)


def test_policies_of_others_are_refused() -> None:
    envs = World(4, False)
    native, algorithm = policy_for(create_algorithm("ppo"), envs), create_algorithm("sb3-ppo")
    with pytest.raises(PluginError, match="sb3-ppo trains its own policies only"):
        algorithm.trainer(native, envs, 100, Streams(0))
    arrays, told = policy_for(create_algorithm("sb3-dqn"), envs).state()
    spaces = envs.single_observation_space, envs.single_action_space
    with pytest.raises(PolicyError, match="another algorithm"):
        create_algorithm("sb3-ppo").load_policy(arrays, told, *spaces)
    a2c = create_algorithm("sb3-a2c", {"normalize_observations": False})
    arrays, told = policy_for(a2c, envs).state()
    taken = create_algorithm("sb3-ppo").load_policy(arrays, told, *spaces)
    assert taken.state()[0].keys() == arrays.keys(), "PPO and A2C share their networks"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arrays, told: arrays.pop("action_net.bias"),
        lambda arrays, told: arrays.update({"extra": np.zeros(1)}),
        lambda arrays, told: arrays.update({"action_net.bias": np.zeros(9, np.float32)}),
        lambda arrays, told: arrays.update({"normalizer/var": np.full(2, -1.0)}),
        lambda arrays, told: arrays.update({"normalizer/mean": np.zeros(3)}),
        lambda arrays, told: arrays.pop("normalizer/mean"),
        lambda arrays, told: arrays.update({"value_net.bias": np.full(1, np.inf, np.float32)}),
        lambda arrays, told: told.update(policy="MultiInputPolicy"),
        lambda arrays, told: told.update(policy_kwargs={"activation_fn": "os.system"}),
        lambda arrays, told: told.update(clip_obs="ten"),
        lambda arrays, told: told.update(algorithm="trpo"),
    ],
)
def test_damaged_policies_are_refused(spoil: Any) -> None:
    algorithm, envs = create_algorithm("sb3-ppo"), World(1, False)
    arrays, told = policy_for(algorithm, envs).state()
    spoil(arrays, told)
    with pytest.raises(PolicyError):
        algorithm.load_policy(arrays, told, envs.single_observation_space, envs.single_action_space)
