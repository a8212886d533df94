"""From a reply's pydantic model to the schema a server is given, and from its text back to a validated instance."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

MAX_REPLY_CHARS = 1_000_000
"""Longer replies are refused unread."""
_MAX_CANDIDATES = 64
"""Opening braces tried when a JSON object has to be found inside other text."""

Reply = TypeVar("Reply", bound=BaseModel)


class ReplyDropped(Exception):
    """A reply that could not be used, even after one repair; the run goes on without it.

    Args:
        reason: Short and countable: `empty reply`, `malformed reply`, `wrong fields`, `cut at max_tokens`, `too long`,
            `prompt too long`, `refused by the model`.
        detail: What exactly was wrong, for the log and for the repair ask.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip between processes."""
        return (type(self), (self.reason, self.detail))


def reply_schema(reply: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of `reply` in the form every server's grammar understands.

    `$defs` are inlined, titles and defaults removed, constants written as one-value enums, objects closed and all
    their properties required (in the order of the fields: rationale before decision). Bounds are kept.

    Raises:
        ValueError: The model refers to itself, which no grammar can bound.
    """
    schema = copy.deepcopy(reply.model_json_schema())
    tidy = _tidy(schema, schema.pop("$defs", {}), ())
    assert isinstance(tidy, dict)
    return tidy


def _tidy(node: Any, definitions: dict[str, Any], inside: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_tidy(item, definitions, inside) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = str(node["$ref"]).rpartition("/")[2]
        if name in inside:
            raise ValueError(f"the reply model refers to itself through {name}")
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return _tidy({**definitions[name], **rest}, definitions, (*inside, name))
    tidy: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            tidy[key] = {name: _tidy(field, definitions, inside) for name, field in value.items()}
        elif key == "const":
            tidy["enum"] = [value]
        elif key == "enum":
            tidy[key] = list(value)
        elif key not in ("title", "default"):
            tidy[key] = _tidy(value, definitions, inside)
    if tidy.get("type") == "integer":  # grammars know inclusive bounds only
        if "exclusiveMinimum" in tidy:
            tidy["minimum"] = int(tidy.pop("exclusiveMinimum")) + 1
        if "exclusiveMaximum" in tidy:
            tidy["maximum"] = int(tidy.pop("exclusiveMaximum")) - 1
    if "properties" in tidy:
        tidy["required"] = list(tidy["properties"])
        tidy["additionalProperties"] = False
    return tidy


def parse_reply(text: str, reply: type[Reply], cut: bool = False) -> Reply:
    """The validated instance in a model's `text`.

    The text may be bare JSON, JSON in a code fence or in prose, after a `<think>` block. Of several objects the first
    that validates counts.

    Args:
        text: What the model said.
        reply: What it should have said.
        cut: The server stopped it at `max_tokens`.

    Raises:
        ReplyDropped: With a countable reason; nothing else is ever raised.
    """
    if len(text) > MAX_REPLY_CHARS:
        raise ReplyDropped("too long", f"{len(text)} characters, at most {MAX_REPLY_CHARS}")
    if not text.strip():
        raise ReplyDropped("cut at max_tokens" if cut else "empty reply", "nothing was said")
    complaint: str | None = None
    for candidate in _objects(text):
        try:
            return reply.model_validate(candidate)
        except ValidationError as error:
            complaint = complaint or _in_words(error)
        except (RecursionError, OverflowError, ValueError) as error:
            complaint = complaint or f"{type(error).__name__} in a field"
    if complaint is not None:
        raise ReplyDropped("wrong fields", complaint)
    if cut:
        raise ReplyDropped("cut at max_tokens", "the reply ended before its JSON object did")
    if not _without_thoughts(text).strip():
        raise ReplyDropped("empty reply", "there was only reasoning")
    raise ReplyDropped("malformed reply", "there was no JSON object in it")


def _objects(text: str) -> Iterator[dict[str, Any]]:
    whole = _decode(text)
    if isinstance(whole, dict):
        yield whole
        return
    text = _without_thoughts(text)
    position = 0
    for _ in range(_MAX_CANDIDATES):
        match = re.compile(r'\{\s*["}]').search(text, position)
        if match is None:
            return
        position = match.start() + 1
        try:
            found, end = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            position = end
            yield found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _decode(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _without_thoughts(text: str) -> str:
    """Drop `<think>...</think>`; an opening or closing tag alone swallows what follows or precedes it."""
    text = re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL)
    return text.rpartition("</think>")[2].partition("<think>")[0]


def _in_words(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    said = [f"{'.'.join(str(part) for part in row['loc']) or 'reply'}: {row['msg']}" for row in problems[:3]]
    return "; ".join(said)[:600]


def repair_messages(
    messages: list[tuple[str, str]], text: str, problem: ReplyDropped, schema: dict[str, Any]
) -> list[tuple[str, str]]:
    """The second and last ask: the conversation so far, the unusable reply, what was wrong, what is wanted."""
    said = [("assistant", text[:2000])] if text.strip() else []
    ask = (
        f"That reply cannot be used ({problem.reason}: {problem.detail}). Answer again, shorter, with one JSON object "
        f"that follows this JSON schema and nothing else:\n{json.dumps(schema)}"
    )
    return [*messages, *said, ("user", ask)]
