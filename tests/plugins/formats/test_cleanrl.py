"""State dictionaries of CleanRL's agents, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn
from ultra_agents_plugins.formats.cleanrl import CleanRL

from ultra_agents.contracts import Outgoing, Request, Weights
from ultra_agents.errors import PolicyError
from ultra_agents.registry import create_algorithm

FORMAT = CleanRL(CleanRL.Options())
SCREENS = gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)


def mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


class Discrete(nn.Module):
    """`ppo.py`."""

    def __init__(self) -> None:
        super().__init__()
        self.critic, self.actor = mlp(4, 1), mlp(4, 2)


class Continuous(nn.Module):
    """`ppo_continuous_action.py`."""

    def __init__(self) -> None:
        super().__init__()
        self.critic, self.actor_mean = mlp(3, 1), mlp(3, 1)
        self.actor_logstd = nn.Parameter(torch.full((1, 1), -0.7))


class Atari(nn.Module):
    """`ppo_atari.py`."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(),
        )  # fmt: skip
        self.actor, self.critic = nn.Linear(512, 6), nn.Linear(512, 1)


class QNetwork(nn.Module):
    """`dqn.py`."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 2))


def save(module: nn.Module, path: Path) -> Path:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    torch.save(module.state_dict(), path)
    return path


def load(request: Request) -> tuple[Any, Weights]:
    weights = FORMAT.read(request).fits[0]
    spaces = request.observation_space, request.action_space
    return create_algorithm(weights.algorithm).load_policy(weights.arrays, weights.description, *spaces), weights


def rows(width: int) -> Any:
    return (np.random.default_rng(1).normal(size=(200, width)) * 20).astype(np.float32)


def test_discrete(tmp_path: Path, request_for: Any) -> None:
    agent = Discrete()
    request = request_for(save(agent, tmp_path / "ppo.cleanrl_model"), "CartPole-v1")
    assert FORMAT.recognises(request.path)
    policy, weights = load(request)
    assert weights.algorithm == "ppo"
    with torch.no_grad():
        logits, values = agent.actor(torch.from_numpy(rows(4))), agent.critic(torch.from_numpy(rows(4)))
    assert 0 < logits.argmax(1).float().mean() < 1
    np.testing.assert_array_equal(policy.act(rows(4), deterministic=True), logits.argmax(1).numpy())
    np.testing.assert_allclose(policy.value(rows(4)), values[:, 0].numpy(), atol=1e-5)
    (out,) = FORMAT.write(out_of(tmp_path, policy, request))  # and no statistics, where it came with none
    twin = Discrete()
    twin.load_state_dict(torch.load(out, weights_only=True))
    assert torch.equal(twin.actor[0].weight, agent.actor[0].weight)
    again, _ = load(Request(out, request.observation_space, request.action_space))
    np.testing.assert_array_equal(again.act(rows(4), deterministic=True), logits.argmax(1).numpy())


def out_of(tmp_path: Path, policy: Any, request: Request) -> Outgoing:
    weights = Weights("ppo", *policy.state())
    return Outgoing(
        tmp_path / "out" / "o.cleanrl_model", weights, request.observation_space, request.action_space, "x"
    )


def test_continuous_with_statistics_of_its_own(tmp_path: Path, request_for: Any) -> None:
    agent = Continuous()
    path = save(agent, tmp_path / "ppo_continuous_action.cleanrl_model")
    bare = FORMAT.read(request_for(path, "Pendulum-v1"))
    assert "saves no statistics" in bare.notes[1]
    mean, var = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    np.savez(tmp_path / "normalizer.npz", mean=mean, var=var, count=7.0)
    request = request_for(path, "Pendulum-v1", normalizer=tmp_path / "normalizer.npz")
    policy, _ = load(request)
    inputs = np.clip((rows(3) - mean) / np.sqrt(var + 1e-8), -10, 10).astype(np.float32)
    with torch.no_grad():
        wanted = agent.actor_mean(torch.from_numpy(inputs)).numpy().clip(-2, 2)
    assert wanted.std() > 0
    np.testing.assert_allclose(policy.act(rows(3), deterministic=True), wanted, atol=1e-6)
    assert policy.state()[0]["log_std"] == pytest.approx(agent.actor_logstd.item())
    written = FORMAT.write(out_of(tmp_path, policy, request))
    assert [file.name for file in written] == ["o.cleanrl_model", "o_normalizer.npz"]
    again, _ = load(request_for(written[0], "Pendulum-v1", normalizer=written[1]))
    np.testing.assert_array_equal(again.act(rows(3), deterministic=True), policy.act(rows(3), deterministic=True))


def test_atari(tmp_path: Path) -> None:
    agent = Atari()
    request = Request(save(agent, tmp_path / "atari.pt"), SCREENS, gymnasium.spaces.Discrete(6))
    policy, _ = load(request)
    screens = np.random.default_rng(0).integers(0, 256, (10, 4, 84, 84), dtype=np.uint8)
    with torch.no_grad():
        hidden = agent.network(torch.from_numpy(screens).float() / 255)
        logits, values = agent.actor(hidden), agent.critic(hidden)
    np.testing.assert_array_equal(policy.act(screens, deterministic=True), logits.argmax(1).numpy())
    np.testing.assert_allclose(policy.value(screens), values[:, 0].numpy(), atol=1e-4)
    (out,) = FORMAT.write(out_of(tmp_path, policy, request))
    Atari().load_state_dict(torch.load(out, weights_only=True))


def test_q_networks(tmp_path: Path, request_for: Any) -> None:
    agent = QNetwork()
    policy, weights = load(request_for(save(agent, tmp_path / "dqn.cleanrl_model"), "CartPole-v1"))
    assert weights.algorithm == "sb3-dqn"
    with torch.no_grad():
        wanted = agent.network(torch.from_numpy(rows(4))).argmax(1).numpy()
    np.testing.assert_array_equal(policy.act(rows(4), deterministic=True), wanted)


def test_another_environment_or_layout_is_named(tmp_path: Path, request_for: Any) -> None:
    path = save(Discrete(), tmp_path / "ppo.cleanrl_model")
    for env_id in ("Pendulum-v1", "Acrobot-v1"):
        with pytest.raises(PolicyError, match="does not fit this environment") as caught:
            FORMAT.read(request_for(path, env_id))
        assert "(64, 4)" in str(caught.value)
    odd = save(nn.Linear(4, 2), tmp_path / "odd.pt")
    with pytest.raises(PolicyError, match="layers that are not known"):
        FORMAT.read(request_for(odd, "CartPole-v1"))


def test_only_ppo_goes_to_cleanrl(tmp_path: Path, request_for: Any) -> None:
    request = request_for(tmp_path / "x", "CartPole-v1")
    outgoing = Outgoing(tmp_path / "o", Weights("sac", {}, {}), request.observation_space, request.action_space, "x")
    with pytest.raises(PolicyError, match="no such policy"):
        FORMAT.write(outgoing)
