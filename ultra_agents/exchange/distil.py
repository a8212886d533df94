"""A policy that can be trained, made from one that can only be asked for actions.

Behavioural cloning of the states the teacher visits, then DAgger (Ross, Gordon and Bagnell 2011, arXiv 1011.0686):
the student acts, the teacher says what it would have done in the states met, and the student learns from everything
so far.

Differs from the paper: the student alone acts from the second round on (beta = 0), as the paper found best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Box

from ultra_agents.contracts import Algorithm, Demonstrations, Environment, Policy, agreed
from ultra_agents.errors import ConfigError, PolicyError
from ultra_agents.records import Array
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.seeding import Streams

ROUNDS = 3
NUM_ENVS = 16
NARROWEST = 0.05
"""A continuous student's standard deviation is at least this share of half the actions' range: it must explore."""


FLOOR = 0.8
"""Agreement below which a student is not taken for its teacher without somebody saying so."""


@dataclass(frozen=True)
class Distilled:
    """What came of distilling.

    Attributes:
        policy: The student.
        agreement: On states that the student met by itself after its last lesson: the share of equal actions, or for
            continuous actions the share of the variance of the teacher's that is explained.
        rounds: Lessons.
        steps: Environment steps spent.
    """

    policy: Policy
    agreement: float
    rounds: int
    steps: int

    def check(self, whose: str) -> None:
        """Refuse a student that acts otherwise than its teacher too often.

        Args:
            whose: The teacher's file, for the message.

        Raises:
            PolicyError: The agreement is below `FLOOR`.
        """
        if self.agreement < FLOOR:
            raise PolicyError(
                f"the student of {whose} does not act like it",
                found=f"it agrees with {self.agreement:.1%} of the actions after {self.steps:,} steps",
                expected=f"at least {FLOOR:.0%}",
                hint="more --distil-steps may help. A network that draws its actions cannot be imitated: export the "
                "one that gives logits or means; --keep writes the student all the same",
            )


def distil(
    act: Callable[[Array], Array],
    algorithm: Algorithm,
    environment: Environment,
    steps: int,
    seed: int,
    progress: Callable[[int, float], None] | None = None,
) -> Distilled:
    """Teach a fresh policy of `algorithm` to act as `act` does.

    Args:
        act: The teacher: raw observations `(n, ...)` -> actions `(n, ...)`.
        algorithm: Must offer `imitate`.
        environment: Where both act.
        steps: Environment steps to spend, all rounds together.
        seed: Of everything random.
        progress: Called after each round with its number and the agreement on states not yet learnt from.

    Raises:
        ConfigError: The algorithm cannot imitate, or there are too few steps.
    """
    if not algorithm.can_imitate:
        raise ConfigError(
            "this algorithm cannot learn from demonstrations, so it cannot take over a policy's behaviour",
            found=type(algorithm).__name__,
            expected="an algorithm with `imitate`",
            hint="--algorithm ppo",
        )
    if steps < ROUNDS * NUM_ENVS:
        raise ConfigError(
            "too few steps to learn a policy from", found=steps, expected=f"at least {ROUNDS * NUM_ENVS}",
            hint="--distil-steps 20000",
        )  # fmt: skip
    import torch

    torch.set_num_threads(1)  # sums in another order, with several threads, would make another student
    streams = Streams(seed).child("distil")
    spaces = environment.observation_space, environment.action_space
    policy = algorithm.create_policy(*spaces, streams.integer("weights"))
    seen: list[Array] = []
    told: list[Array] = []
    agreement, spent = 0.0, 0
    with make_simulators(environment, NUM_ENVS) as simulators:
        for number in range(ROUNDS + 1):
            share = steps // (2 if number == 0 else 2 * ROUNDS) // NUM_ENVS
            student = policy if number else None
            observations = _visit(student, act, simulators, max(share, 1), streams.child(number))
            actions = act(observations)
            spent += len(observations)
            if number:
                agreement = agreed(policy.act(observations, deterministic=True), actions)
                if progress is not None:
                    progress(number, agreement)
            if number == ROUNDS:
                break
            seen.append(observations)
            told.append(actions)
            everything = Demonstrations(
                np.concatenate(seen), np.concatenate(told), np.ones(sum(map(len, told))), observations[:0]
            )
            if number == 0:
                policy = _normalised(policy, algorithm, environment, everything.observations)
            policy = algorithm.imitate(policy, everything, streams.child("lesson", number))
            policy = _narrowed(policy, algorithm, environment, everything)
    return Distilled(policy, agreement, ROUNDS, spent)


def _visit(
    student: Policy | None, act: Callable[[Array], Array], simulators: Simulators, steps: int, streams: Streams
) -> Array:
    """Observations `(steps * n, ...)` met by the student, or by the teacher where there is none yet."""
    n, rng = simulators.num_envs, streams.generator("actions")
    observations = simulators.reset(seed=list(streams.integers(n, "reset")))[0]
    met = []
    for _ in range(steps):
        observations = np.array(observations)
        met.append(observations)
        actions = act(observations) if student is None else student.act(observations, rng)
        observations = simulators.step(actions)[0]
    return np.concatenate(met)


def _normalised(policy: Policy, algorithm: Algorithm, environment: Environment, observations: Array) -> Policy:
    """The policy with the statistics of `observations`, where it keeps any."""
    arrays, description = policy.state()
    mean = arrays.get("normalizer.mean")
    if mean is None or mean.size == 0:
        return policy
    flat = observations.reshape(len(observations), -1).astype(np.float64)
    arrays |= {
        "normalizer.mean": flat.mean(axis=0).reshape(mean.shape),
        "normalizer.var": flat.var(axis=0).reshape(mean.shape),
        "normalizer.count": np.asarray([float(len(flat))]),
    }
    return algorithm.load_policy(arrays, description, environment.observation_space, environment.action_space)


def _narrowed(policy: Policy, algorithm: Algorithm, environment: Environment, shown: Demonstrations) -> Policy:
    """The policy with the standard deviation that its misses ask for, where it keeps one for each action."""
    arrays, description = policy.state()
    space = environment.action_space
    if not isinstance(space, Box) or arrays.get("log_std", np.zeros(0)).shape != space.shape:
        return policy
    misses = np.sqrt(np.square(policy.act(shown.observations, deterministic=True) - shown.actions).mean(axis=0))
    half = (space.high.astype(np.float64) - space.low) / 2
    arrays["log_std"] = np.log(np.maximum(misses, NARROWEST * np.where(np.isfinite(half), half, 1.0))).astype(
        np.float32
    )
    return algorithm.load_policy(arrays, description, environment.observation_space, environment.action_space)
