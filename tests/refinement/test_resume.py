"""Interrupted after any update and taken up again, a run ends with the weights of one that was not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
import pytest

from ultra_agents.contracts import Algorithm, Environment
from ultra_agents.errors import ConfigError, Interrupted
from ultra_agents.refinement.refine import Refined, refine
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.testing._algorithm_world import World
from ultra_agents.testing.corridor import Corridor, CorridorOptions

STEPS, EVERY, UPDATES = 2048, 768, 8


class Forgetful(Corridor):
    """Its state cannot be saved."""

    snapshot = Environment.snapshot
    restore = Environment.restore


def run(
    environment: Environment, folder: Path, stop: Callable[[], bool], workers: int = 0, steps: int = STEPS
) -> Refined:
    algorithm = create_algorithm("ppo", {"num_steps": 32, "hidden": [8, 8]})
    with make_simulators(environment, 8, workers) as simulators:
        return train(algorithm, simulators, folder, stop, steps, EVERY)


def train(
    algorithm: Algorithm,
    simulators: gymnasium.vector.VectorEnv[Any, Any, Any],
    folder: Path,
    stop: Callable[[], bool],
    steps: int,
    every: int,
) -> Refined:
    folder.mkdir(exist_ok=True)
    spaces = simulators.single_observation_space, simulators.single_action_space
    return refine(
        method="continue",
        start=algorithm.create_policy(*spaces, 3),
        algorithm=algorithm,
        simulators=simulators,
        total_steps=steps,
        already_spent=0,
        streams=Streams(1),
        modulation=None,
        score=lambda policy, steps: [float(steps)],
        evaluate_every=every,
        checkpoint=folder / "trainer.safetensors",
        save=lambda which, policy: None,
        emit=lambda event: None,
        stop=stop,
    )


def same(one: Refined, other: Refined) -> bool:
    left, right = one.last.state()[0], other.last.state()[0]
    return all(np.array_equal(left[name], right[name]) for name in left) and one.metrics == other.metrics


@pytest.mark.parametrize("kind", ["saves", "forgets"])
@pytest.mark.parametrize("stopped_after", range(UPDATES))
def test_interrupted_at_any_update(tmp_path: Path, kind: str, stopped_after: int) -> None:
    # episodes of many updates: what is running at a checkpoint matters
    options: dict[str, Any] = {"slip": 0.4, "max_steps": 500, "length": 40}
    environment = create_environment("corridor", options)
    if kind == "forgets":
        environment = Forgetful(CorridorOptions(**options))
    whole = run(environment, tmp_path / "whole", lambda: False)
    asked = iter(range(UPDATES + 1))
    with pytest.raises(Interrupted) as caught:
        run(environment, tmp_path / "parts", lambda: next(asked) >= stopped_after)
    lost = kind == "forgets" and stopped_after % 3 != 0
    assert ("goes on from step" in str(caught.value)) == lost
    resumed = run(environment, tmp_path / "parts", lambda: False, workers=2 if stopped_after == 5 else 0)
    assert same(whole, resumed)


class ForgetfulWorld(World):
    """Continuous actions, and a state that cannot be saved."""

    can_snapshot = False


@pytest.mark.parametrize("stopped_after", range(6))
def test_sac_interrupted_at_any_update_without_snapshots(tmp_path: Path, stopped_after: int) -> None:
    options = {"hidden": [8], "num_steps": 5, "learning_starts": 16, "replay_ratio": 0.25, "value_warmup_steps": 4}

    def go(folder: Path, stop: Callable[[], bool]) -> Refined:
        return train(create_algorithm("sac", options), cast("Any", ForgetfulWorld(4, True)), folder, stop, 120, 40)

    whole = go(tmp_path / "whole", lambda: False)
    asked = iter(range(7))
    with pytest.raises(Interrupted) as caught:
        go(tmp_path / "parts", lambda: next(asked) >= stopped_after)
    assert ("goes on from step" in str(caught.value)) == (stopped_after % 2 != 0)
    assert same(whole, go(tmp_path / "parts", lambda: False))


def test_no_budget_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no budget") as caught:
        run(create_environment("corridor"), tmp_path, lambda: False, steps=0)
    assert "refine.steps" in str(caught.value.hint)
    assert not list(tmp_path.iterdir())
