"""Episodes of a policy, the segments of them worth telling, and how a segment reads in words.

Shapes use `T` for the number of steps of an episode and `n` for parallel environments. Steps count from 0;
`observations[t]` is what the policy saw when it chose `actions[t]`, which earned `rewards[t]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
Array: TypeAlias = npt.NDArray[Any]
Scalar: TypeAlias = float | int | bool | str


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One episode of a policy, from reset to its end.

    Attributes:
        episode: Index of the episode in its collection.
        seed: The seed the environment was reset with.
        observations: `(T, *observation_shape)`, as the policy saw them (not normalised).
        actions: `(T,)` integers for discrete actions, `(T, action_dim)` floats otherwise.
        rewards: `(T,)` environment rewards, unshaped.
        values: `(T,)` the policy's own value estimates, or zeros where it has none.
        infos: One mapping of scalars per step: what the environment said beside the observation.
        terminated: The episode reached a terminal state.
        truncated: The episode was cut (time limit).
        snapshots: `T` simulator states, taken before `actions[t]`; `None` where the environment cannot.
    """

    episode: int
    seed: int
    observations: Array
    actions: Array
    rewards: FloatArray
    values: FloatArray
    infos: tuple[dict[str, Scalar], ...]
    terminated: bool
    truncated: bool
    snapshots: tuple[bytes, ...] | None = None

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of rewards."""
        return float(np.sum(self.rewards))

    def __repr__(self) -> str:
        end = "terminated" if self.terminated else "truncated" if self.truncated else "cut"
        return f"Trajectory(episode={self.episode}, steps={len(self)}, return={self.episode_return:.2f}, {end})"


@dataclass(frozen=True)
class Segment:
    """A stretch of one episode that fits one narration.

    Attributes:
        episode: Index of the episode.
        start: First step shown.
        stop: One past the last step shown.
        kind: Why it was chosen ("point lost", "point won", "median rally", "whole episode").
    """

    episode: int
    start: int
    stop: int
    kind: str

    @property
    def name(self) -> str:
        """Address of the segment, unique within a run: `episode:start-stop`."""
        return f"{self.episode}:{self.start}-{self.stop}"


@dataclass(frozen=True)
class Narration:
    """A segment in words.

    Attributes:
        segment: What is told.
        text: The numbered steps and what happened, the text shown to the agents.
        steps: The steps described in `text`; of the others it says what was done.
        tokens: Estimated length of `text` in tokens.
        env_steps: Environment steps spent on finding out where to look.
        won: Those of `steps` that led to a point won, where nothing more could be gained.
    """

    segment: Segment
    text: str
    steps: tuple[int, ...]
    tokens: int
    env_steps: int = 0
    won: tuple[int, ...] = ()

    @property
    def candidates(self) -> tuple[int, ...]:
        """The steps that agents may name: those described, without those of a point won; may be none."""
        won = set(self.won)
        return tuple(step for step in self.steps if step not in won)
