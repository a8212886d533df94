"""Plans: what is suggested at a step, and what a search in the simulator made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

NO_STATE = "no simulator state to search from"
TOO_LITTLE = "search budget below one rollout"
NOTHING = "search found no gain"
NOT_FINITE = "rollouts with numbers that are not finite"
CANNOT = (NO_STATE, TOO_LITTLE, NOT_FINITE)
"""Reasons of a `Searched` that played nothing, or nothing of use."""
NO_NEARER, ALONE = "search came no nearer to the goal", "the policy reaches the goal alone"
OF_NO_USE = (NO_NEARER, ALONE)
"""Reasons of a search for a goal that leads nowhere: the plan that was played is not tested."""
Aim: TypeAlias = Literal["at least", "at most", "between", "maximise", "minimise"]
When: TypeAlias = Literal["on average", "at the end", "throughout", "once"]
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
class Goal:
    """What is to be reached from a critical state on; a search finds how (`ultra_agents/verification/goals.py`).

    Attributes:
        quantity: An expression over the environment's quantities, in the language of rules.
        aim: What its value is to be.
        steps: Environment steps it is about.
        when: Of these the mean, the last, every one, or any one.
        low: The target of `at least` and `between`, in the quantity's unit.
        high: Of `at most` and `between`.
    """

    quantity: str
    aim: Aim
    steps: int
    when: When = "on average"
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """`vx at least 1.5, on average over 20 steps`; `height maximised, once within 8 steps`."""
        low, high = (None if end is None else f"{end:g}" for end in (self.low, self.high))
        target = {
            "at least": f"at least {low}", "at most": f"at most {high}", "between": f"between {low} and {high}",
            "maximise": "maximised", "minimise": "minimised",
        }[self.aim]  # fmt: skip
        steps = f"{self.steps} {'step' if self.steps == 1 else 'steps'}"
        time = {
            "on average": f"on average over {steps}", "at the end": f"at the end of {steps}",
            "throughout": f"throughout {steps}", "once": f"once within {steps}",
        }[self.when]  # fmt: skip
        return f"{self.quantity} {target}, {time}"


@dataclass(frozen=True)
class GoalReached:
    """How far a search came.

    Attributes:
        goal: The goal.
        value: Of its quantity with the plan that was found: the mean over the steps, the last, the worst or the best
            one; None where it has none.
        alone: The same with the policy alone.
        reached: The target is met; False where there is none (`maximise`, `minimise`).
        steps: Steps that the plan's rollout took; fewer than `goal.steps` where the episode ended.
        alone_steps: The same of the policy alone.
    """

    goal: Goal
    value: float | None
    alone: float | None
    reached: bool
    steps: int
    alone_steps: int

    @property
    def words(self) -> str:
        """`came to 1.62, the policy alone to 0.81: reached`."""
        word = "" if self.goal.aim in ("maximise", "minimise") else ": reached" if self.reached else ": not reached"
        found, alone = self._came_to(self.value, self.steps), self._came_to(self.alone, self.alone_steps)
        return f"came to {found}, the policy alone to {alone}{word}"

    @property
    def row(self) -> dict[str, Any]:
        """The same in JSON types, with the goal and what was reached in words."""
        return {**asdict(self), "goal": str(self.goal), "words": self.words}

    def _came_to(self, value: float | None, steps: int) -> str:
        ended = f" (the episode ended after {steps} steps)" if steps < self.goal.steps else ""
        return f"{'no value' if value is None else f'{value:.3g}'}{ended}"


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
        toward: How far it came, where it searched for a goal.
    """

    plan: Plan | None = None
    written: Plan | None = None
    gain: float | None = None
    tried: int = 0
    env_steps: int = 0
    reason: str = ""
    toward: GoalReached | None = None

    @property
    def changed(self) -> bool:
        """It made something else of what was written."""
        return self.written is not None and self.plan != self.written
