"""What a policy scores, and whether that is what somebody says it scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from ultra_agents.contracts import Environment, Policy, capabilities
from ultra_agents.errors import ConfigError, PolicyError
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.evaluation.statistics import mean_interval
from ultra_agents.records import Array, FloatArray, Returns
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams

NUM_ENVS = 16
ERRORS, SHARE = 3.0, 0.2
"""A score is far below an expected one when it is lower by more than three standard errors *and* by more than a fifth
of what the expected score has over random actions."""


@dataclass(frozen=True)
class Score:
    """Returns of unmodulated episodes, the policy acting in both of its ways.

    Attributes:
        sampled: Actions drawn from the policy, as everywhere else in this project.
        likeliest: The likeliest action at every step, as most tools report.
        seed: Of the episodes.
    """

    sampled: Returns
    likeliest: Returns
    seed: int

    @property
    def best(self) -> Returns:
        """The better of the two."""
        return max(self.likeliest, self.sampled, key=lambda returns: returns.mean)

    @property
    def steps(self) -> int:
        """Environment steps played for it."""
        return sum(self.sampled.lengths) + sum(self.likeliest.lengths)

    def record(self) -> dict[str, Any]:
        """As a policy file keeps it: the sampled actions' score, the likeliest ones' beside it."""
        other = {"mean": self.likeliest.mean, "stderr": stderr(self.likeliest)}
        own = {"mean": self.sampled.mean, "stderr": stderr(self.sampled)}
        return {**own, "episodes": len(self.sampled.values), "seed": self.seed, "deterministic": other}


def stderr(returns: Returns) -> float:
    """Standard error of the mean; 0 for a single episode."""
    n = len(returns.values)
    return float(np.std(returns.values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def in_words(returns: Returns) -> str:
    """`12.3 (95 % 10.1 to 14.4)`."""
    found = mean_interval(returns.values)
    if found.low is None or found.high is None:
        return f"{found.value:,.1f}"
    return f"{found.value:,.1f} (95 % {found.low:,.1f} to {found.high:,.1f})"


def score(
    policy: Policy, environment: Environment, episodes: int, seed: int, say: Callable[[str], None] | None = None
) -> Score:
    """Play `episodes` with drawn and as many with likeliest actions, on the same starts.

    Args:
        policy: Whose score.
        environment: Where it acts.
        episodes: How many, at least 1.
        seed: Of the episodes.
        say: Told what a person should know of them: that some never ended, or observations outside their space.

    Raises:
        ConfigError: No episode is to be played.
    """
    if episodes < 1:
        raise ConfigError("a score needs episodes", found=episodes, expected="at least 1", hint="--episodes 20")
    streams = Streams(seed).child("score")
    seeds = streams.integers(episodes, "reset")
    with make_simulators(environment, min(episodes, NUM_ENVS), on_note=say) as simulators:
        sampled, likeliest = (
            evaluate_returns(policy, environment, simulators, seeds, streams, deterministic=way, on_note=say)
            for way in (False, True)
        )
    return Score(sampled, likeliest, seed)


def score_actions(act: Callable[[Array], Array], environment: Environment, episodes: int, seed: int) -> Returns:
    """What a bare function from observations to actions scores, on the starts `score` uses."""
    streams = Streams(seed).child("score")
    seeds = streams.integers(episodes, "reset")
    with make_simulators(environment, min(episodes, NUM_ENVS)) as simulators:
        return evaluate_returns(ActingPolicy(act), environment, simulators, seeds, streams, deterministic=True)


def random_score(environment: Environment, episodes: int, seed: int) -> float:
    """What uniformly random actions score: the plugin's own figure, or measured."""
    if "reference_returns" in capabilities(environment):
        return environment.reference_returns.random
    streams = Streams(seed).child("random")
    with make_simulators(environment, min(episodes, NUM_ENVS)) as simulators:
        seeds = streams.integers(episodes, "reset")
        return evaluate_returns(UniformPolicy(environment), environment, simulators, seeds, streams).mean


def refuse_drop(
    found: Score, expected: float, said_by: str, whose: str, random: Callable[[], float], hint: str
) -> None:
    """Raise `PolicyError` if a policy scores far below what is said of it.

    Args:
        found: Its score here; the better of its two ways of acting counts.
        expected: What is said of it.
        said_by: Who says so, for the message ("--expect", "its own record").
        whose: The file, for the message.
        random: What random actions score; asked only when it matters.
        hint: What to do.
    """
    best = found.best
    missing = expected - best.mean
    if missing <= ERRORS * stderr(best):
        return
    floor = random()
    least = expected - max(ERRORS * stderr(best), SHARE * abs(expected - floor))
    if best.mean >= least:
        return
    raise PolicyError(
        f"{whose} scores far below what {said_by} says",
        found=f"{in_words(best)} over {len(best.values)} episodes; random actions score {floor:,.1f}",
        expected=f"{expected:,.1f}, or {least:,.1f} at the least",
        hint=hint,
    )


class ActingPolicy(Policy):
    """A function from observations to actions, dressed as a policy without draws, values or weights."""

    def __init__(self, act: Callable[[Array], Array]) -> None:
        self._act = act

    def act(self, observations: Array, rng: np.random.Generator | None = None, deterministic: bool = False) -> Array:
        """What the function says."""
        return self._act(observations)

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        """What the function says."""
        return self._act(observations)

    def value(self, observations: Array) -> FloatArray:
        """Zeros `(n,)`."""
        return np.zeros(len(observations))

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Nothing to keep."""
        return {}, {}


class UniformPolicy(Policy):
    """Uniformly random actions.

    Raises:
        ConfigError: The environment has other actions than `Discrete` or bounded `Box`.
    """

    def __init__(self, environment: Environment) -> None:
        self.space = environment.action_space
        bounded = isinstance(self.space, Box) and self.space.is_bounded()
        if not bounded and not isinstance(self.space, Discrete):
            raise ConfigError("random actions need Discrete or bounded Box actions", found=self.space)

    def act(self, observations: Array, rng: np.random.Generator | None = None, deterministic: bool = False) -> Array:
        """Random actions `(n, ...)`."""
        rng = np.random.default_rng() if rng is None else rng
        width = max(int(np.prod(self.space.shape or ())), 1)
        return self.act_with_uniforms(observations, rng.random((len(observations), width)))

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        """The action at the given quantiles of the uniform distribution."""
        n = len(observations)
        if isinstance(self.space, Discrete):
            return np.asarray(np.floor(uniforms[:, 0] * int(self.space.n)), dtype=np.int64) + int(self.space.start)
        assert isinstance(self.space, Box)
        low, high = self.space.low, self.space.high
        return np.asarray(low + uniforms.reshape(n, *self.space.shape) * (high - low), dtype=self.space.dtype)

    def value(self, observations: Array) -> FloatArray:
        """Zeros `(n,)`."""
        return np.zeros(len(observations))

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Nothing to keep."""
        return {}, {}
