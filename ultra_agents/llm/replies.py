"""What a model said, as plain data: read from langchain's message, whatever its provider made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cut: bool = False
    flaw: str = ""

    def to_json(self) -> dict[str, Any]:
        """A mapping of JSON types, without `flaw` where there is none."""
        row = asdict(self)
        return row if self.flaw else {name: value for name, value in row.items() if name != "flaw"}


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, rather too many than too few: one per three bytes."""
    return len(text.encode("utf-8", "replace")) // 3 + 1


def prompt_estimate(messages: Sequence[tuple[str, str]]) -> int:
    """Tokens of a prompt, rather too many than too few."""
    return sum(estimate_tokens(text) for _, text in messages)


def raw_reply(
    answer: Any, messages: Sequence[tuple[str, str]], seconds: float, redact: Callable[[str], str]
) -> RawReply:
    """The reply in `answer`: a langchain message, or what `with_structured_output(include_raw=True)` gives."""
    parsed = None
    if isinstance(answer, dict):
        parsed, answer = answer.get("parsed"), answer["raw"]
    if parsed is not None and hasattr(parsed, "model_dump"):
        parsed = parsed.model_dump(mode="json")
    text = json.dumps(valid_json(parsed)) if parsed is not None else _text(answer)
    usage = getattr(answer, "usage_metadata", None)
    usage = usage if isinstance(usage, dict) else {}
    prompt = token_count(usage.get("input_tokens")) or prompt_estimate(messages)
    completion = token_count(usage.get("output_tokens")) or estimate_tokens(text)
    finish = _finish(answer)
    flaw = ""
    if len(text) > MAX_REPLY_CHARS:
        text, flaw = text[:_KEPT_CHARS], "too long"
    elif refusal := _refusal(answer, finish, text):
        text, flaw = text or refusal, "refused by the model"
    text = redact(valid_text(text))
    return RawReply(text, prompt, completion, seconds, finish in ("length", "max_tokens"), flaw)


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


def _text(answer: Any) -> str:
    content = getattr(answer, "content", "")
    if not isinstance(content, str):
        content = "".join(_part(part) for part in content or ())
    calls = getattr(answer, "tool_calls", None)
    return json.dumps(valid_json(calls[0].get("args"))) if calls and not content.strip() else content


def _part(part: Any) -> str:
    """The text of one block of a message; a block of reasoning has none that counts."""
    if not isinstance(part, dict):
        return str(part)
    kind = str(part.get("type", ""))
    return "" if "think" in kind or "reason" in kind else str(part.get("text") or "")
