"""The written-out gradient against automatic differentiation, the flat optimiser against torch's, and their choice."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from ultra_agents_plugins.algorithms._networks import PPOPolicy
from ultra_agents_plugins.algorithms.ppo import PPO
from ultra_agents_plugins.algorithms.ppo.autograd import LOSSES, AutogradLearner
from ultra_agents_plugins.algorithms.ppo.device import RemoteLearner, compiler, make_learner
from ultra_agents_plugins.algorithms.ppo.flat import FlatAdam
from ultra_agents_plugins.algorithms.ppo.mlp import MLPLearner

from ultra_agents.errors import PluginError

SPACES = {"discrete": Discrete(4), "continuous": Box(-1, 1, (3,), np.float32)}
SEEN, SCREEN = Box(-5, 5, (5,), np.float32), Box(0, 255, (36, 36, 3), np.uint8)
KINDS = pytest.mark.parametrize("kind", SPACES)
ROWS = 96


def policy_of(kind: str, hidden: tuple[int, ...] = (16, 8)) -> PPOPolicy:
    """With opinions: fresh actors answer the same everywhere."""
    policy = PPO(PPO.Options(hidden=hidden)).create_policy(SEEN, SPACES[kind], 1)
    generator = torch.Generator().manual_seed(0)
    for parameter in (*policy.actor_parameters(), *policy.critic.parameters()):
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return policy


def batch_of(policy: PPOPolicy, way: str) -> dict[str, torch.Tensor]:
    """A rollout with overridden steps, ratios in and out of the clipping range, and impossible actions."""
    rng = np.random.default_rng(2)
    obs = rng.normal(size=(ROWS, 5)).astype(np.float32)
    actions, suggested = (policy.sample(policy.actor_outputs(obs), rng.random((ROWS, 3))) for _ in range(2))
    logprobs = policy.log_prob(policy.actor_outputs(obs), actions)
    own = rng.random(ROWS) < 0.7
    behaviour = np.where(own, logprobs + rng.normal(0, 0.3, ROWS), logprobs + 1.0)
    behaviour[:3] -= 60.0
    columns: dict[str, Any] = {
        "logprobs": logprobs + rng.normal(0, 0.1, ROWS),
        "behaviour": behaviour,
        "advantages": rng.normal(1, 3, ROWS),
        "returns": rng.normal(0, 2, ROWS),
        "own": own,
        "part": own if way in ("mask", "imitate") else np.ones(ROWS),
    }
    if way == "imitate":
        columns["imitate"] = rng.random(ROWS) * ~own
    batch = {name: torch.from_numpy(np.asarray(column, np.float32)) for name, column in columns.items()}
    if way == "imitate":
        batch["suggested"] = torch.from_numpy(suggested)
    return {"obs": torch.from_numpy(obs), "actions": torch.from_numpy(actions), **batch}


def split(batch: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {name: column.numpy() for name, column in batch.items() if name != "obs"}


@KINDS
@pytest.mark.parametrize("way", ["policy", "mask", "imitate"])
@pytest.mark.parametrize("hidden", [(), (16,), (16, 8), (8, 8, 8)], ids=str)
def test_the_written_out_gradient_is_that_of_autograd(kind: str, way: str, hidden: tuple[int, ...]) -> None:
    policy, options = policy_of(kind, hidden), PPO.Options(imitate_coef=0.7, ent_coef=0.05)
    batch = batch_of(policy, way)
    automatic, written = AutogradLearner(policy.copy(), options), MLPLearner(policy.copy(), options)
    automatic.begin(batch, 1e-3, warmup=False)
    automatic.gradient(batch)
    with torch.no_grad():
        v_loss = written.critic_gradient(batch["obs"], batch["returns"].numpy())
        figures = written.actor_gradient(batch["obs"], split(batch))
    figures[LOSSES.index("v_loss")] = v_loss
    for one, other in ((automatic.actor, written.actor), (automatic.critic, written.critic)):
        largest = float(one.gradient.abs().max())
        assert largest > 1e-3
        np.testing.assert_allclose(other.gradient, one.gradient, rtol=1e-4, atol=1e-6 * max(1.0, largest))
    np.testing.assert_allclose(figures, automatic.finish()[0], rtol=1e-4, atol=1e-6)


@KINDS
@pytest.mark.parametrize("warmup", [False, True])
def test_updates_agree_with_autograd(kind: str, warmup: bool) -> None:
    policy, options = policy_of(kind), PPO.Options()
    batch = batch_of(policy, "imitate")
    found = []
    for learner in (AutogradLearner(policy.copy(), options), MLPLearner(policy.copy(), options)):
        rng = np.random.default_rng(0)
        for _ in range(3):
            learner.begin(batch, 3e-3, warmup)
            kls = [learner.epoch(rng.permutation(ROWS), 5) for _ in range(4)]
            rows = learner.finish()
            assert rows.shape == (20, len(LOSSES))
            np.testing.assert_allclose(kls, rows[:, LOSSES.index("approx_kl")].reshape(4, 5).mean(axis=1), atol=1e-6)
        found.append(({**learner.policy.state()[0]}, rows))
    (automatic, told), (written, rows) = found
    assert all(np.abs(written[name] - array).max() < 2e-4 for name, array in automatic.items())
    np.testing.assert_allclose(rows, told, rtol=2e-2, atol=2e-4)
    before = policy.state()[0]
    moved = {name.split(".")[0] for name, array in written.items() if not np.array_equal(array, before[name])}
    assert moved == ({"critic"} if warmup else {"actor", "critic"} | ({"log_std"} if kind == "continuous" else set()))


def test_flat_adam_clips_and_moves_as_torchs() -> None:
    policy, rng = policy_of("continuous"), np.random.default_rng(0)
    mine, theirs = copy.deepcopy(policy), copy.deepcopy(policy)
    flat = FlatAdam(mine.actor_parameters())
    adam = torch.optim.Adam(theirs.actor_parameters(), lr=1e-2, eps=1e-5)
    for step in range(30):
        for one, other in zip(mine.actor_parameters(), theirs.actor_parameters(), strict=True):
            drawn = torch.from_numpy(rng.normal(0, 10.0 ** (step % 5 - 3), one.shape).astype(np.float32))
            assert one.grad is not None
            one.grad.copy_(drawn)
            other.grad = drawn.clone()
        torch.nn.utils.clip_grad_norm_(theirs.actor_parameters(), 0.5)
        adam.step()
        flat.step(1e-2, 0.5)
    for one, other in zip(mine.actor_parameters(), theirs.actor_parameters(), strict=True):
        torch.testing.assert_close(one.data, other.data, rtol=1e-5, atol=1e-6)
    again = FlatAdam(copy.deepcopy(policy).actor_parameters())
    again.load_state(flat.state())
    assert all(np.array_equal(array, flat.state()[name]) for name, array in again.state().items())
    with pytest.raises(ValueError, match="numbers"):
        FlatAdam(policy_of("continuous", (4,)).actor_parameters()).load_state(flat.state())


def test_the_choice_of_the_learner() -> None:
    small, screens = policy_of("discrete"), PPO(PPO.Options()).create_policy(SCREEN, SPACES["discrete"], 0)
    assert isinstance(make_learner(small, PPO.Options()), MLPLearner)
    assert isinstance(make_learner(screens, PPO.Options(device="cpu")), AutogradLearner)
    assert type(make_learner(policy_of("discrete"), PPO.Options(precision="bfloat16"))) is AutogradLearner


def test_a_device_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PluginError, match="device asked for is not there") as caught:
        make_learner(policy_of("discrete"), PPO.Options(device="cuda"))
    assert "device=cpu" in str(caught.value.hint)
    assert isinstance(make_learner(policy_of("discrete"), PPO.Options(device="auto")), MLPLearner)


def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(PluginError, match="needs a C\\+\\+ compiler") as caught:
        compiler(torch.device("cpu"))
    assert "no-such-compiler" in str(caught.value.found)


@KINDS
def test_a_learner_on_another_device_hands_its_weights_back(kind: str) -> None:
    policy, options = policy_of(kind), PPO.Options()
    batch = batch_of(policy, "policy")
    here, there = policy.copy(), policy.copy()
    near = AutogradLearner(here, options)
    far = RemoteLearner(there, options, torch.device("cpu"))
    for learner in (near, far):
        learner.begin(batch, 1e-3, warmup=False)
        learner.epoch(np.arange(ROWS), 4)
        learner.finish()
    assert all(np.array_equal(there.state()[0][name], array) for name, array in here.state()[0].items())
    assert not np.array_equal(there.state()[0]["actor.0.weight"], policy.state()[0]["actor.0.weight"])


def test_bfloat16_learns_nearly_the_same() -> None:
    policy = policy_of("discrete")
    batch = batch_of(policy, "policy")
    rows = []
    for half in (False, True):
        learner = AutogradLearner(policy.copy(), PPO.Options(), bfloat16=half)
        learner.begin(batch, 1e-3, warmup=False)
        learner.epoch(np.arange(ROWS), 1)
        rows.append(learner.finish()[0])
    assert not np.array_equal(rows[0], rows[1])
    np.testing.assert_allclose(rows[1][:3], rows[0][:3], rtol=0.1, atol=0.05)
