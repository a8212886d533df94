"""Soft actor-critic: densities, targets, what the buffer holds, exact resume, refining, imitation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from ultra_agents_plugins.algorithms.ppo import PPO, PPOOptions
from ultra_agents_plugins.algorithms.sac import SAC, SACOptions, SACTrainer
from ultra_agents_plugins.algorithms.sac.buffer import ReplayBuffer

from ultra_agents.contracts import Algorithm
from ultra_agents.errors import PluginError, PolicyError
from ultra_agents.records import Array
from ultra_agents.registry import create_algorithm
from ultra_agents.seeding import Streams
from ultra_agents.testing._algorithm_world import BONUS, Recorder, World
from ultra_agents.testing.algorithm_kit import check_algorithm

QUICK: dict[str, Any] = {
    "hidden": (32, 32), "num_steps": 8, "learning_starts": 16, "batch_size": 32, "value_warmup_steps": 16,
    "clone_steps": 400,
}  # fmt: skip


def trainer(recorder: Recorder | None = None, fresh: bool = True, envs: int = 4, **options: Any) -> SACTrainer:
    algorithm, world = SAC(SACOptions(**(QUICK | options))), World(envs, True)
    policy = algorithm.create_policy(world.single_observation_space, world.single_action_space, 0)
    return algorithm.trainer(policy, world, 100_000, Streams(0), recorder, fresh)


def test_it_keeps_the_contract() -> None:
    report = check_algorithm(SAC(SACOptions(**QUICK)))
    assert report.ok, str(report)
    skipped = [row.check for row in report.rows if row.status == "skipped"]
    assert skipped
    assert all(check.endswith("[discrete]") for check in skipped)


def test_it_is_registered() -> None:
    assert isinstance(create_algorithm("sac", {"tau": 0.01}), Algorithm)


def test_the_density_is_that_of_the_squashed_gaussian() -> None:
    world = World(1, True)
    policy = SAC(SACOptions()).create_policy(world.single_observation_space, Box(-2.0, 4.0, (1,), np.float32), 3)
    obs = torch.tensor([[0.3, 0.5]]).expand(20_001, 2)
    grid = torch.linspace(-8, 8, 20_001)[:, None]
    with torch.no_grad():
        actions, logprobs = policy.sampled(obs, grid)
        mean, raw = policy.actor(obs[:1]).chunk(2, dim=1)
        u = mean + raw.clamp(*policy.log_std).exp() * grid
        squashed = torch.distributions.TransformedDistribution(
            torch.distributions.Normal(mean, raw.clamp(*policy.log_std).exp()),
            [torch.distributions.TanhTransform(cache_size=1)],
        )
        inside = u.abs().squeeze(1) < 4  # beyond, torch's own inverse loses precision
        expected = squashed.log_prob(torch.tanh(u)).squeeze(1)
    assert torch.allclose(logprobs[inside], expected[inside], atol=1e-3)
    mass = torch.trapezoid(logprobs.double().exp(), actions.squeeze(1).double())
    assert float(mass) == pytest.approx(1.0, abs=1e-3)
    stretched = policy.stretched(np.array([[-1.0], [0.0], [1.0]], np.float32))
    assert stretched.ravel().tolist() == [-2.0, 1.0, 4.0]
    assert policy.unit(stretched).ravel().tolist() == [-1.0, 0.0, 1.0]


def test_acting_and_learning_see_the_same_distribution() -> None:
    policy, rng = trainer().policy, np.random.default_rng(0)
    obs, normals = rng.uniform(-1, 1, (19, 2)).astype(np.float32), rng.standard_normal((19, 1))
    with torch.no_grad():
        learnt, _ = policy.sampled(torch.from_numpy(obs), torch.from_numpy(normals.astype(np.float32)))
    assert np.allclose(policy.sample(obs, normals), learnt.numpy(), atol=1e-6)


def test_targets_bootstrap_unless_the_episode_terminated() -> None:
    one = trainer(gamma=0.9)
    obs, noise = torch.tensor([[0.1, 0.5], [0.1, 0.5]]), torch.zeros(2, 1)
    y = one.targets(obs, torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.0]), torch.tensor(0.5), noise)
    with torch.no_grad():
        actions, logprobs = one.policy.sampled(obs, noise)
        q = torch.minimum(*(critic(torch.cat([obs, actions], 1)).squeeze(1) for critic in one._targets))
    assert float(y[1]) == 1.0
    assert float(y[0]) == pytest.approx(float(1 + 0.9 * (q[0] - 0.5 * logprobs[0])), abs=1e-6)


def test_the_buffer_holds_what_was_executed_and_the_last_observations() -> None:
    recorder = Recorder("mixture", True)
    one = trainer(recorder, fresh=False, num_steps=10, learning_starts=1000)
    one.update()
    buffer, world = one.buffer, one.envs
    assert buffer.size == 40
    executed = np.concatenate(world.executed)  # type: ignore[attr-defined]
    assert np.array_equal(buffer.actions[:40], executed)
    assert (buffer.actions[:40] == 0.5).mean() > 0.1, "suggestions were followed"
    assert (buffer.rewards[:40] > BONUS / 2).all(), "the modulation's reward is learnt from"
    late = buffer.next_obs[:40, 1] == 0.0  # out of time: truncated, before the reset
    assert late.any()
    assert not buffer.terminated[:40][late].any()
    beyond = np.abs(buffer.next_obs[:40, 0]) > 1
    assert np.array_equal(buffer.terminated[:40] == 1, beyond)
    assert np.array_equal(buffer.obs[4:8][~(late | beyond)[:4]], buffer.next_obs[:4][~(late | beyond)[:4]])


def test_the_ring_forgets_the_oldest_and_resumes_in_place() -> None:
    buffer, twin = (ReplayBuffer(5, 1, 1, False, False) for _ in range(2))
    for first in (0, 2, 4):
        rows = np.arange(first, first + 2.0)[:, None]
        buffer.add(rows, rows + 1, rows, rows[:, 0], np.zeros(2))
    assert buffer.rewards.tolist() == [5, 1, 2, 3, 4]
    twin.load(buffer.state())
    for ring in (buffer, twin):
        ring.add(np.array([[6.0]]), np.array([[7.0]]), np.array([[0.0]]), np.array([6.0]), np.zeros(1))
    assert twin.rewards.tolist() == buffer.rewards.tolist() == [5, 6, 2, 3, 4]


def test_refining_acts_by_the_policy_and_moves_only_the_critics_first() -> None:
    one = trainer(fresh=False, num_steps=4, learning_starts=0, value_warmup_steps=32)
    before = one.policy.state()[0]
    one.update()
    one.update()
    after = one.policy.state()[0]
    assert one.gradient_steps == 32
    moved = {name.split(".")[0] for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {"critics"}
    metrics = one.update()
    later = one.policy.state()[0]
    assert math.isfinite(metrics["actor_loss"])
    assert not np.array_equal(after["actor.0.weight"], later["actor.0.weight"])
    assert later["log_alpha"] != after["log_alpha"]
    assert np.array_equal(before["normalizer.count"], later["normalizer.count"])


def test_a_fresh_policy_explores_uniformly_until_it_learns() -> None:
    executed = {}
    for fresh in (True, False):
        one = trainer(fresh=fresh, envs=64, num_steps=4, learning_starts=256)
        one.policy.actor[-1].bias.data[:] = torch.tensor([0.0, -5.0])  # all but certain of 0
        one.policy.actor[-1].weight.data.zero_()
        one.update()
        executed[fresh] = np.concatenate(one.envs.executed)  # type: ignore[attr-defined]
    assert np.abs(executed[True]).mean() == pytest.approx(0.5, abs=0.08)
    assert np.abs(executed[False]).mean() < 0.05


def test_statistics_of_observations_are_kept_only_when_asked_and_fresh() -> None:
    asked: dict[str, Any] = {"normalize": True}
    nothing: dict[str, Any] = {}
    for fresh, options, kept in ((True, asked, True), (True, nothing, False), (False, asked, False)):
        one = trainer(fresh=fresh, **options)
        one.update()
        assert (one.policy.count > 0) is kept


def test_resume_is_exact_with_the_buffer_and_imitation() -> None:
    def start() -> SACTrainer:
        return trainer(Recorder("imitate", True), fresh=False, value_warmup_steps=4)

    whole, first, second = start(), start(), start()
    for one in (whole, whole, whole, first):
        one.update()
    second.load_state(*first.state())
    assert second.state()[0].keys() == first.state()[0].keys()
    second.update()
    metrics = second.update()
    assert metrics["imitate_loss"] > 0
    theirs = second.state()[0]
    for name, array in whole.state()[0].items():
        assert np.array_equal(array, theirs[name]), name


def test_sac_learns_to_walk_right() -> None:
    one = trainer(learning_rate=3e-3, gamma=0.9, envs=8, num_steps=25, replay_ratio=0.5, init_alpha=0.1)
    start = np.array([[-0.5, 1.0], [0.0, 1.0], [0.4, 0.7]], np.float32)
    for _ in range(4):
        metrics = one.update()
    assert all(np.isfinite(metrics[name]) for name in ("q_loss", "actor_loss", "entropy", "alpha"))
    assert metrics["gradient_steps"] == pytest.approx((800 - 16) * 0.5)
    assert (one.policy.act(start[:1], deterministic=True) > 0.5).all()


def test_spaces_it_cannot_use_are_refused() -> None:
    observations = Box(-1, 1, (2,), np.float32)
    for space in (Discrete(3), Box(-np.inf, np.inf, (2,), np.float32), Box(-1, 1, (2, 2), np.float32)):
        with pytest.raises(PluginError, match="sac takes one-dimensional Box actions"):
            SAC(SACOptions()).create_policy(observations, space, 0)
    policy = PPO(PPOOptions()).create_policy(observations, Box(-1, 1, (1,), np.float32), 0)
    with pytest.raises(PluginError, match="its own policies only"):
        SAC(SACOptions()).trainer(policy, World(1, True), 100, Streams(0))


@pytest.mark.parametrize("damage", ["missing", "shape", "nan"])
def test_damaged_policies_are_refused(damage: str) -> None:
    one = trainer()
    arrays, description = one.policy.state()
    spoilt: dict[str, Array] = dict(arrays)
    if damage == "missing":
        del spoilt["log_alpha"]
    elif damage == "shape":
        spoilt["actor.0.bias"] = np.zeros(5, np.float32)
    else:
        spoilt["critics.1.0.bias"] = np.full_like(arrays["critics.1.0.bias"], np.nan)
    with pytest.raises(PolicyError):
        SAC(SACOptions()).load_policy(
            spoilt, description, one.envs.single_observation_space, one.envs.single_action_space
        )
