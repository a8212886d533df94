"""Failed calls, sorted by what can be done about them: from all that a server said, whatever its shape and status."""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ultra_agents.text import parsed_json, valid_text

Kind: TypeAlias = Literal[
    "transient", "fatal", "unexplained", "schema refused", "parameter refused", "prompt too long", "prompt filtered",
    "malformed reply", "too long",
]  # fmt: skip
"""`transient`: ask again. `fatal`: every call will fail (key, model, credit). `unexplained`: refused without
a reason we know. `schema refused`, `parameter refused`: ask in another form. The others concern this one question."""

OF_ONE_QUESTION: frozenset[Kind] = frozenset({"prompt too long", "prompt filtered", "malformed reply", "too long"})
_FATAL = frozenset({401, 402, 403, 404, 405, 410})
_REFUSED = frozenset({400, 406, 411, 413, 414, 415, 422, 451})
_ABOUT_THE_REQUEST = frozenset({400, 403, 404, 406, 413, 415, 422, 451, 500, 501})
_NOT_THE_STREAM = frozenset({401, 402, 403, 404, 408, 409, 429, 502, 503, 504, 529})
_NO_CREDIT = ("insufficient_quota", "credit balance", "out of credit", "billing_hard_limit")
_NO_ACCESS = ("api key not valid", "invalid api key", "invalid_api_key", "incorrect api key", "model_not_found",
              "model not found", "unknown model", "no such model")  # fmt: skip
_TOO_LONG = ("context length", "context size", "context_length_exceeded", "exceed_context_size", "maximum context",
             "context window", "too many tokens", "prompt is too long", "input is too long", "input tokens exceed",
             "reduce the length", "string_above_max_length")  # fmt: skip
_FILTERED = ("content_filter", "content filter", "contentfilter", "responsibleai", "content management policy",
             "content_policy", "content policy", "safety system", "moderation", "flagged", "was filtered",
             "prompt was blocked", "blocked by", "data_inspection_failed", "inappropriate content",
             "prohibited_content")  # fmt: skip
_MALFORMED = ("json_validate_failed", "failed_generation", "tool_use_failed", "output_parse_failed",
              "failed to validate json", "failed to generate json", "could not generate json", "generate valid json",
              "failed to parse input", "model output")  # fmt: skip
_SCHEMA = re.compile(
    r"response_format|response format|json_schema|json_object|json schema|grammar|guided|structured.output|'format'"
    r"|tool_choice|support tool|support for tool|tool use|tools? (is|are) not|function.?call|requested parameters"
)
_PARAMETER = re.compile(r"\b(max_completion_tokens|max_tokens|temperature|seed|stream_options)\b")
_UNSUPPORTED = re.compile(
    r"unsupported|n[o']t (be )?(support|permit|allow|accept|implement|availab|recogni)|unknown|unrecogni[sz]ed|extra"
    r"|unexpected|forbidden|only the default|cannot be set|deprecated|no longer|invalid parameter"
)
_FIXED = re.compile(r"only|must be|invalid|out of range|expected|allowed|fixed")
"""Said of a parameter whose value the server does not let us choose."""
MAX_SHOWN = 400
_MAX_READ = 50_000


@dataclass(frozen=True)
class Failure:
    """One failed call, sorted.

    Attributes:
        kind: Whether and how it makes sense to ask again.
        text: One line for a person, redacted.
        status: HTTP status where there was one.
        retry_after: Seconds the server asked to wait.
        charged: The model may have worked (a timeout), so the call counts.
        late: No answer in time.
        broken: The connection was there and broke off.
        parameters: What the server does not take, as it names it, likeliest first.
        reply: What the model had written: of a stream that broke off, or where the server refused to hand it over.
    """

    kind: Kind
    text: str
    status: int | None = None
    retry_after: float | None = None
    charged: bool = False
    late: bool = False
    broken: bool = False
    parameters: tuple[str, ...] = ()
    reply: str = ""


class CallFailed(Exception):
    """A call that failed; `failure` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class AskOtherwise(CallFailed):
    """A request that failed for its form: the model has learnt another one, in which it is to be asked at once."""


def classify(error: BaseException, redact: Callable[[str], str] = str) -> Failure:
    """Sort an exception of any provider's client by what can be done about it.

    Args:
        error: What the client raised; all that the server said is read from it.
        redact: Takes keys out of a text, before the text is cut.
    """
    response = getattr(error, "response", None)
    body = _body(error, response)
    status = _status(error, response, body)
    low = _read(error, body).lower()
    text = redact(_shown(error, body))[:MAX_SHOWN]
    names = {cls.__name__ for one in _causes(error) for cls in type(one).__mro__}
    if "ReplyTooLarge" in names:
        return Failure("too long", text, charged=True)
    if "ContextOverflowError" in names:
        return Failure("prompt too long", text, status)
    if status == 429 and any(mark in low for mark in _NO_CREDIT):
        return Failure("fatal", text, status)
    if status in _ABOUT_THE_REQUEST and (kind := _about_the_request(low)) is not None:
        if kind == "parameter refused":
            return Failure(kind, text, status, parameters=_parameters(low))
        said = redact(valid_text(_failed_generation(body))) if kind == "malformed reply" else ""
        return Failure(kind, text, status, charged=kind == "malformed reply", reply=said)
    if status in _FATAL:
        return Failure("fatal", text, status)
    if status in _REFUSED:
        known = any(mark in low for mark in (*_NO_CREDIT, *_NO_ACCESS))
        return Failure("fatal" if known else "unexplained", text, status)
    if status is not None:
        return Failure("transient", text, status, _retry_after(response))
    if names & {"APITimeoutError", "TimeoutException", "TimeoutError"}:
        return Failure("transient", f"no answer in time ({type(error).__name__})", charged=True, late=True)
    if names & {"APIConnectionError", "ConnectionError", "TransportError"}:
        return Failure("transient", text, broken=bool(names & {"RemoteProtocolError", "ReadError"}))
    if "ValidationError" in names and "tool_calls" in low:  # arguments that are JSON, but no object
        return Failure("malformed reply", text, charged=True)
    text = redact(f"not an answer of a model server ({type(error).__name__}: {_shown(error, body)})")[:MAX_SHOWN]
    return Failure("transient", text, charged=True)


def _about_the_request(low: str) -> Kind | None:
    """What a refusal says is wrong with the request; None where it does not."""
    if any(mark in low for mark in _TOO_LONG):
        return "prompt too long"
    if any(mark in low for mark in _FILTERED):
        return "prompt filtered"
    if any(mark in low for mark in _MALFORMED) and "grammar" not in low:
        return "malformed reply"
    schema = _SCHEMA.search(low)
    parameters = _parameters(low)
    if parameters and (schema is None or low.index(parameters[0]) < schema.start()):
        return "parameter refused"
    return None if schema is None else "schema refused"


def _parameters(low: str) -> tuple[str, ...]:
    """Parameters that a refusal complains about, in the order it names them."""
    found = tuple(dict.fromkeys(_PARAMETER.findall(low)))
    if _UNSUPPORTED.search(low):
        return found
    chosen = tuple(name for name in found if not name.startswith("max_"))
    return chosen if _FIXED.search(low) else ()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it came from."""
    one: BaseException | None = error
    for _ in range(5):  # a cause may be its own
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__


def _body(error: BaseException, response: Any) -> Any:
    """All that the server said, as JSON types where it is JSON, else as text."""
    try:
        said: Any = str(getattr(response, "text", None) or "")[:_MAX_READ]
    except Exception:  # a stream whose body was not read
        said = ""
    if not said:
        said = getattr(error, "body", None) or next((one for one in error.args if isinstance(one, dict)), "")
    if isinstance(said, str):
        try:
            return parsed_json(said)
        except ValueError:
            return said
    return said


def _status(error: BaseException, response: Any, body: Any) -> int | None:
    """The HTTP status; of an error within a reply of status 200 the one it names."""
    inner = body.get("error", body) if isinstance(body, dict) else None
    named = inner.get("code") if isinstance(inner, dict) else None
    for status in (getattr(error, "status_code", None), getattr(response, "status_code", None), named):
        if isinstance(status, int) and 400 <= status < 600:
            return status
    return None


def _leaves(value: Any, depth: int = 0) -> Iterator[str]:
    """Every word of a body, in order, the names of its fields left out."""
    if isinstance(value, dict | list) and depth < 12:
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner, depth + 1)
    elif isinstance(value, str):
        yield value


def _read(error: BaseException, body: Any) -> str:
    """All words to look for causes in: the client's, the server's, its fields' names."""
    said = body if isinstance(body, str) else json.dumps(body, default=str)[:_MAX_READ]
    return f"{error} {said}"[: 2 * _MAX_READ]


def _shown(error: BaseException, body: Any) -> str:
    """What the client says, and what the server said beside that, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    said = list(dict.fromkeys(" ".join(_plain(leaf).split()) for leaf in _leaves(body)))[:20]
    beside = ", ".join(leaf for leaf in said if leaf and leaf not in text)
    cause = " ".join(str(error.__cause__ or "").split())
    if not beside and "APIConnectionError" in {cls.__name__ for cls in type(error).__mro__}:
        beside = cause
    return valid_text(f"{text} ({beside})" if beside else text)[:_MAX_READ]


def _plain(text: str) -> str:
    """A page of HTML without its tags."""
    return re.sub(r"<[^<>]{0,500}>", " ", text) if text.lstrip().startswith("<") else text


def _failed_generation(body: Any) -> str:
    """What the model had written, where a server that found it unusable says so (Groq)."""
    inner = body.get("error", body) if isinstance(body, dict) else {}
    said = inner.get("failed_generation") if isinstance(inner, dict) else None
    return said[:2000] if isinstance(said, str) else ""


def stream_at_fault(failure: Failure) -> bool:
    """Whether a question that failed as a stream may well be answered otherwise.

    Not where the key, the credit, the rate, the prompt or the schema is at fault, or where no server was reached in
    time.
    """
    if failure.kind in OF_ONE_QUESTION or failure.late:
        return False
    if failure.kind == "schema refused":
        return "stream" in failure.text.lower()
    if failure.status is None:
        return failure.charged or failure.broken
    return failure.status not in _NOT_THE_STREAM


def _retry_after(response: Any) -> float | None:
    """Seconds a server asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date."""
    headers = getattr(response, "headers", None) or {}
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return _seconds(float(milliseconds) / 1000)
        if (value := headers.get("retry-after")) is None:
            return None
        try:
            return _seconds(float(value))
        except ValueError:
            return _seconds(email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):  # no number, no date, or a date with an absurd zone
        return None


def _seconds(value: float) -> float | None:
    return None if math.isnan(value) else max(0.0, value)
