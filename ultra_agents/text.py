"""Foreign text made valid once, where it enters: replies of models, words of plugins, bodies of servers."""

from __future__ import annotations

from typing import Any


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
