"""The mask network: in which states does it matter what the policy does (StateMask, NeurIPS 2023; RICE, section 3.3).

A second policy with two actions looks at every state: 0 keeps what the (frozen) target policy does there, 1 puts a
uniformly random action in its place. Trained to keep the return up while randomising as often as it can, it keeps only
where it has to, so that P(keep) ranks states by importance; the critical state of an episode is where it is largest.

Two objectives:

- *bonus* (RICE, eq. 3): maximise the return of the masked policy with R' = R + alpha a_m.
- *gap* (StateMask): randomise as often as possible while |eta(masked) - eta(target)| stays small. Done as
  max E[sum of alpha a_m + R] subject to eta(masked) <= eta(target), by its Lagrangian: the mask is trained on
  (1 - lambda) R + alpha a_m, and after every update lambda moves by dual_rate x (return of the masked episodes that
  ended - eta(target)) / spread, within [0, 2]. Too low a return pushes lambda to 0, where this is RICE's objective;
  too high a one (randomising helps a poor policy) pushes it over 1, where return is given up for it.

Differs from the papers:
  - Whatever algorithm plugin `mask.algorithm` names trains it, with its own entropy bonus, normaliser and networks;
    nothing here depends on which. P(keep) is read off `Policy.act_with_uniforms`, which draws by inverse CDF, so keep
    is what it answers to every uniform up to P(keep).
  - StateMask's constraint and its dual ascent are as described above, from third-party accounts of the paper; its
    surrogate objective and trust region are not repeated, since the trainer brings its own. eta(target) is the mean
    undiscounted return of the episodes that are explained, their spread its standard deviation (at least a tenth
    of its size); lambda's bounds and step are ours.
  - A random action is uniform over a discrete space or the bounds of a box.
  - Interrupted training of the mask begins anew and comes out the same; the finished network is kept in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from pydantic import Field

from ultra_agents.contracts import Algorithm, Environment, Options, Policy, Setting, Simulators, Terms
from ultra_agents.contracts.environment import random_actions, uniforms_per_action
from ultra_agents.contracts.vector import before_reset
from ultra_agents.errors import PluginError
from ultra_agents.records import Array, FloatArray, Trajectory

from ._moments import Moments

CHOICES = Discrete(2)
KEEP, RANDOMISE = 0, 1
LIMIT = 20.0
"""Log-odds of P(keep) are found within +-LIMIT."""
SMALL, ROWS = 1024, 256
"""Numbers of an observation up to which many bounds are asked about at once; states looked at together."""
WIDEST = 2.0
"""The largest multiplier of the gap's constraint."""


class MaskAlgorithm(Options):
    """An algorithm plugin by name, with its options."""

    name: str = Field("ppo", description="registered name, or distribution:name")
    options: dict[str, Any] = Field(default_factory=dict, description="the plugin's own options")


class MaskOptions(Options):
    """How the network is trained that says which states matter."""

    algorithm: MaskAlgorithm = Field(MaskAlgorithm(), description="what trains it, on two discrete actions")
    steps: int | None = Field(
        None, gt=0, description="environment steps, out of refine.steps; null: 3 of 13 parts, as RICE's 3e5 + 1e6"
    )
    alpha: float = Field(0.01, ge=0, description="reward for randomising one step, in units of environment reward")

    def steps_of(self, budget: int) -> int:
        """Environment steps of mask training within a method's `budget`."""
        return round(budget * 3 / 13) if self.steps is None else self.steps


@dataclass(frozen=True, eq=False)
class MaskNetwork:
    """A trained mask.

    Attributes:
        policy: Chooses 0 (keep) or 1 (randomise).
        env_steps: Environment steps its training took.
        seen: Moments of the flat observations met on the way, `features` of them for screens.
    """

    policy: Policy
    env_steps: int
    seen: Moments

    def log_odds(self, observations: Array) -> FloatArray:
        """Log-odds `(n,)` of keeping in `observations` `(n, ...)`, within +-`LIMIT`; to `2 LIMIT / 2**25`."""
        parts, rounds = (32, 5) if observations[0].size <= SMALL else (2, 25)
        found = [
            self._search(observations[start : start + ROWS], parts, rounds)
            for start in range(0, len(observations), ROWS)
        ]
        return np.concatenate(found)

    def _search(self, observations: Array, parts: int, rounds: int) -> FloatArray:
        """Divide the range of log-odds into `parts`, `rounds` times: few large batches where states are small."""
        n, width = len(observations), 2 * LIMIT
        low, rows = np.full(n, -LIMIT), np.repeat(observations, parts - 1, axis=0)
        for _ in range(rounds):
            width /= parts
            asked = low[:, None] + width * np.arange(1, parts)
            low = low + width * self.beats(rows, asked.ravel()).reshape(n, parts - 1).sum(axis=1)
        return low

    def beats(self, observations: Array, log_odds: FloatArray) -> Array:
        """Whether `(n,)` keeping is at least as likely as `log_odds` `(n,)` say; one look at each state."""
        uniforms = np.clip(_sigmoid(log_odds), 1e-12, 1 - 1e-12)[:, None]
        return np.asarray(self.policy.act_with_uniforms(observations, uniforms) == KEEP)

    def keep(self, observations: Array) -> FloatArray:
        """P(keep) `(n,)`."""
        return _sigmoid(self.log_odds(observations))

    def critical_step(self, trajectory: Trajectory) -> int:
        """Where keeping is likeliest; the earliest of equals."""
        return int(np.argmax(self.log_odds(trajectory.observations)))


class MaskedSimulators(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Environments whose actions say whether the target policy's own action is kept or replaced by a random one.

    Rewards are `weight` x the environment's + alpha for each randomised step.

    Args:
        simulators: Where the target policy acts; closed by whoever made them.
        environment: Their plugin.
        target: The policy that is masked.
        rng: Draws its actions and the random ones.
        alpha: Reward for randomising a step.

    Attributes:
        weight: Of the environment's reward.
        seen: Moments of what `inputs` makes of the observations.
        ended: Undiscounted environment returns of the episodes that ended; the caller empties it.
    """

    can_snapshot = False

    def __init__(
        self,
        simulators: Simulators,
        environment: Environment,
        target: Policy,
        rng: np.random.Generator,
        alpha: float,
    ) -> None:
        self.num_envs, self.metadata = simulators.num_envs, simulators.metadata
        self.single_observation_space = simulators.single_observation_space
        self.observation_space = simulators.observation_space
        self.single_action_space = CHOICES
        self.action_space = gymnasium.vector.utils.batch_space(CHOICES, self.num_envs)
        self.weight, self.ended = 1.0, list[float]()
        self._simulators, self._environment, self._target = simulators, environment, target
        self._rng, self._alpha = rng, alpha
        self._dims = uniforms_per_action(environment)
        self._returns = np.zeros(self.num_envs)
        self._inputs = inputs_of(environment)
        self.seen: Moments | None = None

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode everywhere."""
        observations, info = self._simulators.reset(seed=seed, options=options)
        self._observations = np.array(observations)
        self._returns[:] = 0.0
        return observations, info

    def step(self, actions: Any) -> tuple[Array, FloatArray, Array, Array, dict[str, Any]]:
        """Masks `(n,)`, `KEEP` or `RANDOMISE` -> as any vector environment."""
        randomised = np.asarray(actions) == RANDOMISE
        draws = self._rng.random((self.num_envs, self._dims)).clip(1e-12, 1 - 1e-12)
        executed = np.array(self._target.act_with_uniforms(self._observations, draws))
        executed[randomised] = random_actions(self._environment, self._rng, self.num_envs)[randomised]
        observations, rewards, terminated, truncated, infos = self._simulators.step(executed)
        ended = np.asarray(terminated) | np.asarray(truncated)
        self._note(before_reset(observations, ended, infos), np.asarray(rewards), ended)
        self._observations = np.array(observations)
        return observations, self.weight * np.asarray(rewards) + self._alpha * randomised, terminated, truncated, infos

    def _note(self, reached: Array, rewards: FloatArray, ended: Array) -> None:
        rows = self._inputs(reached)
        if self.seen is None:
            self.seen = Moments(rows.shape[1])
        self.seen.add(rows)
        self._returns += rewards
        self.ended += self._returns[ended].tolist()
        self._returns[ended] = 0.0


def inputs_of(environment: Environment) -> Callable[[Array], FloatArray]:
    """What novelty is judged by: flat observations `(n, width)`; the environment's features of them for screens."""
    space = environment.observation_space
    if isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) == 3:
        return lambda observations: np.asarray(environment.features(observations), np.float64)
    return lambda observations: np.asarray(observations, np.float64).reshape(len(observations), -1)


def mask_missing(terms: Terms, mask: MaskOptions) -> list[str]:
    """What a run lacks for training a mask, in words."""
    found, environment = [], terms.environment
    space = environment.action_space
    if not (isinstance(space, Discrete) or (isinstance(space, Box) and space.is_bounded())):
        found.append(f"no random action can be drawn from {space} (Discrete or a bounded Box)")
    algorithm = terms.create_algorithm(mask.algorithm.name, mask.algorithm.options)
    try:
        algorithm.create_policy(environment.observation_space, CHOICES, 0)
    except PluginError as error:
        found.append(f"mask.algorithm {mask.algorithm.name!r} makes no mask network: {error.problem}")
    steps = mask.steps_of(terms.total_steps)
    if steps >= terms.total_steps:
        budget = f"{terms.total_steps:,}"
        found.append(f"training the mask takes {steps:,} steps of a budget of {budget} (lower mask.steps)")
    return found


def train_mask(
    setting: Setting,
    name: str,
    options: MaskOptions,
    gap: tuple[Sequence[float], float] | None = None,
    episodes: int = 0,
) -> MaskNetwork:
    """Train a mask for the starting policy, or read back the one this run has trained already.

    Args:
        setting: The run.
        name: Of the method; its file and random streams are called so.
        options: Budget, algorithm and alpha.
        gap: The target's returns and the step of the multiplier; None is RICE's objective.
        episodes: How many episodes the returns are of.

    Raises:
        RunError: The kept file is damaged or was made under other settings.
    """
    terms, services = setting.terms, setting.services
    environment = terms.environment
    algorithm = terms.create_algorithm(options.algorithm.name, options.algorithm.options)
    made_by = {"mask": options.model_dump(mode="json"), "episodes": episodes}
    kept = services.load(f"{name}-mask", made_by, partial(_rebuilt, algorithm, environment))
    if kept is not None:
        return kept
    streams, total = setting.streams.child(name, "mask"), options.steps_of(terms.total_steps)
    fresh = algorithm.create_policy(environment.observation_space, CHOICES, streams.integer("weights"))
    target, scale = _scale(None if gap is None else gap[0])
    multiplier, told = 0.0, f"mask network of {name}"
    with services.simulators(terms.num_envs) as simulators:
        masked = MaskedSimulators(simulators, environment, setting.start, streams.generator("actions"), options.alpha)
        trainer = algorithm.trainer(fresh, masked, total, streams, fresh=True)
        while trainer.steps < total:
            setting.check_stop()
            trainer.update()
            if gap is not None and masked.ended:
                excess = (float(np.mean(masked.ended)) - target) / scale
                multiplier = float(np.clip(multiplier + gap[1] * excess, 0.0, WIDEST))
                masked.weight = 1.0 - multiplier
            masked.ended.clear()
            setting.on_progress(min(trainer.steps, total), total, told)
    assert masked.seen is not None
    arrays, description = trainer.policy.state()
    named = {f"policy/{key}": array for key, array in arrays.items()}
    named |= {f"seen/{key}": array for key, array in masked.seen.arrays().items()}
    services.save(f"{name}-mask", named, {"env_steps": trainer.steps, "policy": description}, made_by)
    return MaskNetwork(trainer.policy, trainer.steps, masked.seen)


def _scale(returns: Sequence[float] | None) -> tuple[float, float]:
    """Mean of the target's returns, and the spread in which a gap is counted."""
    if returns is None:
        return 0.0, 1.0
    mean = float(np.mean(returns))
    return mean, max(float(np.std(returns)), 0.1 * abs(mean), 1e-8)


def _sigmoid(log_odds: FloatArray) -> FloatArray:
    """The probability of the log-odds."""
    from scipy.special import expit  # slow to load, and every reading of a configuration loads this module

    return np.asarray(expit(log_odds))


def _rebuilt(
    algorithm: Algorithm, environment: Environment, arrays: dict[str, Array], rest: dict[str, Any]
) -> MaskNetwork:
    """The network from what was kept of it."""
    weights = {key.removeprefix("policy/"): part for key, part in arrays.items() if key.startswith("policy/")}
    policy = algorithm.load_policy(weights, rest["policy"], environment.observation_space, CHOICES)
    seen = Moments(len(arrays["seen/mean"]))
    seen.load({key.removeprefix("seen/"): part for key, part in arrays.items() if key.startswith("seen/")})
    return MaskNetwork(policy, int(rest["env_steps"]), seen)
