"""How much agents may say of their reasons, and what is kept of a longer one: never half a sentence."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_END = re.compile(r"[.!?][)\"'\u201d]?(?=\s|\Z)|\n")


def whole_sentences(text: Any, limit: int) -> Any:
    """The first sentences of `text`, `limit` characters of them; what is no text stays as it is.

    A first sentence that is longer is kept whole up to twice the limit. Only of a text without any end is the
    beginning kept, cut between two words and marked with `...`.
    """
    if not isinstance(text, str) or len(text := text.strip()) <= limit:
        return text
    ends = [match.end() for match in _END.finditer(text, 0, 2 * limit)]
    within = [end for end in ends if end <= limit]
    if within or ends:
        return text[: within[-1] if within else ends[0]].rstrip()
    return f"{text[: limit - 4].rsplit(None, 1)[0]} ..."


def reason(limit: int, *, lines: bool = False) -> Any:
    """The type of an agent's reasons; the schema says `limit`, longer ones are cut after a sentence.

    Args:
        limit: Characters.
        lines: Line breaks are kept.
    """

    def kept(text: Any) -> Any:
        joined = " ".join(text.split()) if isinstance(text, str) and not lines else text
        return whole_sentences(joined, limit)

    return Annotated[str, BeforeValidator(kept), Field(json_schema_extra={"maxLength": limit})]


def length_in_words(limit: int) -> str:
    """How long reasons should be, as agents are told."""
    return "a sentence or two" if limit < SHORT else f"at most {limit:,} characters"


SHORT = 500
"""Characters below which a number would be no help."""
