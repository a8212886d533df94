from typing import Any

import numpy as np
import pytest

from tests.testing.broken_environments import SnapshotForgetsTime
from ultra_agents.errors import EnvironmentFault
from ultra_agents.registry import create_environment
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.verification import restore_is_exact

from .conftest import Walker, corridor


class Uniform(Walker):
    """Any of three actions."""

    def act_with_uniforms(self, observations: Any, uniforms: Any) -> Any:
        return np.asarray(np.floor(3 * uniforms[:, 0]), np.int64)


class ForgetsItsGenerator(Corridor):
    def restore(self, envs: Any, indices: Any, snapshots: Any) -> Any:
        kept = [envs._generators[index].bit_generator.state for index in indices]
        seen = super().restore(envs, indices, snapshots)
        for index, state in zip(indices, kept, strict=True):
            envs._generators[index].bit_generator.state = state
        return seen


class ShowsAnotherState(Corridor):
    def restore(self, envs: Any, indices: Any, snapshots: Any) -> Any:
        return super().restore(envs, indices, snapshots) + np.float32(0.5)


class KnowsOneSlotOnly(Corridor):
    def restore(self, envs: Any, indices: Any, snapshots: Any) -> Any:
        return super().restore(envs, [0] * len(indices), snapshots)


class DisturbedBySaving(Corridor):
    def snapshot(self, envs: Any, indices: Any) -> Any:
        taken = super().snapshot(envs, indices)
        envs._generators[indices[0]].random()
        return taken


class CannotRestore(Corridor):
    def restore(self, envs: Any, indices: Any, snapshots: Any) -> Any:
        raise EnvironmentFault("the save slot is empty", found="nothing")


def probe(cls: type[Corridor], **options: Any) -> Any:
    return restore_is_exact(cls(CorridorOptions(**options)), Walker(0.5), Streams(0), steps=60)


@pytest.mark.parametrize("name", ["corridor", "mountain-car", "pong"])
def test_shipped_environments_restore_exactly(name: str) -> None:
    found = restore_is_exact(create_environment(name), Walker(0.5) if name == "corridor" else Uniform(0.5), Streams(1))
    assert (found.ok, found.differed) == (True, "")
    assert found.env_steps > 0


def test_one_with_chance_in_it() -> None:
    assert restore_is_exact(corridor(slip=0.3), Walker(0.5), Streams(0)).ok


@pytest.mark.parametrize(
    ("cls", "options", "what"),
    [
        (SnapshotForgetsTime, {"length": 101, "max_steps": 30}, "truncation"),
        (ForgetsItsGenerator, {"slip": 0.4, "length": 101}, "observation"),
        (ShowsAnotherState, {}, "observation right after restoring into the same slot"),
        (KnowsOneSlotOnly, {"length": 101}, "another slot"),
        (DisturbedBySaving, {"slip": 0.4, "length": 101}, "never saved"),
        (CannotRestore, {}, "failed: the save slot is empty (nothing)"),
    ],
)
def test_a_lying_snapshot_is_found_out(cls: type[Corridor], options: dict[str, Any], what: str) -> None:
    found = probe(cls, **options)
    assert not found.ok
    assert what in found.differed


def test_the_same_corridors_pass_when_they_are_honest() -> None:
    for options in ({"length": 101, "max_steps": 30}, {"slip": 0.4, "length": 101}, {}):
        assert probe(Corridor, **options).ok
