"""Policies that see screens: the convolutional trunk, its files, and PPO learning from pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from ultra_agents_plugins.algorithms._encoders import NatureCNN, is_image
from ultra_agents_plugins.algorithms._networks import PPOPolicy
from ultra_agents_plugins.algorithms.ppo import PPO, PPOOptions

from ultra_agents.contracts import Demonstrations
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array
from ultra_agents.registry import create_environment
from ultra_agents.seeding import Streams

SIZE = 36
SCREENS = Box(0, 255, (4, 84, 84), np.uint8)


class BrightSquare(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Episodes of one step: screens `(1, 36, 36)` with a bright square left or right, 1 for naming its side."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space, self.single_action_space = Box(0, 255, (1, SIZE, SIZE), np.uint8), Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rng = np.random.default_rng(0)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        self._rng = np.random.default_rng(seed)
        return self._draw(), {}

    def step(self, actions: Any) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        rewards, shown = (actions == self._side).astype(np.float64), self._screens
        ended = np.ones(self.num_envs, bool)
        final = np.empty(self.num_envs, dtype=object)
        final[:] = list(shown)
        return self._draw(), rewards, ended, ~ended, {"final_obs": final}

    def _draw(self) -> Array:
        self._side = self._rng.integers(0, 2, self.num_envs)
        self._screens = self._rng.integers(0, 60, (self.num_envs, 1, SIZE, SIZE), dtype=np.uint8)
        for index, side in enumerate(self._side):
            row, column = self._rng.integers(0, SIZE - 8), self._rng.integers(0, SIZE // 2 - 8) + side * SIZE // 2
            self._screens[index, 0, row : row + 8, column : column + 8] = 255
        return self._screens


def screens(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (n, 4, 84, 84), dtype=np.uint8)


@pytest.mark.parametrize(
    ("space", "image"),
    [
        (SCREENS, True),
        (Box(0, 255, (210, 160, 3), np.uint8), True),
        (Box(0, 1, (4, 84, 84), np.float32), False),
        (Box(0, 255, (7, 7, 3), np.uint8), False),
        (Box(0, 255, (128,), np.uint8), False),
    ],
)
def test_screens_are_told_from_other_arrays(space: Box, image: bool) -> None:
    assert is_image(space) is image
    policy = PPOPolicy(space, Discrete(3), (8,))
    assert policy.network == ("nature_cnn" if image else "mlp")
    obs = np.stack([space.sample() for _ in range(3)])
    assert policy.normalize(obs).dtype == (np.uint8 if image else np.float32)
    assert policy.act(obs, np.random.default_rng(0)).shape == policy.value(obs).shape == (3,)


def test_the_layers_are_those_of_the_paper() -> None:
    trunk = NatureCNN((4, 84, 84), torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in trunk.parameters()) == 8224 + 32832 + 36928 + 3136 * 512 + 512
    first, last = NatureCNN((3, 40, 48), torch.Generator()), NatureCNN((40, 48, 3), torch.Generator())
    last.load_state_dict(first.state_dict())
    picture = torch.randint(0, 256, (2, 3, 40, 48), dtype=torch.uint8)
    assert torch.equal(first(picture), last(picture.permute(0, 2, 3, 1).contiguous()))
    pixels = (picture.float() / 255).contiguous(memory_format=torch.channels_last)  # the order of sums depends on it
    assert torch.allclose(first(picture), first.layers(pixels))


def test_what_a_screen_gets_does_not_depend_on_its_neighbours() -> None:
    policy, obs = PPOPolicy(SCREENS, Discrete(3), (), 1), screens(19)
    outputs, values = policy.outputs_and_values(policy.normalize(obs))
    assert np.array_equal(policy.value(obs), values)
    for part in (slice(0, 1), slice(3, 8), slice(5, 19)):
        alone, value = policy.outputs_and_values(policy.normalize(obs[part]))
        assert np.array_equal(alone, outputs[part])
        assert np.array_equal(value, values[part])
    with torch.no_grad():
        logprobs, _ = policy.log_prob_and_entropy(torch.from_numpy(policy.normalize(obs)), torch.zeros(19).long())
    assert np.allclose(logprobs[0].numpy(), policy.log_prob(outputs, np.zeros(19, np.int64)), atol=1e-5)


def test_the_policy_file_rebuilds_the_trunk(tmp_path: Path) -> None:
    from ultra_agents.policies import load_policy, save_policy

    environment = create_environment("pong-pixels", {})
    policy = PPO(PPOOptions()).create_policy(environment.observation_space, environment.action_space, 3)
    path = tmp_path / "screens.safetensors"
    save_policy(
        path, policy, algorithm="ppo", environment_name="pong-pixels", environment=environment, provenance={},
        score=None,
    )  # fmt: skip
    loaded = load_policy(path, "pong-pixels", environment).policy
    obs, uniforms = screens(5), np.random.default_rng(1).random((5, 1))
    assert isinstance(loaded, PPOPolicy)
    assert loaded.network == "nature_cnn"
    assert np.array_equal(loaded.value(obs), policy.value(obs))
    assert np.array_equal(loaded.act_with_uniforms(obs, uniforms), policy.act_with_uniforms(obs, uniforms))


def test_policies_that_flattened_their_screens_still_load() -> None:
    algorithm, obs = PPO(PPOOptions()), screens(4)
    flat = PPOPolicy(SCREENS, Discrete(3), (8,), 2, network="mlp")
    arrays, description = flat.state()
    assert description == {"network": "mlp", "hidden": [8], "activation": "tanh", "head": "categorical"}
    loaded = algorithm.load_policy(arrays, description, SCREENS, Discrete(3))
    assert np.array_equal(loaded.value(obs), flat.value(obs))
    with pytest.raises(PolicyError, match="network is unknown"):
        algorithm.load_policy(arrays, description | {"network": "transformer"}, SCREENS, Discrete(3))


def test_the_value_warm_up_leaves_the_shared_trunk_alone() -> None:
    options = PPOOptions(num_steps=8, num_minibatches=2, update_epochs=1, value_warmup_updates=1)
    policy, envs = PPOPolicy(BrightSquare(1).single_observation_space, Discrete(2), ()), BrightSquare(4)
    trainer = PPO(options).trainer(policy, envs, 1000, Streams(0))
    before = trainer.policy.state()[0]
    trainer.update()
    warmed = trainer.policy.state()[0]
    moved = {name for name in before if not np.array_equal(before[name], warmed[name])}
    assert moved == {"critic.0.weight", "critic.0.bias"}
    trainer.update()
    later = trainer.policy.state()[0]
    assert not np.array_equal(warmed["encoder.layers.0.weight"], later["encoder.layers.0.weight"])


def test_ppo_learns_from_pixels() -> None:
    options = PPOOptions(num_steps=16, num_minibatches=4, learning_rate=5e-4, anneal_lr=False, gamma=0.9)
    envs = BrightSquare(16)
    policy = PPO(options).create_policy(envs.single_observation_space, envs.single_action_space, 0)
    trainer = PPO(options).trainer(policy, envs, 16 * 16 * 12, Streams(0), fresh=True)
    metrics = [trainer.update() for _ in range(12)]
    assert all(np.isfinite(list(row.values())).all() for row in metrics)
    assert metrics[0]["return_mean"] < 0.65
    assert metrics[-1]["return_mean"] > 0.95, [row["return_mean"] for row in metrics]


def test_training_on_screens_goes_on_exactly() -> None:
    options = PPOOptions(num_steps=4, num_minibatches=2, update_epochs=1)

    def start() -> Any:
        policy = PPO(options).create_policy(BrightSquare(1).single_observation_space, Discrete(2), 0)
        return PPO(options).trainer(policy, BrightSquare(2), 100, Streams(0), fresh=True)

    first, second = start(), start()
    first.update()
    second.load_state(*first.state())
    for name, array in first.policy.state()[0].items():
        assert np.array_equal(array, second.policy.state()[0][name]), name
    moments = {name: array for name, array in first.state()[0].items() if name.startswith("adam/")}
    assert sum(array.any() for array in moments.values()) >= 2
    assert all(np.array_equal(array, second.state()[0][name]) for name, array in moments.items())


def test_demonstrations_on_screens_are_learnt() -> None:
    envs = BrightSquare(64)
    shown, _ = envs.reset(seed=3)
    sides, shown = envs._side, np.array(shown)
    algorithm = PPO(PPOOptions(clone_steps=40))
    policy = algorithm.create_policy(envs.single_observation_space, Discrete(2), 0)
    made = Demonstrations(shown, sides, np.ones(64), shown[:0])
    twin = algorithm.imitate(policy, made, Streams(0))
    assert (twin.act(shown, deterministic=True) == sides).mean() > 0.95
