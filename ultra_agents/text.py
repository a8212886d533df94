"""Foreign text: made valid where it enters, made printable where it is shown.

Replies of models, words of plugins, bodies of servers and file names may hold halves of emoji, which no file can keep,
and escape sequences or bidirectional marks, which no terminal may receive.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

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


def json_row(line: str | bytes) -> dict[str, Any] | None:
    """The JSON object in a line of a log, with every text in it made valid; None where there is none."""
    try:
        row = json.loads(line)
        return valid_json(row) if isinstance(row, dict) else None
    except (ValueError, RecursionError):  # no JSON, a number too long for an integer, or lists in lists in lists
        return None


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
