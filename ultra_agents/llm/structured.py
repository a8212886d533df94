"""From a reply's pydantic model to the schema a server is given, and from its text back to a validated instance."""

from __future__ import annotations

import copy
import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ultra_agents.llm.replies import MAX_REPLY_CHARS
from ultra_agents.text import valid_json

_MAX_WASTE = 4_000_000
"""Characters parsed without success, all attempts together, before the search for JSON objects in text ends."""
_RECURSION_COST = 10_000

Reply = TypeVar("Reply", bound=BaseModel)


class ReplyDropped(Exception):
    """A reply that could not be used, even after one repair; the run goes on without it.

    Args:
        reason: Short and countable: `empty reply`, `malformed reply`, `wrong fields`, `cut at max_tokens`, `too long`,
            `prompt too long`, `prompt filtered`, `refused by the model`, `refused by the server`, `not recorded`.
        detail: What exactly was wrong, for the log and for the repair ask.
        text: What was said, where it is not in the log yet.
    """

    def __init__(self, reason: str, detail: str = "", text: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.text = text

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip between processes."""
        return (type(self), (self.reason, self.detail, self.text))


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


def parse_reply(text: str, reply: type[Reply], cut: bool = False, flaw: str = "") -> Reply:
    """The validated instance in a model's `text`.

    The text may be bare JSON, JSON in a code fence or in prose, before, between or after blocks of reasoning. Of
    several objects outside of the reasoning the last that validates counts: those before it were drafts.

    Args:
        text: What the model said.
        reply: What it should have said.
        cut: The server stopped it at `max_tokens`.
        flaw: A reason known already (`RawReply.flaw`).

    Raises:
        ReplyDropped: With a countable reason; nothing else is ever raised.
    """
    if flaw or len(text) > MAX_REPLY_CHARS:
        raise ReplyDropped(flaw or "too long", text[:200] if flaw else f"at most {MAX_REPLY_CHARS} characters")
    if not text.strip():
        raise ReplyDropped("cut at max_tokens" if cut else "empty reply", "nothing was said")
    complaint: str | None = None
    for candidate in reversed(json_objects(text)):
        try:
            return reply.model_validate(valid_json(candidate))
        except ValidationError as error:
            complaint = complaint or _in_words(error)
        except (RecursionError, OverflowError, ValueError) as error:
            complaint = complaint or f"{type(error).__name__} in a field"
    if complaint is not None:
        raise ReplyDropped("wrong fields", complaint)
    if cut:
        raise ReplyDropped("cut at max_tokens", "the reply ended before its JSON object did")
    if not _REASONING.sub("", text).strip():
        raise ReplyDropped("empty reply", "there was only reasoning")
    raise ReplyDropped("malformed reply", "there was no JSON object in it")


_NAMES = r"[\w:-]*(?:think|thought|reason|analysis|reflect|scratch|monologue|cot\b)[\w:-]*"
_BEGIN = (
    rf"<\|?(?:begin_of_|start_)?{_NAMES}(?:\s[^<>]*)?\|?>|\[{_NAMES}\]|◁{_NAMES}▷"
    r"|<\|?channel\|?>\s*(?!final)\w+"
)
_END = (
    rf"</{_NAMES}\s*>|<\|?(?:end_of_|end_|/){_NAMES}\|?>|\[/{_NAMES}\]|◁/{_NAMES}▷"
    r"|<\|?channel\|?>\s*final|<channel\|>(?!\s*\w)|<\|end\|>"
)
_MARK = re.compile(rf'(?P<end>{_END})|(?P<begin>{_BEGIN})|(?P<object>\{{\s*["}}])', re.IGNORECASE)
_REASONING = re.compile(rf"(?:{_BEGIN}).*?(?:(?:{_END})|\Z)", re.IGNORECASE | re.DOTALL)


def json_objects(text: str) -> list[dict[str, Any]]:
    """JSON objects outside of reasoning, in order; a tag within an object's strings is none."""
    whole = _decode(text)
    if isinstance(whole, dict):
        return [whole]
    found: list[dict[str, Any]] = []
    reasoning = False
    position = waste = 0
    while waste < _MAX_WASTE and (mark := _MARK.search(text, position)) is not None:
        position = mark.end()
        if mark["end"]:
            kept = reasoning or mark["end"].lower() == "<|end|>"  # which ends every message, a reply too
            found, reasoning = found if kept else [], False  # what precedes a lone end was reasoning, too
        elif mark["begin"]:
            reasoning = True
        else:
            position = mark.start() + 1
            try:
                value, end = _DECODER.raw_decode(text, mark.start())
            except json.JSONDecodeError as error:
                waste += error.pos - mark.start() + mark.start() // 32  # the error counts the lines before it
                continue
            except (ValueError, RecursionError):
                waste += _RECURSION_COST
                continue
            position = end
            if isinstance(value, dict) and not reasoning:
                found.append(value)
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _decode(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


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
