"""What the controls think: where they look, and what they would do there.

All draw from streams of their own, so equal seeds and segments give equal proposals, whatever runs beside them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, TypeAlias

import numpy as np

from ultra_agents.agents.state import Context
from ultra_agents.contracts import Environment, capabilities
from ultra_agents.errors import PluginError
from ultra_agents.plugin_calls import asking, plugin_name
from ultra_agents.records import Array, Move, Trajectory
from ultra_agents.seeding import Streams

Control: TypeAlias = Literal["random", "value", "oracle"]


@dataclass
class Case:
    """A step a control calls critical, in the shape of an identifier's reply."""

    case_analysis: str
    step: int
    importance: float


@dataclass(frozen=True)
class Plan:
    """The moves a control suggests, and the environment steps it took to find them."""

    moves: list[Move]
    env_steps: int = 0


class Random:
    """Any step; any action for any hold, the action taken too where it is to be held."""

    why = "chosen at random"

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def cases(self, context: Context) -> list[Case]:
        """At most `max_critical` steps of the segment, in order of time."""
        return self.some(context, range(context.narration.segment.start, context.narration.segment.stop))

    def plan(self, context: Context, step: int) -> Plan | None:
        """The moves suggested at `step`; None where no action differs from the one taken.

        Every number of moves up to `max_moves`, every hold in range and every action are equally likely, but two
        moves in a row differ, and nothing is suggested that holds the action taken for one step only.
        """
        agents, names, rng = context.agents, context.environment.actions.names, self.rng(context, step)
        taken = context.taken(step)
        if all(name == taken for name in names):
            return None
        count = int(rng.integers(1, agents.max_moves + 1))
        moves: list[Move] = []
        while len(moves) < count:
            hold = int(rng.integers(agents.min_hold, agents.max_hold + 1))
            barred = moves[-1][0] if moves else taken if hold == 1 and count == 1 else None
            choice = [name for name in names if name != barred]
            moves.append((choice[int(rng.integers(len(choice)))], hold))
        return Plan(moves)

    def some(self, context: Context, steps: Sequence[int]) -> list[Case]:
        """At most `max_critical` of `steps`, drawn uniformly, each as important as the others."""
        count = min(context.agents.max_critical, len(steps))
        chosen = sorted(self.rng(context).permutation(len(steps))[:count].tolist())
        return [Case(self.why, steps[index], 1.0) for index in chosen]

    def rng(self, context: Context, *address: int) -> np.random.Generator:
        """A generator of this segment's own."""
        return self._streams.generator(context.segment, *address)


class Value(Random):
    """The steps over which the policy's own value estimate fell most; random actions there.

    A step's importance is its fall divided by the segment's largest. Where the policy has no value function, or it
    never falls, there is nowhere to look and nothing is proposed.
    """

    why = "the policy's value estimate fell here"

    def cases(self, context: Context) -> list[Case]:
        """At most `max_critical` steps with the largest fall of value to the next step, in order of time."""
        segment, values = context.narration.segment, np.asarray(context.trajectory.values, dtype=np.float64)
        falls = values[:-1] - values[1:]  # what follows the last step was not seen by the policy
        steps = [step for step in range(segment.start, min(segment.stop, len(falls))) if falls[step] > 0]
        steps = sorted(steps, key=lambda step: (-falls[step], step))[: context.agents.max_critical]
        return [Case(self.why, step, float(falls[step] / falls[steps[0]])) for step in sorted(steps)]


@dataclass(frozen=True, eq=False)
class Followed:
    """What an expert did when it was let play on from a stored state.

    Attributes:
        actions: `(m, ...)`.
        env_steps: Environment steps that cost.
    """

    actions: Array
    env_steps: int


Follow: TypeAlias = Callable[[Trajectory, int, int, Callable[[Array], Array]], Followed]
"""Trajectory, step, number of steps, observations -> actions: lets an expert play on in the simulator."""


class Oracle(Random):
    """Steps where the expert would have done something else; what it does when it plays on from there.

    Args:
        streams: Source of the choice among those steps.
        environment: Knows the expert.
        follow: Lets the expert play on in the simulator; None asks it along the states the policy met instead, which
            are not those its own actions lead to.
        length: Steps of a plan.
    """

    why = "the expert would have acted otherwise"

    def __init__(self, streams: Streams, environment: Environment, follow: Follow | None, length: int) -> None:
        super().__init__(streams)
        self._follow, self._length = follow, length
        if "expert" not in capabilities(environment):
            raise PluginError(
                f"the environment {plugin_name(environment)} knows no expert",
                expected="an environment that overrides expert()",
                hint="set proposer to llm, random or value",
            )
        with asking(environment, "expert()"):
            self._expert: Callable[[Array], Array] = environment.expert()
        self._lock = threading.Lock()

    def cases(self, context: Context) -> list[Case]:
        """Some of the steps where the expert differs from the policy."""
        segment = context.narration.segment
        wanted = self._wanted(context, segment.start, segment.stop)
        return self.some(
            context, [step for step, name in enumerate(wanted, segment.start) if name != context.taken(step)]
        )

    def plan(self, context: Context, step: int) -> Plan | None:
        """The expert's actions from `step` on, run-length encoded; it is not bound to the advisor's numbers."""
        if self._follow is None:
            stop = min(step + self._length, len(context.trajectory))
            return Plan([(name, len(list(run))) for name, run in groupby(self._wanted(context, step, stop))])
        with self._lock, asking(context.environment, "expert()"):
            followed = self._follow(context.trajectory, step, self._length, self._expert)
            names = [context.environment.actions.spell(action) for action in followed.actions]
        return Plan([(name, len(list(run))) for name, run in groupby(names)], followed.env_steps)

    def _wanted(self, context: Context, start: int, stop: int) -> list[str]:
        """Names of the expert's actions at the steps `start .. stop - 1`."""
        with self._lock, asking(context.environment, "expert()"):
            actions = np.asarray(self._expert(context.trajectory.observations[start:stop]))
            return [context.environment.actions.decode(action) for action in actions]
