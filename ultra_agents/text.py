"""Foreign text: made valid where it enters, made printable where it is shown.

Replies of models, words of plugins, bodies of servers and file names may hold halves of emoji, which no file can keep,
and escape sequences or bidirectional marks, which no terminal may receive.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

MOST_LEVELS = 100
"""Lists in lists, or objects in objects, of foreign JSON; what this project writes has ten."""
_GONE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories of characters that can move the cursor, colour the terminal or reorder a line."""


def valid_text(text: str) -> str:
    """`text` as Unicode that can be encoded: halves of a surrogate pair joined, single ones as U+FFFD.

    JSON escapes (half an emoji, cut off) and files decoded with `surrogateescape` bring them in; UTF-8 cannot carry
    them out: writing such a text raises `UnicodeEncodeError`.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def valid_json(value: Any) -> Any:
    """`value` (JSON types) with every text in it, keys included, made valid; equal to it where all of them are."""
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, list):
        return [valid_json(item) for item in value]
    if isinstance(value, dict):
        return {valid_text(key): valid_json(item) for key, item in value.items()}
    return value


def parsed_json(text: str | bytes, parse_int: Callable[[str], Any] | None = None) -> Any:
    """What foreign JSON says; nothing in it is nested so deep that a function which calls itself could not walk it.

    Args:
        text: JSON; bytes are UTF-8, UTF-16 or UTF-32.
        parse_int: Makes an integer of its digits.

    Raises:
        ValueError: It is no JSON, holds an integer of more digits than Python reads, or lists in lists in lists.
    """
    try:
        value = json.loads(text, parse_int=parse_int)
    except RecursionError:
        value, opened = None, MOST_LEVELS + 1
    else:
        opened = text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
    if opened > MOST_LEVELS and (value is None or _levels(value) > MOST_LEVELS):
        raise ValueError(f"lists or objects nested more than {MOST_LEVELS} levels deep")
    return value


def _levels(value: Any) -> int:
    """How deep lists and objects are nested, at most one more than is allowed."""
    level, depth = [value], 0
    while depth <= MOST_LEVELS and (level := [one for one in level if isinstance(one, list | dict)]):
        depth += 1
        level = [part for one in level for part in (one.values() if isinstance(one, dict) else one)]
    return depth


def json_row(line: str | bytes) -> dict[str, Any] | None:
    """The JSON object in a line of a log, with every text in it made valid; None where there is none."""
    try:
        row = parsed_json(line)
    except ValueError:
        return None
    return valid_json(row) if isinstance(row, dict) else None


def counted(number: int, word: str) -> str:
    """`1 rule`, `3 rules`, `1,200 rules`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def spanned(value: float, low: float, high: float) -> str:
    """`+0.42 [+0.1, +0.74]`: a measured gain with its interval."""
    return f"{value:+.3g} [{low:+.3g}, {high:+.3g}]"


def printable(text: str) -> str:
    """`text` without control characters; spaces and line breaks are kept."""
    if text.isprintable():
        return text
    return "".join(char for char in text if char in " \n" or unicodedata.category(char) not in _GONE)


def clean(text: str, limit: int | None = None) -> str:
    """`text` on one line, without control characters, cut to `limit` characters with an ellipsis."""
    if limit is not None:
        text = text[: 4 * limit + 16]  # bounded work on a reply of any length
    spaced = "".join(" " if char in "\n\r\t\v\f" else char for char in text)
    line = " ".join(printable(spaced).split())
    if limit is not None and len(line) > limit:
        line = line[: max(limit - 1, 0)].rstrip() + "…"
    return line
