"""Tool calls on their way to a model and back, as plain data: what is cached, replayed and written down.

Within a conversation two roles stand beside `system`, `user` and `assistant`: `tool_calls`, whose text is what
`calls_text` makes of a turn of the model, and `tool`, a result; results follow their calls in order. A server that
knows tool calls is sent them as such (`as_messages`); for every other reader they are put into words (`in_words`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from ultra_agents.text import parsed_json, valid_json, valid_text

Call: TypeAlias = tuple[str, str]
"""Name of the tool, and its arguments as the JSON text that the model wrote."""
Tool: TypeAlias = Mapping[str, Any]
"""`name`, `description` and `parameters`, a JSON schema."""

CALLS, RESULT = "tool_calls", "tool"
MAX_CALLS = 32
"""Calls of one turn that are kept; the others are left out unanswered. Fewer are carried out (`agents.tools`)."""
MAX_ARGUMENTS = 4000
"""Characters of a call's arguments; of longer ones the beginning is kept, which is no JSON."""
_SHOWN = 200
_MAX_SAID = 4000
"""Characters of what a model says beside its calls that stay in the conversation."""
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_IN_WORDS = """You may call tools. To call some, reply with one JSON object of this form and nothing else:
{{"tool_calls": [{{"name": "NAME", "arguments": {{...}}}}]}}
The tools, each with the JSON schema of its arguments:
{tools}"""


def calls_of(answer: Any, redact: Callable[[str], str] = str) -> tuple[Call, ...]:
    """The tool calls in a langchain message; those whose arguments are no JSON among them, as text."""
    found = [*(getattr(answer, "tool_calls", None) or ()), *(getattr(answer, "invalid_tool_calls", None) or ())]
    return tuple(_call(row.get("name"), row.get("args"), redact) for row in found[:MAX_CALLS])


def calls_in_text(objects: Sequence[Mapping[str, Any]], redact: Callable[[str], str] = str) -> tuple[Call, ...]:
    """The tool calls in a reply written as `{"tool_calls": [...]}`, given the JSON objects that were found in it."""
    for one in objects:
        rows = one.get("tool_calls")
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            return tuple(_call(row.get("name"), row.get("arguments"), redact) for row in rows[:MAX_CALLS])
    return ()


def _call(name: Any, arguments: Any, redact: Callable[[str], str]) -> Call:
    text = arguments if isinstance(arguments, str) else _as_json(arguments)
    text = redact(valid_text(text))
    if len(text) > MAX_ARGUMENTS:
        text = f"{text[:_SHOWN]} ... ({len(text):,} characters)"
    return _NO_NAME.sub("_", redact(str(name or "")))[:64] or "_", text


def _as_json(arguments: Any) -> str:
    try:
        return json.dumps(valid_json(arguments), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return f"{type(arguments).__name__} that is no JSON"


def calls_text(said: str, calls: Sequence[Call]) -> str:
    """A turn of a model as the text of a message of the role `tool_calls`."""
    return json.dumps({"said": said[:_MAX_SAID], "calls": [list(call) for call in calls]}, ensure_ascii=False)


def shown(calls: Sequence[Call]) -> str:
    """Calls for people, one a line."""
    return "\n".join(f"{name}({arguments})" for name, arguments in calls)


def as_messages(messages: Sequence[tuple[str, str]], as_recorded: bool = False) -> list[Any]:
    """The conversation in langchain's messages; calls are numbered here, whatever a server had called them.

    `as_recorded` leaves calls and results as they are, as messages of their roles, for what knows them by that.
    """
    from langchain_core.messages import AIMessage, ChatMessage, ToolMessage

    said: list[Any] = []
    if as_recorded:
        special = CALLS, RESULT
        return [ChatMessage(content=text, role=role) if role in special else [role, text] for role, text in messages]
    waiting: list[tuple[str, str]] = []
    number = 0
    for role, text in messages:
        if role == CALLS:
            row, calls, waiting = json.loads(text), [], []
            for name, arguments in row["calls"]:
                number += 1
                waiting.append((f"call{number:05d}", name))  # nine letters and digits: Mistral takes no other
                calls.append({"name": name, "args": _arguments(arguments), "id": waiting[-1][0], "type": "tool_call"})
            said.append(AIMessage(content=row["said"], tool_calls=calls))
        elif role == RESULT:
            identifier, name = waiting.pop(0)
            said.append(ToolMessage(content=text, tool_call_id=identifier, name=name))
        else:
            said.append([role, text])
    return said


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = parsed_json(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"unreadable": text[:_SHOWN]}


def in_words(messages: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The conversation without tool calls: the assistant says what it calls, the user what came of that."""
    said: list[tuple[str, str]] = []
    for role, text in messages:
        if role == CALLS:
            row = json.loads(text)
            said.append(("assistant", f"{row['said']}\n\nTool calls:\n{shown(row['calls'])}".strip()))
        elif role == RESULT and said[-1][0] == "user":
            said[-1] = ("user", f"{said[-1][1]}\n\n{text}")
        elif role == RESULT:
            said.append(("user", f"Results, in the order of the calls:\n\n{text}"))
        elif role == "user" and said and said[-1][0] == "user" and text:
            said[-1] = ("user", f"{said[-1][1]}\n\n{text}")
        else:
            said.append((role, text))
    return said


def told_in_words(messages: Sequence[tuple[str, str]], tools: Sequence[Tool]) -> list[tuple[str, str]]:
    """The conversation for a server without tool calls: its last message says which tools there are, and how."""
    *before, (role, text) = in_words(messages)
    rows = "\n".join(f"- {tool['name']}: {tool['description']} {json.dumps(tool['parameters'])}" for tool in tools)
    return [*before, (role, f"{text}\n\n{_IN_WORDS.format(tools=rows)}")]


def wire_form(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The tools as langchain's `bind_tools` takes them."""
    return [{"type": "function", "function": dict(tool)} for tool in tools]
