"""What a model said, as plain data: read from langchain's message, whatever its provider made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ultra_agents.llm.tools import Call, calls_of
from ultra_agents.text import valid_json, valid_text

MAX_REPLY_CHARS = 1_000_000
"""Longer replies are refused unread; only their beginning is kept."""
_KEPT_CHARS = 2_000
_MAX_TOKENS = 1_000_000_000
"""A server that counts more than this does not count."""


@dataclass(frozen=True)
class RawReply:
    """What a model said, before anybody understood it.

    Attributes:
        text: The reply's text.
        prompt_tokens: Tokens sent.
        completion_tokens: Tokens received.
        seconds: Wall time of the call.
        cut: The server stopped it at `max_tokens`.
        flaw: Why it cannot be used, where that is known without reading it: `refused by the model`, `too long`.
        calls: The tools it calls, where it could.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cut: bool = False
    flaw: str = ""
    calls: tuple[Call, ...] = ()

    def __post_init__(self) -> None:
        if self.calls:
            object.__setattr__(self, "calls", tuple((str(name), str(text)) for name, text in self.calls))

    def to_json(self) -> dict[str, Any]:
        """A mapping of JSON types, without `flaw` and `calls` where there are none."""
        row = asdict(self)
        return {name: value for name, value in row.items() if value or name not in ("flaw", "calls")}


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, rather too many than too few: one per three bytes."""
    return len(text.encode("utf-8", "replace")) // 3 + 1


def prompt_estimate(messages: Sequence[tuple[str, str]]) -> int:
    """Tokens of a prompt, rather too many than too few."""
    return sum(estimate_tokens(text) for _, text in messages)


def raw_reply(
    answer: Any,
    messages: Sequence[tuple[str, str]],
    seconds: float,
    redact: Callable[[str], str],
    may_call: bool = False,
) -> RawReply:
    """The reply in `answer`: a langchain message, or what `with_structured_output(include_raw=True)` gives.

    With `may_call` tool calls are calls; otherwise the reply's fields, which some servers are sent as a tool.
    """
    parsed = None
    if isinstance(answer, dict):
        parsed, answer = answer.get("parsed"), answer["raw"]
    if parsed is not None and hasattr(parsed, "model_dump"):
        parsed = parsed.model_dump(mode="json")
    calls = calls_of(answer, redact) if may_call else ()
    text = json.dumps(valid_json(parsed)) if parsed is not None else _said(answer) if may_call else _text(answer)
    usage = getattr(answer, "usage_metadata", None)
    usage = usage if isinstance(usage, dict) else {}
    prompt = token_count(usage.get("input_tokens")) or prompt_estimate(messages)
    written = text + "".join(name + arguments for name, arguments in calls)
    completion = token_count(usage.get("output_tokens")) or estimate_tokens(written)
    finish = _finish(answer)
    flaw = ""
    if len(text) > MAX_REPLY_CHARS:
        text, flaw, calls = text[:_KEPT_CHARS], "too long", ()
    elif not calls and (refusal := _refusal(answer, finish, text)):
        text, flaw = text or refusal, "refused by the model"
    text = redact(valid_text(text))
    return RawReply(text, prompt, completion, seconds, finish in ("length", "max_tokens"), flaw, calls)


def token_count(value: Any) -> int | None:
    """A server's count of tokens; None where it is no sane number (text, negative, absurd), to be estimated."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if math.isfinite(number) and 0 <= number <= _MAX_TOKENS else None


def all_in_reasoning(answer: Any) -> bool:
    """Whether a model wrote something but nothing of it is in the reply: it went where its reasoning goes."""
    answer = answer["raw"] if isinstance(answer, dict) else answer
    if _text(answer).strip() or _refusal(answer, _finish(answer), ""):
        return False
    usage = getattr(answer, "usage_metadata", None)
    written = token_count(usage.get("output_tokens")) if isinstance(usage, dict) else None
    return bool((getattr(answer, "additional_kwargs", None) or {}).get("reasoning_content")) or (written or 0) > 1


def _finish(answer: Any) -> str:
    about = getattr(answer, "response_metadata", None) or {}
    return str(about.get("finish_reason") or about.get("done_reason") or about.get("stop_reason")).lower()


def _refusal(answer: Any, finish: str, text: str) -> str:
    """What the model, or its server's filter, said instead of a reply; empty where it replied."""
    if text.strip():
        return ""
    said = (getattr(answer, "additional_kwargs", None) or {}).get("refusal")
    return (
        str(said)
        if said
        else finish
        if finish in ("content_filter", "refusal", "safety", "prohibited_content")
        else ""
    )


def _said(answer: Any) -> str:
    content = getattr(answer, "content", "")
    return content if isinstance(content, str) else "".join(_part(part) for part in content or ())


def _text(answer: Any) -> str:
    content = _said(answer)
    calls = getattr(answer, "tool_calls", None)
    return json.dumps(valid_json(calls[0].get("args"))) if calls and not content.strip() else content


def _part(part: Any) -> str:
    """The text of one block of a message; a block of reasoning has none that counts."""
    if not isinstance(part, dict):
        return str(part)
    kind = str(part.get("type", ""))
    return "" if "think" in kind or "reason" in kind else str(part.get("text") or "")
