from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ultra_agents.records import Trajectory
from ultra_agents.testing.corridor import Corridor, CorridorOptions


class WordyCorridor(Corridor):
    """A corridor whose words the tests choose."""

    def __init__(self, say: Callable[[int], Any] | None = None, kind: Callable[[Any], Any] | None = None) -> None:
        super().__init__(CorridorOptions())
        self._say, self._kind = say, kind

    def describe(self, observation: Any, info: Any) -> Any:
        return self._say(int(info["cell"])) if self._say else super().describe(observation, info)

    def segment_kind(self, trajectory_rewards: Any) -> Any:
        return self._kind(trajectory_rewards) if self._kind else None


@pytest.fixture
def corridor() -> type[WordyCorridor]:
    return WordyCorridor


@pytest.fixture
def episode() -> Callable[..., Trajectory]:
    def make(rewards: Sequence[float], values: Sequence[float] | None = None, **rest: Any) -> Trajectory:
        length = len(rewards)
        return Trajectory(
            episode=rest.get("episode", 3),
            seed=0,
            observations=np.linspace(-1, 1, max(length, 1), dtype=np.float32)[:length, None],
            actions=np.arange(length) % 2,
            rewards=np.asarray(rewards, dtype=np.float64),
            values=np.zeros(length) if values is None else np.asarray(values, dtype=np.float64),
            infos=tuple({"cell": step} for step in range(length)),
            terminated=rest.get("terminated", True),
            truncated=False,
        )

    return make


def pong_words(rewards: Any) -> str:
    if np.any(rewards < 0):
        return "point lost"
    return "point won" if np.any(rewards > 0) else "rally"


@pytest.fixture
def pong_kind() -> Callable[[Any], str]:
    return pong_words
