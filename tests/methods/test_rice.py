from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from ultra_agents_plugins.methods._mask import MaskNetwork, inputs_of
from ultra_agents_plugins.methods._moments import Moments
from ultra_agents_plugins.methods._novelty import WAIT, Novelty
from ultra_agents_plugins.methods.rice import CriticalStates, Explorer

from tests.methods.chain import CELLS, DECISIVE, SMALL, Chain, Keeps, Right, settings
from ultra_agents.contracts import Setting
from ultra_agents.methods import method_of
from ultra_agents.methods.services import critical_starts
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.restarts import Restarts as CriticalStarts
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams

CHAIN, CORRIDOR = Chain(Chain.Options()), create_environment("corridor", {"length": 9, "max_steps": 12})
MakeSetting = Callable[..., Setting]


def explorer(states: CriticalStates, width: int, weight: float = 0.1) -> Explorer:
    inputs = Moments(width)
    inputs.add(np.random.default_rng(0).normal(0, 0.5, (50, width)))
    return Explorer(Novelty(inputs, 16, 1e-3, 0.99, np.random.default_rng(1)), weight, inputs_of(CHAIN), states)


def critical(importance: Callable[[Any], Any], size: int = 16) -> CriticalStates:
    return CriticalStates(MaskNetwork(Keeps(importance), 0, Moments(1)), size)


def test_the_pool_holds_the_argmax_of_every_episode_that_began_at_a_reset() -> None:
    """Against the same episodes kept whole."""

    def importance(seen: Any) -> Any:
        return 0.1 + 0.8 * np.abs(np.sin(7 * seen[:, 0] + 1))

    states, rng = critical(importance, size=100_000), np.random.default_rng(4)
    one = explorer(states, 1)
    with make_simulators(CORRIDOR, 4) as simulators:
        envs = critical_starts(lambda: tuple(states.pool), 0.5, Streams(2), states.watch)(simulators)
        assert isinstance(envs, CriticalStarts)
        seen, _ = envs.reset(seed=[1, 2, 3, 4])
        one.begin(4)
        kept: list[list[tuple[float, bytes]]] = [[] for _ in range(4)]
        began, expected = [False] * 4, []
        for _ in range(600):
            taken = simulators.snapshot(range(4))
            for index in range(4):
                kept[index].append((float(importance(seen[index : index + 1])[0]), taken[index]))
            done = one.act(seen, rng.integers(2, size=4))
            seen, rewards, terminated, truncated, _ = envs.step(done.actions)
            one.reward(rewards, done, seen, terminated | truncated)
            for index in np.flatnonzero(terminated | truncated):
                if not began[index]:
                    expected.append(kept[index][int(np.argmax([row[0] for row in kept[index]]))][1])
                kept[index], began[index] = [], bool(envs.restored[index])
        assert list(states.pool) == expected
        assert 100 < envs.restored_starts < envs.starts
        assert len(expected) <= envs.starts - envs.restored_starts


def test_training_starts_at_the_critical_state_with_chance_p(setting: MakeSetting) -> None:
    p = 0.4
    states = critical(lambda seen: 0.1 + 0.8 * seen[:, DECISIVE])
    algorithm = create_algorithm("ppo", {"hidden": [8], "num_steps": 64})
    start = algorithm.create_policy(CHAIN.observation_space, CHAIN.action_space, 1)
    with make_simulators(CHAIN, 8) as simulators:
        envs = critical_starts(lambda: tuple(states.pool), p, Streams(2), states.watch)(simulators)
        assert isinstance(envs, CriticalStarts)
        trainer = algorithm.trainer(start, envs, 4000, Streams(1), explorer(states, CELLS))
        while trainer.steps < 4000:
            metrics = trainer.update()
    assert set(states.pool) == {bytes([DECISIVE])}
    able = envs.starts - 2 * 8  # nothing is known at the reset, nor when the first episodes end together
    assert able > 600
    assert abs(envs.restored_starts / able - p) < 4 * np.sqrt(p * (1 - p) / able)
    assert metrics["modulation/critical_states"] == 16


def test_actions_are_the_policys_and_rewards_get_the_bonus_of_the_state_reached() -> None:
    one = explorer(critical(lambda seen: np.full(len(seen), 0.5)), CELLS, weight=0.5)
    reached, actions = np.eye(CELLS, dtype=np.float32)[[1, 2]], np.array([0, 1])
    with make_simulators(CHAIN, 2) as simulators:
        simulators.reset(seed=[1, 2])
        one._critical.watch(simulators, lambda: np.zeros(2, bool))
        one.begin(2)
        for step in range(WAIT + 2):
            done = one.act(np.zeros((2, CELLS), np.float32), actions)
            assert done.actions is actions
            assert not done.followed.any()
            error = one._novelty.error(reached.astype(float))
            rewards = one.reward(np.array([1.0, 2.0]), done, reached, np.zeros(2, bool))
            deviation = np.sqrt(one._novelty.sums.var[0])
            expected = 0.5 * error / deviation if step >= WAIT else np.zeros(2)
            assert rewards == pytest.approx(np.array([1.0, 2.0]) + expected, rel=1e-9)
    assert one.metrics()["bonus_mean"] > 0
    assert one.metrics()["bonus_mean"] == 0


def test_training_goes_on_exactly() -> None:
    algorithm = create_algorithm("ppo", {"hidden": [8], "num_steps": 24})
    start = algorithm.create_policy(CORRIDOR.observation_space, CORRIDOR.action_space, 1)

    def begin() -> Any:
        states = critical(lambda seen: 0.5 + 0.4 * seen[:, 0], size=4)
        simulators = make_simulators(CORRIDOR, 4)
        envs = critical_starts(lambda: tuple(states.pool), 0.5, Streams(2), states.watch)(simulators)
        return algorithm.trainer(start, envs, 960, Streams(1), explorer(states, 1)), states

    whole, pool = begin()
    for _ in range(4):
        whole.update()
    arrays, rest = whole.state()
    other, other_pool = begin()
    other.load_state(arrays, json.loads(json.dumps(rest)))
    assert list(other_pool.pool) == list(pool.pool)
    for _ in range(4):
        assert whole.update() == other.update()
    assert all(np.array_equal(a, other.policy.state()[0][name]) for name, a in whole.policy.state()[0].items())


def test_prepare_charges_the_mask_and_keeps_it(setting: MakeSetting) -> None:
    config = settings(rice={"mask": {"steps": 600}, "probability": 0.5})
    given = setting(config=config, environment=CHAIN, start=Right())
    made = method_of(given.services.config, "rice").prepare(given)
    assert made.start is given.start
    assert made.spent == {"rice mask": 600}
    assert (given.services.folder / "rice-mask.safetensors").is_file()
    assert made.restarts is not None
    with given.services.simulators(2) as simulators:
        envs = made.restarts(simulators)
        assert isinstance(envs, CriticalStarts)
        assert envs._probability == 0.5
    assert method_of(given.services.config, "rice").prepare(given).spent == made.spent


def test_the_pool_begins_with_the_collected_episodes_which_are_charged(setting: MakeSetting) -> None:
    mask = {"steps": 4000, "algorithm": {"name": "ppo", "options": SMALL}}
    given = setting(config=settings(rice={"mask": mask, "probability": 1.0}), environment=CHAIN, start=Right())
    with given.services.simulators(3) as simulators:
        played = collect(given.start, CHAIN, simulators, [1, 2, 3], Streams(9), 100)
    made = method_of(given.services.config, "rice").prepare(dataclasses.replace(given, trajectories=played))
    assert made.spent == {"collect": 3 * CELLS, "rice mask": 4000}
    assert made.restarts is not None
    with given.services.simulators(4) as simulators:
        first, _ = made.restarts(simulators).reset(seed=[1, 2, 3, 4])
    assert (first.argmax(axis=1) == DECISIVE).all()


def test_novelty_of_screens_is_judged_by_their_features() -> None:
    class Screens(Chain):
        observation_space = gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8)  # type: ignore[assignment]

        def features(self, observations: Any) -> Any:
            return observations.mean(axis=(1, 2))

    seen = np.full((2, 4, 4, 3), 9, np.uint8)
    assert inputs_of(Screens(Screens.Options()))(seen).tolist() == [[9.0] * 3] * 2
    assert inputs_of(CHAIN)(np.eye(CELLS, dtype=np.float32)[:2]).shape == (2, CELLS)
