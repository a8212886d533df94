"""Everything the tools of a run work with; what a call costs is known before it is carried out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ultra_agents.agents.prompts import TOOLS_PROMPTS, fingerprint, load_prompt
from ultra_agents.agents.tools import simulated
from ultra_agents.agents.tools.arguments import (
    DataArguments,
    EffectArguments,
    MovesArguments,
    RuleArguments,
    ToolRefused,
    read_arguments,
    tools_of,
)
from ultra_agents.agents.tools.collected import BESIDE, Collected
from ultra_agents.agents.tools.data import table
from ultra_agents.config import AgentsConfig, ToolsConfig, VerificationConfig
from ultra_agents.config.tools import ToolName
from ultra_agents.contracts import Environment, Policy, capabilities
from ultra_agents.effects import measure_action, steps_of_action
from ultra_agents.records import Array, Plan, Suggestion, Trajectory
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.text import clean
from ultra_agents.verification.paired import Horizon
from ultra_agents.verification.trying import Tried, try_from
from ultra_agents.verification.validity import refusal

FEWEST = 2
"""Replays, or states, that a call is played in at least; fewer than are configured where the budget ends."""
SIMULATED: tuple[ToolName, ...] = ("effect", "try_moves", "try_rule")
OF_QUANTITIES: tuple[ToolName, ...] = ("effect", "try_rule")
"""Tools that have nothing to say where the environment names no quantities."""


class Turn(Protocol):
    """A turn of a model: it calls tools, has given the reply, or neither."""

    @property
    def said(self) -> str:
        """What it said beside its calls."""
        ...

    @property
    def calls(self) -> Sequence[tuple[str, str]]:
        """Names with arguments as text."""
        ...

    @property
    def value(self) -> Any:
        """The reply; None where there is none yet."""
        ...


class AsksInTurns(Protocol):
    """What tools need of the gateway (`ultra_agents.llm.gateway.Gateway`)."""

    def calls_tools(self, models: Sequence[str | None]) -> bool:
        """Whether the first of a chain of models is offered tools."""
        ...

    def turn(
        self,
        *,
        agent: str,
        segment: str,
        models: Sequence[str | None],
        messages: Sequence[tuple[str, str]],
        tools: Sequence[Any],
        reply: type[Any],
        step: int | None = None,
    ) -> Turn:
        """Ask once, with tools to call."""
        ...


@dataclass(frozen=True)
class Share:
    """Calls and environment steps: of a conversation, what it may use or has used."""

    calls: int
    steps: int


@dataclass(frozen=True)
class Result:
    """What a model is told of a call.

    Attributes:
        text: In its words.
        env_steps: Environment steps it took.
        refused: Why it was not carried out, as a countable reason; empty where it was.
    """

    text: str
    env_steps: int = 0
    refused: str = ""


class Toolbox:
    """The tools of a run, called from several threads, of which one plays at a time; a context manager.

    A result depends on the call, the episodes and the streams only, not on what was called before: a replay tells a
    model what the run told it.

    Args:
        gateway: The models.
        config: Which tools, for whom, and what they may cost.
        environment: Names quantities and actions.
        policy: Whose episodes these are.
        trajectories: The collected episodes.
        streams: Source of all randomness; not that of the tests.
        agents: What may be suggested.
        verification: Horizon and discount of `try_moves`.
        conversations: How many there are, which share the calls and steps of the run evenly.
        most_steps: Environment steps of all calls of the run.
        restores: Whether states can be restored; without that only `data` is offered.
    """

    def __init__(
        self,
        *,
        gateway: AsksInTurns,
        config: ToolsConfig,
        environment: Environment,
        policy: Policy,
        trajectories: Sequence[Trajectory],
        streams: Streams,
        agents: AgentsConfig,
        verification: VerificationConfig,
        conversations: int,
        most_steps: int,
        restores: bool = True,
    ) -> None:
        self.gateway, self.config = gateway, config
        self._environment, self._policy, self._streams = environment, policy, streams
        self._agents, self._verification = agents, verification
        self._collected = Collected(environment, trajectories)
        count = max(conversations, 1)
        self.share = Share(config.calls // count, most_steps // count)
        lacking: set[ToolName] = set() if restores else set(SIMULATED)
        if self._collected.rules is None:
            lacking |= {"try_rule"}
        if "quantities" not in capabilities(environment):
            lacking |= {*OF_QUANTITIES}
        self.names: tuple[ToolName, ...] = tuple(name for name in config.use if name not in lacking)
        self._playing = threading.Lock()
        self._simulators: dict[int, Simulators] = {}

    def __enter__(self) -> Toolbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the simulators."""
        with self._playing:
            for simulators in self._simulators.values():
                simulators.close()
            self._simulators.clear()

    @cached_property
    def tools(self) -> tuple[dict[str, Any], ...]:
        """The tools as models are offered them."""
        return tools_of(self.names)

    @property
    def settings(self) -> dict[str, Any]:
        """What of the tools a conversation depends on, as JSON."""
        return {
            "prompts": fingerprint(TOOLS_PROMPTS),
            "names": self.names,
            "share": [self.share.calls, self.share.steps],
        }

    def offered(self, role: str, models: Sequence[str]) -> bool:
        """Whether an agent with this chain of models is offered tools."""
        return bool(self.names) and role in self.config.roles and self.gateway.calls_tools(models)

    def guidance(self, left: Share, schema: str) -> str:
        """What a model is told beside its question."""
        interface = self._collected.interface
        legend = self._environment.legend if "quantities" in capabilities(self._environment) else {}
        rows = []
        for name, one in legend.items():
            unit, sign = f" [{one.unit}]" if one.unit != "1" else "", f", + {one.sign}" if one.sign else ""
            rows.append(clean(f"{name}: {one.meaning}{unit}{sign}"))
        rows += [f"{name}: {meaning}" for name, meaning in BESIDE.items() if name not in legend]
        own = ", ".join(f"own.{name}" for name in interface.components)
        if own:
            own += ": the parts of the policy's action"
        if interface.words:
            own = f"own == NAME: the policy's action is NAME, one of {', '.join(interface.words)}"
        ((_, text),) = load_prompt("tools").fill(
            quantities="\n".join(rows), own=own, rounds=self.config.rounds, calls=left.calls, steps=left.steps,
            schema=schema,
        )  # fmt: skip
        return text

    def run(self, name: str, arguments: str, trajectory: Trajectory, steps_left: int) -> Result:
        """Carry out a call, or say in a line why not; never raises for what a model wrote.

        Args:
            name: The tool.
            arguments: JSON text, as the model wrote it.
            trajectory: The episode that the conversation is about.
            steps_left: Environment steps it may take.

        Raises:
            EnvironmentFault: The plugin failed.
        """
        try:
            asked = read_arguments(name, arguments, self.names)
            match asked:
                case DataArguments():
                    return Result(table(self._collected, asked))
                case EffectArguments():
                    return self._effect(asked, steps_left)
                case MovesArguments():
                    return self._moves(asked, trajectory, steps_left)
                case RuleArguments():
                    return self._rule(asked, steps_left)
        except ToolRefused as refused:
            return Result(refused.text, 0, refused.reason)

    def _moves(self, asked: MovesArguments, trajectory: Trajectory, steps_left: int) -> Result:
        environment = self._environment
        plan = simulated.plan_of(environment, trajectory, asked, self._agents)
        if trajectory.snapshots is None:
            raise ToolRefused("no such state", "This episode was collected without simulator states.")
        steps = plan.steps + self._verification.horizon
        pairs = _affordable(self.config.pairs, 2 * steps, steps_left)
        actions = environment.actions.encode_plan(plan.moves)

        def instead(_: Array, own: Array, time: int) -> Array:
            return own if time >= len(actions) else np.repeat(actions[time][None], len(own), axis=0).astype(own.dtype)

        addresses = [(trajectory.episode, asked.step, pair) for pair in range(pairs)]
        tried = self._tried([trajectory.snapshots[asked.step]] * pairs, instead, addresses, steps, self.config.pairs)
        begin = f"{plan} from step {asked.step}, then the policy"
        return Result(simulated.told(tried, begin, "with the moves", environment, plan.steps, steps), tried.env_steps)

    def _rule(self, asked: RuleArguments, steps_left: int) -> Result:
        layer = simulated.layer_of(self._collected, asked, self._policy)
        chosen = simulated.acts_at(self._collected, layer, asked)
        window = self.config.window
        count = _affordable(self.config.states, 2 * window, steps_left)
        states = self._collected.stored(chosen, count)
        addresses = [(one.episode, step, 0) for one, step in states]
        tried = self._tried(
            [(one.snapshots or ())[step] for one, step in states],
            lambda seen, own, _: layer.over(seen, own)[0],
            addresses, window, self.config.states,
        )  # fmt: skip
        rules = len(layer.rules.document.rules)
        begin = f"{'The rule' if rules == 1 else f'{rules} rules'} in force over the policy"
        if asked.where.strip():
            begin += f", from states where {clean(asked.where, 80)}"
        acting = f"It would act otherwise than the policy at {int(chosen.sum()):,} of {len(chosen):,} collected steps."
        text = simulated.told(tried, begin, "with the rule", self._environment, None, window)
        return Result(f"{acting}\n{text}", tried.env_steps)

    def _effect(self, asked: EffectArguments, steps_left: int) -> Result:
        collected, environment = self._collected, self._environment
        count = _affordable(self.config.states, steps_of_action(environment, asked.action), steps_left)
        states = collected.stored(collected.where(asked.where), count)
        if len(states) < 2:
            raise ToolRefused("no such state", "Only one stored state is like that: nothing can be said of an effect.")
        one, step = states[0]
        if refusal(environment, one, Suggestion(one.episode, step, Plan.of([(asked.action, asked.hold)]))):
            names = ", ".join(environment.actions.names[:30])
            raise ToolRefused("unknown action", f"No action is called {asked.action!a}; there are: {names}.")
        with self._playing:
            found = measure_action(
                asked.action, asked.hold, states, collected.trajectories, environment=environment,
                policy=self._policy, simulators=self._room(2 * self.config.states),
                streams=self._streams.child("effect"),
            )  # fmt: skip
        return Result(simulated.effect_told(found, asked, environment), found.env_steps)

    def _tried(
        self, snapshots: Sequence[bytes], instead: Callable[[Array, Array, int], Array],
        addresses: Sequence[tuple[int, ...]], steps: int, pairs: int,
    ) -> Tried:  # fmt: skip
        horizon = Horizon(steps, self._verification.discount)
        with self._playing:
            return try_from(snapshots, instead, self._policy, self._room(2 * pairs), self._streams, addresses, horizon)

    def _room(self, width: int) -> Simulators:
        if width not in self._simulators:
            self._simulators[width] = make_simulators(self._environment, width, 0)
        return self._simulators[width]


def _affordable(wanted: int, each: int, left: int) -> int:
    """How many replays of at most `each` environment steps are paid for, at most `wanted`.

    Raises:
        ToolRefused: Not even `FEWEST`, where as many are wanted.
    """
    count, least = min(wanted, left // each), min(wanted, FEWEST)
    if count < least:
        raise ToolRefused(
            "beyond the tool budget",
            f"That takes up to {least * each:,} environment steps, and {left:,} are left for this conversation.",
        )
    return count
