"""The controls beside the language models: `random`, `value`, `search`, an `oracle` (not part of the ULTRA paper).

They go through the same graph, the same test and the same rules as the models' suggestions; only the three nodes that
decide are exchanged. A language model is worth its tokens by what it adds over `random`; `value` looks where the
policy itself saw its prospects fall; `search` looks there too, and the simulator finds the plan; `oracle`, where an
environment knows an expert, does what it would. Controls do not revise: as many suggestions per segment as an
identifier may name critical states, one for each state. All have the implicit reward +1, the policy's actions -1. All
draw from streams of their own, so equal seeds and segments give equal proposals, whatever runs beside them.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from ultra_agents.agents.state import Context, State, case_of
from ultra_agents.contracts import Environment, capabilities
from ultra_agents.errors import PluginError
from ultra_agents.events import StepsSpent
from ultra_agents.plugin_calls import asking, plugin_name
from ultra_agents.records import Array, CriticalState, Critique, Move, Plan, Searched, Trajectory
from ultra_agents.records.plans import NO_STATE
from ultra_agents.seeding import Streams
from ultra_agents.text import valid_text

if TYPE_CHECKING:
    from langgraph.runtime import Runtime

    from ultra_agents.agents.graph import Roles

ControlName: TypeAlias = Literal["random", "value", "search", "oracle"]


@dataclass(frozen=True)
class Proposal:
    """What a control suggests at one step.

    Attributes:
        plan: The moves; None where it has nothing to suggest.
        env_steps: Environment steps it took to find them, or to find nothing.
        search: The search that found them, where one did.
        reason: Why there are none, short and countable.
    """

    plan: Plan | None
    env_steps: int = 0
    search: Searched | None = None
    reason: str = "no other action"


class Control(ABC):
    """Who proposes without asking a model.

    Attributes:
        name: As explanations name their source.
        settings: What its proposals depend on, as JSON.
    """

    name: ClassVar[str]
    why: ClassVar[str]

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """What its proposals depend on, as JSON."""

    @abstractmethod
    def critical_states(self, context: Context) -> list[CriticalState]:
        """At most `max_critical` steps of the segment, in order of time."""

    @abstractmethod
    def propose(self, context: Context, step: int) -> Proposal | None:
        """What to do at `step`; None where nothing differs from what the policy did."""


def roles_of(control: Control) -> Roles:
    """The nodes that decide, as `control` decides."""
    from ultra_agents.agents.advisor import suggested
    from ultra_agents.agents.critic import judged
    from ultra_agents.agents.decisions import refuse
    from ultra_agents.agents.graph import Roles
    from ultra_agents.agents.identifier import named

    def identify(state: State, runtime: Runtime[Context]) -> Any:
        context = runtime.context
        context.check()
        return named(context, control.critical_states(context))

    def advise(state: State, runtime: Runtime[Context]) -> Any:
        context, case = runtime.context, case_of(state)
        context.check()
        made = control.propose(context, case.step) or Proposal(None)
        if made.search is not None:
            context.emit(StepsSpent("search", made.env_steps, f"{context.segment} {case.step}"))
        if made.plan is None:
            spent: State = {"env_steps": made.env_steps}
            return refuse(state, context, case, "advise", made.reason, "", judged=False, told=False, update=spent)
        return suggested(state, context, made.plan, control.why, made.env_steps, made.search)

    def criticise(state: State, runtime: Runtime[Context]) -> Any:
        return judged(state, runtime.context, Critique("accept", 1.0, -1.0, "a control has no critic"))

    return Roles(identify, advise, criticise)


class Random(Control):
    """Any step; any action for any hold, the action taken too where it is to be held."""

    name = "random"
    why = "chosen at random"

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    @property
    def settings(self) -> Mapping[str, Any]:
        """The stream it draws from."""
        return {"seed": self._streams.seed, "stream": list(self._streams.path)}

    def critical_states(self, context: Context) -> list[CriticalState]:
        """At most `max_critical` steps of the segment, in order of time."""
        return self.some(context, range(context.narration.segment.start, context.narration.segment.stop))

    def propose(self, context: Context, step: int) -> Proposal | None:
        """The moves suggested at `step`; None where no action differs from the one taken.

        Every number of moves up to `max_moves`, every hold in range and every action are equally likely, but two
        moves in a row differ, all end within `plan_steps`, and nothing is suggested that holds the action taken for
        one step only.
        """
        agents, names, rng = context.agents, context.environment.actions.names, self.rng(context, step)
        taken = context.taken(step)
        if all(name == taken for name in names):
            return None
        count = int(rng.integers(1, agents.max_moves + 1))
        moves: list[Move] = []
        left = agents.plan_steps or count * agents.max_hold
        while len(moves) < count and left >= agents.min_hold:
            hold = int(rng.integers(agents.min_hold, min(agents.max_hold, left) + 1))
            left -= hold
            barred = moves[-1][0] if moves else taken if hold == 1 and count == 1 else None
            choice = [name for name in names if name != barred]
            moves.append((choice[int(rng.integers(len(choice)))], hold))
        return Proposal(Plan.of(moves))

    def some(self, context: Context, steps: Sequence[int]) -> list[CriticalState]:
        """At most `max_critical` of `steps`, drawn uniformly, each as important as the others."""
        count = min(context.agents.max_critical, len(steps))
        chosen = sorted(self.rng(context).permutation(len(steps))[:count].tolist())
        return [CriticalState(steps[index], self.why, 1.0) for index in chosen]

    def rng(self, context: Context, *address: int) -> np.random.Generator:
        """A generator of this segment's own."""
        return self._streams.generator(context.segment, *address)


class Value(Random):
    """The steps over which the policy's own value estimate fell most; random actions there.

    A step's importance is its fall divided by the segment's largest. Where the policy has no value function, or it
    never falls, there is nowhere to look and nothing is proposed.
    """

    name = "value"
    why = "the policy's value estimate fell here"

    def critical_states(self, context: Context) -> list[CriticalState]:
        """At most `max_critical` steps with the largest fall of value to the next step, in order of time."""
        segment, values = context.narration.segment, np.asarray(context.trajectory.values, dtype=np.float64)
        falls = values[:-1] - values[1:]  # what follows the last step was not seen by the policy
        steps = [step for step in range(segment.start, min(segment.stop, len(falls))) if falls[step] > 0]
        steps = sorted(steps, key=lambda step: (-falls[step], step))[: context.agents.max_critical]
        return [CriticalState(step, self.why, float(falls[step] / falls[steps[0]])) for step in sorted(steps)]


class Search(Value):
    """The steps that `Value` chooses; the plan that earned most there in a search, which asks nobody.

    Args:
        streams: Unused but by the settings: a search draws from a stream of its own.
        find: Trajectory, step -> what the simulator found; None where it cannot be asked.
        numbers: What a search depends on, as JSON.
    """

    name = "search"
    why = "it earned most in the simulator's search"

    def __init__(
        self, streams: Streams, find: Callable[[Trajectory, int], Searched] | None, numbers: Mapping[str, Any]
    ) -> None:
        super().__init__(streams)
        self._find, self._numbers = find, numbers

    @property
    def settings(self) -> Mapping[str, Any]:
        """The stream, the numbers of the search, and whether there is a simulator."""
        return {**super().settings, **self._numbers, "searches": self._find is not None}

    def critical_states(self, context: Context) -> list[CriticalState]:
        """As `Value`."""
        return [replace(one, rationale=Value.why) for one in super().critical_states(context)]

    def propose(self, context: Context, step: int) -> Proposal | None:
        """What the search found at `step`; no plan where it found no gain, or had nothing to search with."""
        if self._find is None:
            return Proposal(None, reason=NO_STATE)
        found = self._find(context.trajectory, step)
        return Proposal(found.plan, found.env_steps, found, found.reason)


@dataclass(frozen=True, eq=False)
class ExpertRollout:
    """What an expert did when it was let play on from a stored state.

    Attributes:
        actions: `(m, ...)`.
        env_steps: Environment steps that cost.
    """

    actions: Array
    env_steps: int


PlayExpert: TypeAlias = Callable[[Trajectory, int, int, Callable[[Array], Array]], ExpertRollout]
"""Trajectory, step, number of steps, observations -> actions: lets an expert play on in the simulator."""


class Oracle(Random):
    """Steps where the expert would have done something else; what it does when it plays on from there.

    Args:
        streams: Source of the choice among those steps.
        environment: Knows the expert.
        play: Lets the expert play on in the simulator; None asks it along the states the policy met instead, which
            are not those its own actions lead to.
        length: Steps of a plan.
    """

    name = "oracle"
    why = "the expert would have acted otherwise"

    def __init__(self, streams: Streams, environment: Environment, play: PlayExpert | None, length: int) -> None:
        super().__init__(streams)
        self._play, self._length = play, length
        if "expert" not in capabilities(environment):
            raise PluginError(
                f"the environment {plugin_name(environment)} knows no expert",
                expected="an environment that overrides expert()",
                hint="set proposer to llm, random, value or search",
            )
        with asking(environment, "expert()"):
            self._expert: Callable[[Array], Array] = environment.expert()
        self._lock = threading.Lock()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The stream it draws from, the length of its plans, and whether it plays them in the simulator."""
        return {**super().settings, "length": self._length, "plays": self._play is not None}

    def critical_states(self, context: Context) -> list[CriticalState]:
        """Some of the steps where the expert differs from the policy."""
        segment = context.narration.segment
        wanted = self._wanted(context, segment.start, segment.stop)
        return self.some(
            context, [step for step, name in enumerate(wanted, segment.start) if name != context.taken(step)]
        )

    def propose(self, context: Context, step: int) -> Proposal | None:
        """The expert's actions from `step` on, run-length encoded; it is not bound to the advisor's numbers."""
        if self._play is None:
            stop = min(step + self._length, len(context.trajectory))
            return Proposal(_run_lengths(self._wanted(context, step, stop)))
        with self._lock, asking(context.environment, "expert()"):
            played = self._play(context.trajectory, step, self._length, self._expert)
            names = [context.environment.actions.spell(action) for action in played.actions]
        return Proposal(_run_lengths(names), played.env_steps)

    def _wanted(self, context: Context, start: int, stop: int) -> list[str]:
        """Names of the expert's actions at the steps `start .. stop - 1`."""
        with self._lock, asking(context.environment, "expert()"):
            actions = np.asarray(self._expert(context.trajectory.observations[start:stop]))
            return [valid_text(context.environment.actions.decode(action)) for action in actions]


def _run_lengths(names: Sequence[str]) -> Plan:
    return Plan(tuple((name, len(list(run))) for name, run in groupby(names)))
