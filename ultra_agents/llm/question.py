"""One question on its way to a model, and the request it becomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ultra_agents.llm.tools import Tool

Messages: TypeAlias = list[tuple[str, str]]


@dataclass(frozen=True)
class Question:
    """Who asks what.

    Attributes:
        agent: Who asks.
        segment: About what.
        schema: JSON schema of the reply.
        title: The schema's.
        messages: `(role, text)`.
        stop: Polled; true ends the asking.
        step: The environment step it is about, where it is about one.
        attempt: 0, or 1 for the repair.
        digest: Names the question, whatever notes were read with it.
        notes: Ids of the notes of a person in its messages.
        tools: What may be called instead of replying; then `schema` is empty.
    """

    agent: str
    segment: str
    schema: dict[str, Any]
    title: str
    messages: Messages
    stop: Callable[[], bool] | None
    step: int | None = None
    attempt: int = 0
    digest: str = ""
    notes: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()

    def repair(self, messages: Messages) -> Question:
        """The second and last ask, in these words."""
        return replace(self, messages=messages, attempt=1)


@dataclass(frozen=True)
class Request:
    """What is sent.

    Attributes:
        messages: `(role, text)`.
        bound: The langchain chat model told what may come back.
        may_call: Tool calls that come back are calls, and not the reply's fields.
    """

    messages: Sequence[tuple[str, str]]
    bound: Callable[[Any], Any]
    may_call: bool = False
