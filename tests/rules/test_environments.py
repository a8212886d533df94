"""What rules can speak of in an environment, and the example rules playing in theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.rules.references import INTERFACES
from ultra_agents.registry import create_environment
from ultra_agents.rules import Interface, RuleError, interface_of, load_rules
from ultra_agents.testing.corridor import Corridor, CorridorOptions

FOLDER = Path(__file__).parents[2] / "examples" / "rules"
ENVIRONMENTS = {
    "acrobot": "gymnasium:Acrobot-v1",
    "cartpole": "gymnasium:CartPole-v1",
    "half_cheetah_residual": "half-cheetah",
    "hopper_residual": "hopper",
    "mountain_car": "mountain-car",
    "pendulum": "gymnasium:Pendulum-v1",
    "pong": "pong",
    "pong_after_feedback": "pong",
    "reacher": "reacher",
    "walker2d_residual": "walker2d",
}

SOMETIMES = {"pong": 0.5, "pong_after_feedback": 0.5, "half_cheetah_residual": 0.8}
"""Sets that leave some states to the policy, and in what share of the steps they decide at least."""


def play(rule: str, seeds: range, steps: int) -> tuple[Any, Any]:
    """Returns of the first episodes `(n,)` of the rule in its environment, and the share of steps it decided."""
    environment = create_environment(ENVIRONMENTS[rule])
    rules = load_rules(FOLDER / f"{rule}.yaml", interface_of(environment))
    envs, rng = environment.make(len(seeds)), np.random.default_rng(0)
    observations, _ = envs.reset(seed=list(seeds))
    returns, running, decided = np.zeros(len(seeds)), np.ones(len(seeds), bool), []
    envs.action_space.seed(0)
    for _ in range(steps):
        own = np.asarray(envs.action_space.sample())
        if rule == "hopper_residual":
            own = rng.uniform(-0.1, 0.1, own.shape).astype(np.float32)
        actions, covered = rules.act(environment.quantities(observations), own)
        decided.append(covered.mean())
        observations, rewards, terminated, truncated, _ = envs.step(actions.astype(envs.action_space.dtype))
        returns += rewards * running
        running &= ~(terminated | truncated)
        if not running.any():
            break
    envs.close()
    return returns, float(np.mean(decided))


def test_every_example_binds_to_its_environment_and_decides_there() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(ENVIRONMENTS)
    for rule, name in ENVIRONMENTS.items():
        face, expected = interface_of(create_environment(name)), INTERFACES[rule]
        assert set(expected.quantities) <= set(face.quantities)
        assert (face.actions, face.components) == (expected.actions, expected.components)
        assert (face.low, face.high) == (expected.low, expected.high)
        _, decided = play(rule, range(2), 300)
        assert decided > SOMETIMES.get(rule, 0.99)


@pytest.mark.parametrize(
    ("rule", "steps", "least"),
    [
        ("cartpole", 500, 500),
        ("mountain_car", 200, -130),
        ("acrobot", 500, -130),
        ("pendulum", 200, -400),
        ("reacher", 50, -5),
    ],
)
def test_an_example_plays_well(rule: str, steps: int, least: float) -> None:
    returns, _ = play(rule, range(5), steps)
    assert (returns.min() if rule == "cartpole" else returns.mean()) >= least


def test_a_component_without_a_name_is_numbered_and_bounds_are_the_spaces() -> None:
    face = interface_of(create_environment("gymnasium:MountainCarContinuous-v0"))
    assert face == Interface(("position_car_x", "car_v"), components=("a0",), low=(-1,), high=(1,))


def test_without_quantities_there_is_nothing_to_speak_of() -> None:
    class Silent(Corridor):
        absent = frozenset({"quantities"})  # type: ignore[assignment]

    with pytest.raises(RuleError, match="offers no quantities") as caught:
        interface_of(Silent(CorridorOptions()))
    assert "quantities and legend" in str(caught.value)


def test_a_name_that_cannot_be_written_is_refused() -> None:
    class Odd(Corridor):
        @property
        def legend(self) -> Any:
            return {"the cell": super().legend["cell"]}

    with pytest.raises(RuleError, match="cannot be written in a rule"):
        interface_of(Odd(CorridorOptions()))
