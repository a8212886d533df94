"""Plans: what is suggested at a step, and what a search in the simulator made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

NO_STATE = "no simulator state to search from"
TOO_LITTLE = "search budget below one rollout"
NOTHING = "search found no gain"
CANNOT = (NO_STATE, TOO_LITTLE)
"""Reasons of a `Searched` that played nothing."""
Move: TypeAlias = tuple[str, int]
"""An action's name and for how many steps it is held."""


@dataclass(frozen=True)
class Plan:
    """What is to be done from a critical state on.

    Attributes:
        moves: One after the other; at least one.
    """

    moves: tuple[Move, ...]

    @classmethod
    def of(cls, moves: Iterable[Move]) -> Plan:
        """The plan of `moves`, two moves of one action in a row joined, so that equal plans are equal values."""
        joined: list[Move] = []
        for action, hold in moves:
            if joined and joined[-1][0] == action:
                joined[-1] = (action, joined[-1][1] + hold)
            else:
                joined.append((action, hold))
        return cls(tuple(joined))

    @property
    def steps(self) -> int:
        """Environment steps it takes."""
        return sum(hold for _, hold in self.moves)

    @property
    def actions(self) -> str:
        """The names alone: `UP then STAY`."""
        return " then ".join(action for action, _ in self.moves)

    def __str__(self) -> str:
        """`UP for 5 steps, then STAY for 1 step`."""
        return ", then ".join(f"{action} for {hold} {'step' if hold == 1 else 'steps'}" for action, hold in self.moves)


@dataclass(frozen=True)
class Suggestion:
    """A plan at a step of an episode: what the simulator is asked about.

    Attributes:
        episode: Index of the episode.
        step: Step within the episode.
        plan: What is to be done from there on.
    """

    episode: int
    step: int
    plan: Plan

    def __str__(self) -> str:
        """`UP for 5 steps at step 118`; of several moves: `UP for 5 steps, then STAY for 2 steps, from step 118`."""
        return f"{self.plan}{', from' if len(self.plan.moves) > 1 else ' at'} step {self.step}"


@dataclass(frozen=True)
class Searched:
    """What a search in the simulator made of a state, or of a suggestion there, before the test.

    Attributes:
        plan: The plan that is suggested; None where the search proposes nothing.
        written: The suggestion around which it searched; None where there was none.
        gain: Mean paired difference of return of `plan` in the search itself: selected, so too good. None where
            nothing was played.
        tried: Plans that were played.
        env_steps: Environment steps it took.
        reason: Why nothing was found, or nothing was played; short and countable.
    """

    plan: Plan | None = None
    written: Plan | None = None
    gain: float | None = None
    tried: int = 0
    env_steps: int = 0
    reason: str = ""

    @property
    def changed(self) -> bool:
        """It made something else of what was written."""
        return self.written is not None and self.plan != self.written
