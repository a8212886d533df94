"""PPO in the structure of CleanRL's single files, written from the algorithm's description for comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical, Normal

GAMMA, LAMBDA, CLIP, VF_COEF, MAX_NORM = 0.99, 0.95, 0.2, 0.5, 0.5


def layer(module: Any, gain: float = 2**0.5) -> Any:
    """Orthogonal weights, no bias."""
    nn.init.orthogonal_(module.weight, gain)
    nn.init.zeros_(module.bias)
    return module


class Agent(nn.Module):
    """Two tanh networks, or two heads on one convolutional trunk."""

    def __init__(self, sims: Any, pixels: bool) -> None:
        super().__init__()
        shape, space = sims.single_observation_space.shape, sims.single_action_space
        self.discrete, self.channels_last = not space.shape, pixels and shape[-1] < shape[0]
        outputs = int(space.n) if self.discrete else int(np.prod(space.shape))
        self.trunk: nn.Module = nn.Flatten()
        if pixels:
            channels = shape[-1] if self.channels_last else shape[0]
            self.trunk = nn.Sequential(
                layer(nn.Conv2d(channels, 32, 8, 4)), nn.ReLU(), layer(nn.Conv2d(32, 64, 4, 2)), nn.ReLU(),
                layer(nn.Conv2d(64, 64, 3, 1)), nn.ReLU(), nn.Flatten(), layer(nn.Linear(3136, 512)), nn.ReLU(),
            )  # fmt: skip
            self.actor, self.critic = layer(nn.Linear(512, outputs), 0.01), layer(nn.Linear(512, 1), 1.0)
        else:
            self.actor, self.critic = self.network(shape[0], outputs, 0.01), self.network(shape[0], 1, 1.0)
        self.log_std = None if self.discrete else nn.Parameter(torch.zeros(1, outputs))

    @staticmethod
    def network(inputs: int, outputs: int, gain: float) -> nn.Sequential:
        """64-64 tanh."""
        return nn.Sequential(
            layer(nn.Linear(inputs, 64)), nn.Tanh(), layer(nn.Linear(64, 64)), nn.Tanh(),
            layer(nn.Linear(64, outputs), gain),
        )  # fmt: skip

    def features(self, obs: torch.Tensor) -> torch.Tensor:
        """What the heads take."""
        if self.channels_last:
            obs = obs.permute(0, 3, 1, 2)
        return self.trunk(obs / 255.0 if obs.dim() == 4 else obs)  # type: ignore[no-any-return]

    def get_action_and_value(self, obs: torch.Tensor, action: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """Action, its log-probability, entropy, value."""
        features = self.features(obs)
        outputs, value = self.actor(features), self.critic(features)
        if self.log_std is None:
            choice = Categorical(logits=outputs)
            action = choice.sample() if action is None else action
            return action, choice.log_prob(action), choice.entropy(), value
        normal = Normal(outputs, self.log_std.expand_as(outputs).exp())
        action = normal.sample() if action is None else action
        return action, normal.log_prob(action).sum(1), normal.entropy().sum(1), value


def make(s: Any, sims: Any, seed: int, pixels: bool) -> Callable[[], int]:
    """What makes one update."""
    torch.manual_seed(seed)
    agent = Agent(sims, pixels)
    optimizer = torch.optim.Adam(agent.parameters(), lr=s.learning_rate, eps=1e-5)
    space, steps, n = sims.single_action_space, s.num_steps, s.num_envs
    obs = torch.zeros((steps, n, *sims.single_observation_space.shape))
    actions = torch.zeros((steps, n, *space.shape))
    logprobs, rewards, dones, values = (torch.zeros((steps, n)) for _ in range(4))
    now = {"obs": torch.Tensor(sims.reset(seed=list(range(n)))[0]), "done": torch.zeros(n)}

    def update() -> int:
        for step in range(steps):
            obs[step], dones[step] = now["obs"], now["done"]
            with torch.no_grad():
                action, logprob, _, value = agent.get_action_and_value(now["obs"])
                values[step] = value.flatten()
            actions[step], logprobs[step] = action, logprob
            executed = action.numpy() if agent.discrete else np.clip(action.numpy(), space.low, space.high)
            next_obs, reward, terminated, truncated, _ = sims.step(executed)
            rewards[step] = torch.tensor(reward).view(-1)
            now["obs"], now["done"] = torch.Tensor(next_obs), torch.Tensor(terminated | truncated)
        with torch.no_grad():
            next_value = agent.critic(agent.features(now["obs"])).reshape(1, -1)
            advantages, last = torch.zeros_like(rewards), torch.zeros(n)
            for t in reversed(range(steps)):
                following = now["done"] if t == steps - 1 else dones[t + 1]
                after = next_value if t == steps - 1 else values[t + 1]
                delta = rewards[t] + GAMMA * after * (1.0 - following) - values[t]
                advantages[t] = last = (delta + GAMMA * LAMBDA * (1.0 - following) * last).flatten()
            returns = advantages + values
        b_obs, b_logprobs = obs.reshape((-1, *obs.shape[2:])), logprobs.reshape(-1)
        b_actions = actions.reshape((-1, *space.shape))
        b_advantages, b_returns, b_values = advantages.reshape(-1), returns.reshape(-1), values.reshape(-1)
        size = s.rollout // s.minibatches
        for _ in range(s.epochs):
            order = np.random.permutation(s.rollout)
            for start in range(0, s.rollout, size):
                mb = order[start : start + size]
                wanted = b_actions.long()[mb] if agent.discrete else b_actions[mb]
                _, newlogprob, entropy, newvalue = agent.get_action_and_value(b_obs[mb], wanted)
                ratio = (newlogprob - b_logprobs[mb]).exp()
                mb_advantages = b_advantages[mb]
                mb_advantages = (mb_advantages - mb_advantages.mean()) / (mb_advantages.std() + 1e-8)
                pg_loss = torch.max(-mb_advantages * ratio, -mb_advantages * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
                newvalue = newvalue.view(-1)
                clipped = b_values[mb] + (newvalue - b_values[mb]).clamp(-CLIP, CLIP)
                v_loss = 0.5 * torch.max((newvalue - b_returns[mb]) ** 2, (clipped - b_returns[mb]) ** 2).mean()
                loss = pg_loss - s.ent_coef * entropy.mean() + VF_COEF * v_loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), MAX_NORM)
                optimizer.step()
        return int(s.rollout)

    return update
