"""A scripted model that calls tools before it answers about the corridor: every tool once, then the answer.

For the provider `scripted` (`callable: "ultra_agents.testing.corridor_tools:asks"`) with `agents.tools`. Nothing here
is a language model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ultra_agents.testing.corridor_script import good

Reply = dict[str, Any] | str


def asks(messages: Sequence[Any], schema: dict[str, Any] | None) -> Reply:
    """Look at the data, then try things, then answer with the schema."""
    if schema is not None:
        return good(messages, schema)
    turns = sum(role == "assistant" for role, _ in messages)
    asked = "\n".join(text for role, text in messages if role == "user")
    found = re.search(r"^Step (\d+):", asked, re.MULTILINE)
    if turns == 0:
        return calls(("data", {"expression": "cell", "where": "reward < 0", "by": "action"}))
    if turns == 1 and found:
        moves = [{"action": "RIGHT", "hold": 3}]
        return calls(
            ("try_moves", {"step": int(found[1]), "moves": moves}),
            ("effect", {"action": "RIGHT", "hold": 2, "where": ""}),
        )
    if turns == 1:
        return calls(("try_rule", {"rule": "when: cell >= 0\ndo: RIGHT", "where": "steps_left > 2"}))
    return "I know enough."


def nonsense(messages: Sequence[Any], schema: dict[str, Any] | None) -> Reply:
    """Calls that cannot be carried out, one of each kind, then the answer."""
    if schema is not None:
        return good(messages, schema)
    turns = sum(role == "assistant" for role, _ in messages)
    return calls(*NONSENSE[turns]) if turns < len(NONSENSE) else "I give up."


def repeats(messages: Sequence[Any], schema: dict[str, Any] | None) -> Reply:
    """The same call again and again."""
    if schema is not None:
        return good(messages, schema)
    return calls(("data", {"expression": "cell", "where": "", "by": ""}))


def crowds(messages: Sequence[Any], schema: dict[str, Any] | None) -> Reply:
    """More calls in one turn than are carried out, then the answer."""
    if schema is not None:
        return good(messages, schema)
    if any(role == "assistant" for role, _ in messages):
        return "I know enough."
    return calls(*(("data", {"expression": f"cell + {number}", "where": "", "by": ""}) for number in range(10)))


def calls(*wanted: tuple[str, Any]) -> dict[str, Any]:
    """A turn that calls these tools; text in the place of arguments is sent as it is."""
    return {"tool_calls": [{"name": name, "arguments": arguments} for name, arguments in wanted]}


NONSENSE: tuple[tuple[tuple[str, Any], ...], ...] = (
    (
        ("erase\ndisk", {"path": "/"}),
        ("data", '{"expression": "cell"'),
        ("data", {"expression": "1 / (cell - cell)", "where": ""}),
        ("data", {"expression": "cell", "where": "__import__('os')"}),
        ("data", {"expression": "x" * 10**6}),
        ("data", {"expression": "cell / 0"}),
        ("try_moves", {"step": 10**9, "moves": [{"action": "RIGHT", "hold": 1}]}),
    ),
    (
        ("try_moves", {"step": 0, "moves": [{"action": "FLY", "hold": 1}]}),
        ("try_moves", {"step": 0, "moves": [{"action": "RIGHT", "hold": 10**9}]}),
        ("try_moves", {"step": -1, "moves": []}),
        ("try_rule", {"rule": "when: cell >\ndo: RIGHT"}),
        ("try_rule", {"rule": "rules: &a [*a, *a]"}),
        ("try_rule", {"rule": "when: cell < -5\ndo: RIGHT"}),
        ("effect", {"action": "FLY", "hold": 2}),
        ("effect", {"action": "RIGHT", "hold": 2, "where": "cell > 10000"}),
    ),
)
