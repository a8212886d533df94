"""A model consults its tools before it answers: turns of calls and results, until it knows enough or may ask no more.

What becomes of a question without tools is not touched: it is asked in the same words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from langgraph.types import Command

from ultra_agents.agents.prompts import Message
from ultra_agents.agents.tools.toolbox import Result, Share, Toolbox
from ultra_agents.events import Emit, StepsSpent
from ultra_agents.llm.structured import ReplyDropped, reply_schema
from ultra_agents.llm.tools import CALLS, RESULT, calls_text, in_words
from ultra_agents.records import Trajectory
from ultra_agents.text import clean, parsed_json

if TYPE_CHECKING:
    from ultra_agents.agents.state import Answer, AsksModels

STAGE = "tools"
"""Under which drops and environment steps of tools are counted."""
ENOUGH = "No further calls can be made. Answer the question now, as you were asked to."
REPEATED, SPENT, CROWDED = "call repeated", "tool budget spent", "too many calls at once"
IN_A_TURN = 8
"""Calls of one turn that are carried out."""
LATER = f"Not carried out: a turn carries out its first {IN_A_TURN} calls. Make this one again in your next turn."


class Consults(Protocol):
    """What is needed of the context of a node; those of moves and of rules have it."""

    @property
    def tools(self) -> Toolbox | None:
        """The tools, where there are any."""
        ...

    @property
    def gateway(self) -> AsksModels:
        """The models."""
        ...

    @property
    def trajectory(self) -> Trajectory:
        """The episode that the conversation is about."""
        ...

    @property
    def emit(self) -> Emit:
        """Where events go."""
        ...

    def chain(self, role: Any) -> list[str]:
        """Names of the models to ask in turn."""
        ...

    def check(self) -> None:
        """Raise `Interrupted` if the run is to stop."""
        ...

    def noted(self, stage: str, reason: str, detail: str = "", *, work: str) -> dict[str, Any]:
        """Tell that something was not used; the `Note` for the state."""
        ...


@dataclass(frozen=True)
class Consulted:
    """What came of consulting.

    Attributes:
        ask: Asks the question in other words: messages -> the answer.
        messages: What the question has become: as it was, or with what the tools said.
        value: The reply, where the model has given it already.
        problem: Why the question is dropped, where it is.
        calls: Calls that were made.
        steps: Environment steps they took.
        notes: What was not carried out, as `Note`s.
    """

    ask: Callable[[list[Message]], Answer]
    messages: list[Message]
    value: Any = None
    problem: ReplyDropped | None = None
    calls: int = 0
    steps: int = 0
    notes: list[dict[str, Any]] = field(default_factory=list)

    def reply(self) -> Any:
        """The reply, asked for where it is not there yet; raises `ReplyDropped`."""
        if self.problem is not None:
            raise self.problem
        return self.ask(self.messages).value if self.value is None else self.value

    def into(self, command: Command[Any]) -> Command[Any]:
        """`command`, whose update charges what was consulted as well."""
        if not self.calls and not self.notes:
            return command
        update: Mapping[str, Any] = command.update or {}
        charged = {
            "env_steps": update.get("env_steps", 0) + self.steps,
            "tool_calls": self.calls,
            "tool_steps": self.steps,
            "notes": [*self.notes, *update.get("notes", [])],
        }
        return replace(command, update={**update, **charged})


def consult(
    context: Consults,
    state: Any,
    role: str,
    segment: str,
    messages: Sequence[Message],
    reply: type[Any],
    step: int | None = None,
    work: str = "",
) -> Consulted:
    """Let an agent use its tools before it answers.

    Args:
        context: What the nodes work with.
        state: Of the segment or episode; it knows what its conversation has used so far.
        role: Who asks.
        segment: About what.
        messages: The question.
        reply: What the answer must be.
        step: The environment step it is about, where it is about one.
        work: Names the question within its segment.

    Raises:
        UltraError: As those of the gateway and of plugins.
    """
    plain, box, models = list(messages), context.tools, context.chain(role)

    def ask(asked: list[Message]) -> Answer:
        return context.gateway.ask(agent=role, segment=segment, models=models, messages=asked, reply=reply, step=step)

    if box is None or not box.offered(role, models):
        return Consulted(ask, plain)
    before = Share(state.get("tool_calls", 0), state.get("tool_steps", 0))
    left = Share(box.share.calls - before.calls, box.share.steps - before.steps)
    if left.calls <= 0:
        return Consulted(ask, plain)
    consultation = _Consultation(context, box, segment, f"{role} {work}".strip(), left)
    asked = [*plain[:-1], (plain[-1][0], f"{plain[-1][1]}\n\n{box.guidance(left, json.dumps(reply_schema(reply)))}")]
    said: list[Message] = []
    value, problem = None, None
    try:
        for _ in range(box.config.rounds):
            context.check()
            turn = box.gateway.turn(
                agent=role, segment=segment, models=models, messages=[*asked, *said], tools=box.tools, reply=reply,
                step=step,
            )  # fmt: skip
            value = turn.value
            if not turn.calls:
                break
            results = [consultation.call(*call, place) for place, call in enumerate(turn.calls)]
            said += [(CALLS, calls_text(turn.said, turn.calls)), *((RESULT, one.text) for one in results)]
            if all(one.refused in (REPEATED, SPENT) for one in results):
                break
    except ReplyDropped as dropped:
        problem = dropped
    final = [*plain, *in_words([*said, ("user", ENOUGH)])] if said else plain
    return Consulted(ask, final, value, problem, consultation.calls, consultation.steps, consultation.notes)


class _Consultation:
    """Carries out the calls of one question and counts them."""

    def __init__(self, context: Consults, box: Toolbox, segment: str, work: str, left: Share) -> None:
        self._context, self._box, self._segment, self._work, self._left = context, box, segment, work, left
        self._made: set[str] = set()
        self._asked = self.calls = self.steps = 0
        self.notes: list[dict[str, Any]] = []

    def call(self, name: str, arguments: str, place: int) -> Result:
        """Carry out one call, the one at `place` of its turn; every refusal is a drop that is counted."""
        self._asked += 1
        work = f"{self._work} call {self._asked}"
        result = self._carried_out(name, arguments) if place < IN_A_TURN else Result(LATER, 0, CROWDED)
        if result.refused:
            detail = f"{name}: {result.text}"
            self.notes.append(self._context.noted(STAGE, result.refused, clean(detail, 300), work=work))
        if result.env_steps:
            self._context.emit(StepsSpent(STAGE, result.env_steps, f"{self._segment} {work}"))
        return result

    def _carried_out(self, name: str, arguments: str) -> Result:
        same = f"{name} {_canonical(arguments)}"
        if same in self._made:
            return Result("You made this very call before; its result is above. Answer now.", 0, REPEATED)
        if self.calls >= self._left.calls:
            return Result("No calls are left for this conversation. Answer now.", 0, SPENT)
        self._made.add(same)
        self.calls += 1
        result = self._box.run(name, arguments, self._context.trajectory, self._left.steps - self.steps)
        self.steps += result.env_steps
        return result


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(parsed_json(arguments), sort_keys=True)
    except ValueError:
        return arguments
