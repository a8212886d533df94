"""The Stable-Baselines3 plugins: the contract, SB3's own results, exact resume, what is refused."""

from __future__ import annotations

import json
import random
from typing import Any

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from ultra_agents.records import Array
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.testing._algorithm_world import Recorder, World
from ultra_agents.testing.algorithm_kit import check_algorithm

QUICK: dict[str, dict[str, Any]] = {
    "sb3-ppo": {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "steps_per_update": 64, "value_warmup_steps": 64},
    "sb3-a2c": {"steps_per_update": 60, "value_warmup_steps": 60},
    "sb3-sac": {"learning_starts": 16, "batch_size": 8, "steps_per_update": 40, "value_warmup_steps": 16},
    "sb3-td3": {"learning_starts": 16, "batch_size": 8, "steps_per_update": 40, "value_warmup_steps": 16},
    "sb3-dqn": {"learning_starts": 16, "batch_size": 16, "steps_per_update": 48, "target_update_interval": 32},
}
"""Options with which an update takes a fraction of a second."""
CONTINUOUS = {"sb3-ppo": True, "sb3-a2c": True, "sb3-sac": True, "sb3-td3": True, "sb3-dqn": False}


def quick(name: str, **options: Any) -> Any:
    small = {"net_arch": [16]}
    return create_algorithm(name, {**QUICK[name], "policy_kwargs": small, **options})


def policy_for(algorithm: Any, envs: Any, seed: int = 0) -> Any:
    return algorithm.create_policy(envs.single_observation_space, envs.single_action_space, seed)


def begin(name: str, total: int = 2000, fresh: bool = True, modulation: Any = None, **options: Any) -> Any:
    algorithm, envs = quick(name, **options), World(4, CONTINUOUS[name])
    return algorithm.trainer(policy_for(algorithm, envs), envs, total, Streams(3), modulation, fresh)


def same(left: dict[str, Array], right: dict[str, Array]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


# -- the contract ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK)
def test_it_passes_the_conformance_kit(name: str) -> None:
    report = check_algorithm(quick(name))
    assert report.ok, report
    refused = {row.check.split()[-1] for row in report.rows if row.detail.startswith("refused")}
    assert refused == {"sb3-sac": {"[discrete]"}, "sb3-td3": {"[discrete]"}, "sb3-dqn": {"[continuous]"}}.get(
        name, set()
    )


@pytest.mark.parametrize(("name", "stochastic"), [("sb3-sac", True), ("sb3-td3", False), ("sb3-dqn", False)])
def test_a_deterministic_policy_says_so(name: str, stochastic: bool) -> None:
    policy = policy_for(quick(name), World(1, CONTINUOUS[name]))
    observations = np.random.default_rng(0).uniform(-1, 1, (8, 2)).astype(np.float32)
    drawn = [policy.act(observations, np.random.default_rng(seed)) for seed in (1, 2)]
    assert policy.stochastic is stochastic
    assert np.array_equal(*drawn) is not stochastic


# -- SB3's own -------------------------------------------------------------------------------------------------

OWN: dict[str, tuple[str, dict[str, Any]]] = {
    "sb3-ppo": ("CartPole-v1", {"n_steps": 64, "n_epochs": 2, "learning_rate": "lin_1e-3"}),
    "sb3-a2c": ("CartPole-v1", {}),
    "sb3-sac": ("Pendulum-v1", {"batch_size": 32, "policy_kwargs": {"net_arch": [32, 32]}}),
    "sb3-td3": ("Pendulum-v1", {"batch_size": 32, "noise_std": 0.0, "policy_kwargs": {"net_arch": [32, 32]}}),
    "sb3-dqn": ("CartPole-v1", {"exploration_fraction": 0.5, "target_update_interval": 64}),
}


@pytest.mark.parametrize("name", OWN)
def test_without_advice_the_weights_are_those_of_sb3s_own_learn(name: str) -> None:
    task, options = OWN[name]
    total, streams = (640 if task.startswith("Cart") else 480), Streams(5)
    algorithm = create_algorithm(name, {**options, "normalize_observations": False})
    makers = [lambda: gymnasium.make(task) for _ in range(2)]
    envs = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    policy = policy_for(algorithm, envs)
    trainer = algorithm.trainer(policy, envs, total, streams, None, fresh=True)
    while trainer.steps < total:
        trainer.update()

    theirs = {k: v for k, v in options.items() if k not in ("noise_std", "learning_rate")}
    if "learning_rate" in options:
        theirs["learning_rate"] = lambda left: 1e-3 * left
    around: Any = DummyVecEnv(makers)
    make = getattr(stable_baselines3, name.removeprefix("sb3-").upper())
    model = make("MlpPolicy", around, seed=streams.integer("sb3"), device="cpu", **theirs)
    around._seeds = streams.integers(2, "envs", 0)
    model.policy.load_state_dict(policy.module.state_dict())
    model.learn(total)
    assert model.num_timesteps == trainer.steps == total
    expected = {key: value.numpy() for key, value in model.policy.state_dict().items()}
    assert same(trainer.policy.state()[0], expected)
    assert not same(policy.state()[0], expected)


@pytest.mark.parametrize("name", QUICK)
def test_a_policy_of_sb3_with_its_normaliser_acts_as_in_sb3(name: str) -> None:
    kind = name.removeprefix("sb3-")
    task = "CartPole-v1" if kind == "dqn" else "Pendulum-v1"
    around = stable_baselines3.common.vec_env.VecNormalize(DummyVecEnv([lambda: gymnasium.make(task)]), clip_obs=2.0)
    arch: Any = [24, 16] if kind == "dqn" else {"pi": [24, 16], "qf" if kind in ("sac", "td3") else "vf": [8]}
    make = getattr(stable_baselines3, kind.upper())
    model = make("MlpPolicy", around, policy_kwargs={"net_arch": arch, "activation_fn": torch.nn.ELU}, seed=3)
    around.reset()
    for _ in range(50):
        around.step(np.stack([around.action_space.sample()]))
    arrays = {key: value.numpy() for key, value in model.policy.state_dict().items()}
    arrays |= {"normalizer/mean": around.obs_rms.mean, "normalizer/var": around.obs_rms.var}
    arrays["normalizer/count"] = np.asarray([around.obs_rms.count])
    told = {"algorithm": kind, "policy": "MlpPolicy", "clip_obs": 2.0, "policy_kwargs": {"activation_fn": "elu"}}
    policy: Any = create_algorithm(name).load_policy(arrays, told, around.observation_space, around.action_space)
    raw = np.stack([around.observation_space.sample() for _ in range(40)]).astype(np.float32)
    raw = np.clip(raw, -5, 5)
    theirs, _ = model.predict(around.normalize_obs(raw), deterministic=True)
    ours = policy.act(raw, deterministic=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert len(np.unique(ours)) > 1
    np.testing.assert_array_equal(policy.copy().act(raw, deterministic=True), ours)
    assert policy.state()[1]["policy_kwargs"] == {
        "net_arch": arch,
        "activation_fn": "elu",
    }, "the architecture was read off the weights"


# -- determinism and resume ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK)
def test_the_process_own_generators_are_left_alone(name: str) -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), float(torch.rand(1))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    trainer = begin(name)
    trainer.update()
    trainer.state()
    trainer.policy.copy()
    assert (random.random(), np.random.rand(), float(torch.rand(1))) == expected


HARDER: dict[str, dict[str, Any]] = {
    "sb3-ppo": {"normalize_reward": True, "learning_rate": "lin_1e-3", "target_kl": 0.01},
    "sb3-a2c": {"normalize_reward": True, "normalize_advantage": True, "use_rms_prop": False},
    "sb3-sac": {"normalize_observations": True, "normalize_reward": True, "noise_std": 0.1, "ent_coef": "auto_0.1"},
    "sb3-td3": {"normalize_observations": True, "n_steps": 3, "buffer_size": 60},
    "sb3-dqn": {"exploration_fraction": 1.0, "buffer_size": 60, "train_freq": 2, "gradient_steps": -1},
}


@pytest.mark.parametrize("name", HARDER)
@pytest.mark.parametrize("advised", [False, True])
def test_resume_is_exact_with_every_moving_part(name: str, advised: bool) -> None:
    def start() -> Any:
        recorder = Recorder("mixture", CONTINUOUS[name]) if advised else None
        return begin(name, modulation=recorder, **HARDER[name])

    whole, first, second = start(), start(), start()
    for _ in range(4):
        told = whole.update()
    for _ in range(2):
        first.update()
    arrays, rest = first.state()
    second.load_state({key: np.array(value) for key, value in arrays.items()}, json.loads(json.dumps(rest)))
    for _ in range(2):
        again = second.update()
    assert same(whole.policy.state()[0], second.policy.state()[0])
    assert whole.policy.state()[1] == second.policy.state()[1]
    assert told == pytest.approx(again, nan_ok=True)


@pytest.mark.parametrize("name", ["sb3-ppo", "sb3-td3"])
def test_without_snapshots_a_resumed_training_starts_its_episodes_anew_and_goes_on(name: str) -> None:
    class Plain(World):
        can_snapshot = False

    def start() -> Any:
        algorithm, envs = quick(name, n_steps=3) if name == "sb3-td3" else quick(name), Plain(4, True)
        return algorithm.trainer(policy_for(algorithm, envs), envs, 2000, Streams(3), None, True)

    first, second = start(), start()
    first.update()
    arrays, rest = first.state()
    second.load_state(arrays, json.loads(json.dumps(rest)))
    assert second.steps == first.steps
    assert same(first.policy.state()[0], second.policy.state()[0])
    if name == "sb3-td3":
        last = second.model.replay_buffer.pos - 1
        assert second.model.replay_buffer.dones[last].all(), "no return runs on from an episode that was lost"
    before = first.policy.copy().state()[0]
    second.update(), first.update()
    assert second.steps == first.steps
    assert not same(before, second.policy.state()[0])
    assert same(first.policy.state()[0], second.policy.state()[0]), "both began the same episodes"
    assert first.exact_at_checkpoints_only


# -- refining --------------------------------------------------------------------------------------------------

ACTING = {
    "sb3-ppo": ("mlp_extractor.policy_net", "action_net", "log_std"),
    "sb3-a2c": ("mlp_extractor.policy_net", "action_net", "log_std"),
    "sb3-sac": ("actor.",),
    "sb3-td3": ("actor.",),
}


@pytest.mark.parametrize("name", ACTING)
def test_a_budget_below_the_warm_up_still_moves_the_actor(name: str) -> None:
    trainer = begin(name, total=240, fresh=False, value_warmup_steps=4096)
    before = trainer.policy.state()[0]
    while trainer.steps < 240:
        trainer.update()
    after = trainer.policy.state()[0]
    assert any(not np.array_equal(before[k], after[k]) for k in before if k.startswith(ACTING[name]))


@pytest.mark.parametrize("name", ACTING)
def test_refining_moves_the_critic_first_and_the_normaliser_never(name: str) -> None:
    trainer = begin(name, fresh=False, normalize_observations=True, value_warmup_steps=100)

    def split() -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        arrays = trainer.policy.state()[0]
        acting = {k: v for k, v in arrays.items() if k.startswith(ACTING[name])}
        frozen = {k: v for k, v in arrays.items() if k.startswith("normalizer/")}
        return acting, {k: v for k, v in arrays.items() if k not in acting and k not in frozen}, frozen

    before = split()
    coefficient = getattr(trainer.model, "log_ent_coef", None)
    initial = None if coefficient is None else float(coefficient.detach())
    trainer.update()
    warm = split()
    assert trainer.steps < 100 + 16
    assert same(before[0], warm[0])
    assert not same(before[1], warm[1])
    assert coefficient is None or float(coefficient.detach()) == initial
    while trainer.steps < 250:
        trainer.update()
    after = split()
    assert not same(before[0], after[0])
    assert len(after[2]) == 3
    assert same(before[2], after[2])


def test_refining_does_not_begin_with_random_actions() -> None:
    fresh, refined = (begin("sb3-dqn", fresh=fresh, learning_starts=100) for fresh in (True, False))
    assert fresh.update()["exploration_rate"] > 0.5
    assert refined.update()["exploration_rate"] == pytest.approx(0.05)
    asked = begin("sb3-dqn", fresh=False, exploration_initial_eps=1.0)
    assert asked.update()["exploration_rate"] > 0.5
    sac = begin("sb3-sac", fresh=False, learning_starts=40, noise_std=0.0, steps_per_update=40)
    sac.update()
    executed = np.concatenate(sac.envs.executed[:10])
    assert np.abs(executed).mean() < 0.9
    assert sac.model.replay_buffer.size() * 4 == 40


def test_what_rewards_and_entropy_were_scaled_by_goes_along() -> None:
    trainer = begin("sb3-sac", normalize_reward=True)
    for _ in range(3):
        trainer.update()
    arrays, told = trainer.policy.state()
    assert told["reward_scale"] != 1.0
    envs = World(4, True)
    loaded = quick("sb3-sac").load_policy(arrays, json.loads(json.dumps(told)), envs.single_observation_space,
                                          envs.single_action_space)  # fmt: skip
    again = quick("sb3-sac").trainer(loaded, envs, 1000, Streams(0), None, False)
    assert again.normalizer.norm_reward
    assert not again.normalizer.training
    assert np.sqrt(again.normalizer.ret_rms.var + 1e-8) == pytest.approx(told["reward_scale"])
    assert float(again.model.log_ent_coef.detach().exp()) == pytest.approx(told["ent_coef"])
    again.update()
    assert again.policy.reward_scale == pytest.approx(told["reward_scale"])


# -- learning --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "steps"),
    [
        ("sb3-ppo", {"n_steps": 64, "learning_rate": 3e-3}, 6000),
        ("sb3-a2c", {"learning_rate": 3e-3}, 6000),
        ("sb3-dqn", {"learning_rate": 2e-3, "target_update_interval": 200, "gradient_steps": 4}, 6000),
    ],
)
def test_it_learns_the_way_to_the_goal(name: str, options: dict[str, Any], steps: int) -> None:
    environment = create_environment("corridor", {"length": 7, "max_steps": 20})
    algorithm = create_algorithm(name, options)
    envs = make_simulators(environment, 8)
    policy = policy_for(algorithm, envs)
    trainer = algorithm.trainer(policy, envs, steps, Streams(1), None, fresh=True)
    while trainer.steps < steps:
        trainer.update()
    cells = np.linspace(-1, 1, 7, dtype=np.float32)[1:-1, None]
    assert trainer.policy.act(cells, deterministic=True).tolist() == [1] * 5
    assert trainer.policy.value(cells)[-1] > 0.5


@pytest.mark.parametrize("name", ["sb3-ppo", "sb3-sac", "sb3-td3"])
def test_it_learns_to_walk_right(name: str) -> None:
    options = {"sb3-ppo": {"n_steps": 64, "learning_rate": 3e-3}}.get(name, {"learning_rate": 3e-3, "batch_size": 64})
    algorithm, envs = create_algorithm(name, options), World(4, continuous=True)
    steps = 6000 if name == "sb3-ppo" else 1600
    trainer = algorithm.trainer(policy_for(algorithm, envs), envs, steps, Streams(1), None, fresh=True)
    while trainer.steps < steps:
        trainer.update()
    places = np.array([[x, 1.0] for x in (-0.5, 0.0, 0.5)], np.float32)
    assert trainer.policy.act(places, deterministic=True)[:2].mean() > 0.4, "a push to the right earns more"
