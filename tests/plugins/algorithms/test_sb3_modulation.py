"""What Stable-Baselines3 stores and learns from when the engine overrides actions, from one step to a whole run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.vector.utils import batch_space

from ultra_agents.advice import AdviceTable
from ultra_agents.config import ModulationConfig, parse_config
from ultra_agents.modulation import ModulationEngine
from ultra_agents.pipeline import run_pipeline
from ultra_agents.records import Array
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.runs import RunFolder
from ultra_agents.seeding import Streams
from ultra_agents.testing._algorithm_world import BONUS, Recorder, World

LENGTH = 9
BETA = 0.2


class Spy:
    """The engine, and a record of what it was asked and what it said."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.learn = inner, inner.learn
        self.observations: list[Array] = []
        self.proposed: list[Array] = []
        self.modulated: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def act(self, observations: Array, actions: Array) -> Any:
        self.observations.append(np.array(observations))
        self.proposed.append(np.array(actions))
        self.modulated.append(self.inner.act(observations, actions))
        return self.modulated[-1]


def advice(learn: str = "mixture", probability: float = 0.5) -> Spy:
    """RIGHT for two steps, in every second cell of the corridor."""
    cells = np.linspace(-1, 1, LENGTH)[1:-1:2, None]
    m = len(cells)
    table = AdviceTable(
        features=cells, scale=np.ones(1), plans=np.ones((m, 2), np.int64), holds=np.full(m, 2), rewards=np.ones(m),
        taken_actions=np.zeros(m, np.int64), taken_rewards=np.full(m, -1.0), weights=np.ones(m), radius=0.01,
        match="nearest",
    )  # fmt: skip
    config = ModulationConfig(learn=learn, probability=probability, schedule="constant", beta=BETA)  # type: ignore[arg-type]
    features = create_environment("corridor", {"length": LENGTH}).features
    return Spy(ModulationEngine(table, features, "ra", config, np.random.default_rng(4)))


def corridor(algorithm: Any, spy: Any, total: int = 4000, fresh: bool = True) -> tuple[Any, list[Array], list[Array]]:
    """A trainer in the corridor, what its environments will execute, and what they will pay."""
    envs = make_simulators(create_environment("corridor", {"length": LENGTH, "max_steps": 20}), 4)
    executed: list[Array] = []
    paid: list[Array] = []
    step = envs.step

    def watched(actions: Any) -> Any:
        executed.append(np.array(actions))
        out = step(actions)
        paid.append(np.array(out[1]))
        return out

    envs.step = watched  # type: ignore[method-assign]
    policy = algorithm.create_policy(envs.single_observation_space, envs.single_action_space, 0)
    return algorithm.trainer(policy, envs, total, Streams(2), spy, fresh), executed, paid


def by_environment(rows: list[Array]) -> Array:
    """`T` rows of `(n,)` as SB3 flattens them: one environment after another."""
    return np.stack(rows).swapaxes(0, 1).reshape(-1)


def log_softmax(policy: Any, observations: Array) -> Array:
    with torch.no_grad():
        distribution = policy.module.get_distribution(torch.from_numpy(policy.normalize(observations)))
    return np.asarray(distribution.distribution.logits.double().numpy())


@pytest.mark.parametrize("learn", ["mixture", "policy"])
def test_ppo_stores_the_executed_actions_and_how_likely_they_were(learn: str) -> None:
    algorithm = create_algorithm("sb3-ppo", {"n_steps": 40, "batch_size": 40, "normalize_observations": False})
    spy = advice(learn)
    trainer, executed, paid = corridor(algorithm, spy)
    before = trainer.policy.copy()
    trainer.options = trainer.options.model_copy(update={"steps_per_update": 1})
    trainer.update()
    buffer = trainer.model.rollout_buffer
    assert len(executed) == 40
    overridden = np.stack(executed) != np.stack(spy.proposed)
    assert 5 < overridden.sum() < 120, "some are the engine's, some the policy's own"
    np.testing.assert_array_equal(buffer.actions[:, 0], by_environment(executed))

    own = [log_softmax(before, obs)[np.arange(4), did] for obs, did in zip(spy.observations, executed, strict=True)]
    chances = [row.probability for row in spy.modulated]
    right = [did == 1 for did in executed]
    mu = [(1 - p) * np.exp(lp) + p * hit for p, lp, hit in zip(chances, own, right, strict=True)]
    expected = np.log(by_environment(mu)) if learn == "mixture" else by_environment(own)
    np.testing.assert_allclose(buffer.log_probs[:, 0], expected, atol=1e-5)
    assert {0.0, 0.5, 1.0} == set(np.concatenate(chances)), "no advice, advice, advice being held"

    going_on = np.concatenate([buffer.episode_starts[1:] == 0, np.zeros((1, 4), bool)])
    bonus = buffer.rewards - np.stack(paid)
    judged = np.stack([row.matched & (row.probability < 1) for row in spy.modulated])
    expected = np.where(judged, np.where(np.stack(executed) == 1, BETA, -BETA), 0.0)
    np.testing.assert_allclose(bonus[going_on], expected[going_on], atol=1e-6)
    assert (expected[going_on] != 0).mean() > 0.2


def test_the_return_told_is_the_environments_own() -> None:
    spy = advice(probability=0.8)
    trainer, _, paid = corridor(create_algorithm("sb3-a2c", {"steps_per_update": 400}), spy)
    told = trainer.update()
    assert told["episodes"] > 0
    assert -0.2 <= told["return_mean"] <= 1.0
    assert told["modulation/override_rate"] > 0.05
    ends = sum(int((np.abs(row + 0.01) > 0.05).sum()) for row in paid)
    assert told["episodes"] >= ends > 0


def test_a2c_weighs_each_step_by_the_odds_of_policy_and_behaviour() -> None:
    spy = advice("mixture")
    algorithm = create_algorithm("sb3-a2c", {"n_steps": 20, "steps_per_update": 1, "normalize_observations": False})
    trainer, executed, _ = corridor(algorithm, spy)
    before = trainer.policy.copy()
    trainer.update()
    buffer = trainer.model.rollout_buffer
    own = [log_softmax(before, obs)[np.arange(4), did] for obs, did in zip(spy.observations, executed, strict=True)]
    mu = [
        (1 - row.probability) * np.exp(lp) + row.probability * (did == 1)
        for row, lp, did in zip(spy.modulated, own, executed, strict=True)
    ]
    weights = np.exp(by_environment(own)) / by_environment(mu)
    assert weights.min() < 0.8
    assert weights.max() <= 2.001
    np.testing.assert_allclose(buffer.advantages[:, 0], (buffer.returns - buffer.values)[:, 0] * weights, atol=1e-4)


@pytest.mark.parametrize("name", ["sb3-dqn", "sb3-sac", "sb3-td3"])
def test_off_policy_the_executed_action_is_stored_for_replay(name: str) -> None:
    continuous = name != "sb3-dqn"
    algorithm = create_algorithm(name, {"learning_starts": 40, "batch_size": 8, "steps_per_update": 80})
    world, recorder = World(4, continuous), Recorder("mixture", continuous)
    world.single_action_space = Box(-2, 2, (1,), np.float32) if continuous else world.single_action_space
    world.action_space = batch_space(world.single_action_space, 4)
    policy = algorithm.create_policy(world.single_observation_space, world.single_action_space, 0)
    trainer = algorithm.trainer(policy, world, 400, Streams(2), recorder, fresh=True)
    trainer.update()
    buffer = trainer.model.replay_buffer
    executed, size = np.stack(world.executed), buffer.size()
    assert size == len(executed) == 20
    scale = 0.5 if continuous else 1
    np.testing.assert_allclose(buffer.actions[:size].reshape(executed.shape), scale * executed, atol=1e-6)
    suggested = 0.5 if continuous else 2
    assert 5 < (executed == suggested).sum() < 75
    assert (buffer.rewards[:size] > BONUS / 2).all()
    timeouts, dones = buffer.timeouts[:size], buffer.dones[:size]
    assert timeouts.sum() > 0
    assert (dones[timeouts == 1] == 1).all()
    assert np.abs(buffer.next_observations[:size][timeouts == 1][..., 1]).max() < 0.01, "the last one: no time left"


@pytest.mark.parametrize(("target", "passes"), [(1e-9, 1), (100.0, 6)])
def test_the_kl_guard_measures_the_policys_own_movement(target: float, passes: int) -> None:
    options = {"n_steps": 40, "batch_size": 40, "n_epochs": 6, "learning_rate": 3e-3, "steps_per_update": 1}
    trainer, _, _ = corridor(create_algorithm("sb3-ppo", {**options, "target_kl": target}), advice(probability=0.9))
    told = trainer.update()
    assert told["n_updates"] == passes
    assert 0 < told["approx_kl"] < 0.2, "not the distance to the behaviour policy, which is far larger"
    plain, _, _ = corridor(create_algorithm("sb3-ppo", options), advice(probability=0.9))
    assert plain.update()["approx_kl"] > told["approx_kl"]


@pytest.mark.parametrize("name", ["sb3-ppo", "sb3-a2c"])
def test_advice_frees_a_policy_that_is_stuck_at_the_lure(name: str) -> None:
    steps, options = {
        "sb3-ppo": (4096, {"n_steps": 32, "n_epochs": 5, "learning_rate": 3e-3, "value_warmup_steps": 512}),
        "sb3-a2c": (6000, {"learning_rate": 3e-3, "value_warmup_steps": 512}),
    }[name]
    environment = create_environment("corridor", {"length": 15, "max_steps": 40, "lure": 0.5})
    cells = np.linspace(-1, 1, 15)[1:-1, None]
    m = len(cells)
    table = AdviceTable(
        features=cells, scale=np.ones(1), plans=np.ones((m, 2), np.int64), holds=np.full(m, 2), rewards=np.ones(m),
        taken_actions=np.zeros(m, np.int64), taken_rewards=np.full(m, -1.0), weights=np.ones(m), radius=0.01,
        match="nearest",
    )  # fmt: skip
    config = ModulationConfig(probability=0.5)

    def final(modulation: Any) -> float:
        algorithm, envs = create_algorithm(name, options), make_simulators(environment, 8)
        spaces = envs.single_observation_space, envs.single_action_space
        arrays, told = algorithm.create_policy(*spaces, 0).state()
        arrays["action_net.bias"] = np.array([3.0, 0.0], np.float32)  # left, nearly always
        stuck = algorithm.load_policy(arrays, told, *spaces)
        assert stuck.act(cells.astype(np.float32), deterministic=True).max() == 0
        trainer = algorithm.trainer(stuck, envs, steps, Streams(1), modulation, False)
        while trainer.steps < steps:
            trainer.update()
        ahead = cells[m // 2 :].astype(np.float32)
        return float(trainer.policy.act(ahead, deterministic=True).mean())

    advised = final(ModulationEngine(table, environment.features, "ra", config, np.random.default_rng(4)))
    alone = final(None)
    assert (advised, alone) == (1.0, 0.0)


def test_pictures_go_through_sb3s_cnn_and_the_engine_sees_them_as_they_are() -> None:
    class Pictures(World):
        """The place as a bright column; channels last."""

        def __init__(self) -> None:
            super().__init__(2, False)
            self.single_observation_space = Box(0, 255, (40, 36, 3), np.uint8)
            self.observation_space = batch_space(self.single_observation_space, 2)

        def _observe(self) -> Array:
            out = np.zeros((2, 40, 36, 3), np.uint8)
            for i, place in enumerate(self._place):
                out[i, :, int((np.clip(place, -1, 1) + 1) / 2 * 35), :] = 200
            return out

    class Seen(Recorder):
        shapes: set[Any] = set()  # noqa: RUF012

        def act(self, observations: Array, actions: Array) -> Any:
            self.shapes.add((observations.shape, observations.dtype))
            return super().act(observations, actions)

    world, seen = Pictures(), Seen("mixture", False)
    algorithm = create_algorithm("sb3-ppo", {"policy": "CnnPolicy", "n_steps": 4, "batch_size": 8, "n_epochs": 1})
    policy: Any = algorithm.create_policy(world.single_observation_space, world.single_action_space, 0)
    assert policy.rms is None, "pictures are not normalised"
    trainer = algorithm.trainer(policy, world, 64, Streams(0), seen, fresh=True)
    trainer.update()
    assert seen.shapes == {((2, 40, 36, 3), np.dtype(np.uint8))}
    observations = world._observe()
    arrays, told = trainer.policy.state()
    twin = algorithm.load_policy(arrays, json.loads(json.dumps(told)), world.single_observation_space,
                                 world.single_action_space)  # fmt: skip
    np.testing.assert_array_equal(twin.value(observations), trainer.policy.value(observations))
    assert not np.array_equal(trainer.policy.value(observations), policy.value(observations))


def test_a_whole_run_refines_with_sb3(tmp_path: Path) -> None:
    """With steps enough that the optimum is reached whatever kernels this processor multiplies with."""
    script = "ultra_agents.testing.corridor_script:good"
    options = {"n_steps": 64, "learning_rate": 3e-3, "value_warmup_steps": 512}
    settings = {
        "name": "sb3",
        "seed": 2,
        "environment": {"name": "corridor", "options": {"length": 15, "max_steps": 40, "lure": 0.5}},
        "policy": {"train_steps": 1_000},
        "llms": {"default": {"provider": "scripted", "options": {"callable": script}}},
        "collect": {"episodes": 4},
        "advice": {"hit_rate": 0.5, "hit_per_entry": 0.1},
        "modulation": {"probability": 0.5, "beta": 0.02},
        "verification": {"mode": "none", "max_pairs": 8},
        "refine": {
            "algorithm": {"name": "sb3-ppo", "options": options},
            "steps": 12_000, "num_envs": 8, "workers": 0, "evaluate_every": 3_000, "curve_episodes": 4,
        },
        "evaluate": {"episodes": 8},
    }  # fmt: skip
    folder = RunFolder.create(tmp_path / "runs", parse_config(settings, "test"))
    run_pipeline(folder, folder.config, lambda event: None, lambda: False)
    report = json.loads(folder.report_json.read_text())
    ours = report["methods"]["ultra-ra"]
    assert ours["returns_before"]["mean"] < 0.5
    assert ours["returns_after"]["mean"] == pytest.approx(1.0 - 7 * 0.01), "the optimum"
    assert abs(ours["env_steps"]["total"] - 12_000) <= 8
    assert report["advice"]["accepted"] > 0
