"""Training gives the same bits whatever the number of worker processes, with and without the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ultra_agents_plugins.algorithms._rollout import Stepper
from ultra_agents_plugins.algorithms.ppo import PPO

from ultra_agents.advice import AdviceTable
from ultra_agents.config import ModulationConfig
from ultra_agents.modulation import ModulationEngine
from ultra_agents.registry import create_environment
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams

ENVIRONMENT = create_environment("corridor", {"slip": 0.2, "max_steps": 9})


def engine() -> ModulationEngine:
    """Holds, pays by potential, and moves its radius: the order of calls matters to all of it."""
    table = AdviceTable(
        features=ENVIRONMENT.features(np.array([[-0.5], [0.5]], np.float32)).astype(np.float64),
        scale=np.ones(1),
        plans=np.array([[1, 1, 1], [0, 0, 0]]),
        holds=np.array([3, 2]),
        rewards=np.array([1.0, -1.0]),
        taken_actions=np.array([0, 1]),
        taken_rewards=np.array([-1.0, 1.0]),
        weights=np.ones(2),
        radius=0.2,
        match="nearest",
        target=0.3,
    )
    config = ModulationConfig(reward="potential")
    return ModulationEngine(table, ENVIRONMENT.features, "ra", config, np.random.default_rng(4))


def trained(workers: int, num_envs: int, modulated: bool) -> tuple[dict[str, Any], list[dict[str, float]]]:
    with make_simulators(ENVIRONMENT, num_envs, workers) as simulators:
        algorithm = PPO(PPO.Options(num_steps=24, hidden=(8, 8)))
        policy = algorithm.create_policy(ENVIRONMENT.observation_space, ENVIRONMENT.action_space, 0)
        trainer = algorithm.trainer(
            policy, simulators, 24 * num_envs * 3, Streams(0), engine() if modulated else None, fresh=True
        )
        metrics = [trainer.update() for _ in range(3)]
        return trainer.policy.state()[0], metrics


@pytest.mark.parametrize("modulated", [False, True], ids=["plain", "modulated"])
@pytest.mark.parametrize(("num_envs", "others"), [(1, (1,)), (5, (1, 2, 3))])
def test_workers_change_no_bit(num_envs: int, others: tuple[int, ...], modulated: bool) -> None:
    weights, metrics = trained(0, num_envs, modulated)
    assert sum(row["episodes"] for row in metrics) > 0
    for workers in others:
        other, told = trained(workers, num_envs, modulated)
        assert all(np.array_equal(other[name], array) for name, array in weights.items())
        assert told == metrics


def test_one_half_steps_while_the_other_is_acted_for() -> None:
    with make_simulators(ENVIRONMENT, 6, 1) as simulators:
        simulators.reset(seed=0)
        stepper = Stepper(simulators, None)
        assert [part.stop - part.start for part in stepper.parts] == [3, 3]
        stepper.send(0, np.ones(3, int))
        stepper.send(1, np.zeros(3, int))  # before the first half was heard
        right, left = stepper.receive(0)[0], stepper.receive(1)[0]
        assert right.shape == left.shape == (3, 1)
        stepper.send(0, np.ones(3, int))
        assert len(simulators.reset(seed=1)[0]) == 6  # what is still owed does not stand in the way
    with make_simulators(ENVIRONMENT, 6) as local:
        assert len(Stepper(local, None).parts) == 1
        assert len(Stepper(local, engine()).parts) == 1
