"""Which failures pass, which do not, and how long to wait between attempts."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import tenacity

from ultra_agents.errors import Interrupted, UltraError

T = TypeVar("T")
Kind: TypeAlias = Literal["passing", "permanent", "prompt too long", "schema refused"]

LONGEST_WAIT_S = 120.0
"""A server that asks for more patience than this is taken as down."""
_PERMANENT = frozenset({400, 401, 402, 403, 404, 405, 406, 410, 411, 413, 414, 415, 422})
_WHATEVER_IS_ASKED = frozenset({401, 402, 403, 404, 408, 409, 429, 502, 503, 504, 529})
_TOO_LONG = ("context length", "context size", "context_length_exceeded", "exceed_context_size", "maximum context",
             "too many tokens", "prompt is too long")  # fmt: skip
_SCHEMA = ("response_format", "json_schema", "grammar", "json schema", "guided", "'format'")


@dataclass(frozen=True)
class Failure:
    """One failed call, sorted.

    Attributes:
        kind: Whether and how it makes sense to ask again.
        text: One line for a person; may still hold what a server echoed.
        status: HTTP status where there was one.
        retry_after: Seconds the server asked to wait.
        charged: The model may have worked (a timeout), so the call counts.
        late: No answer in time.
        broken: The connection was there and broke off.
    """

    kind: Kind
    text: str
    status: int | None = None
    retry_after: float | None = None
    charged: bool = False
    late: bool = False
    broken: bool = False


class CallFailed(Exception):
    """A call that failed; `failure` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


def classify(error: BaseException) -> Failure:
    """Sort an exception of any provider's client by what can be done about it."""
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    status = status if isinstance(status, int) and status >= 100 else None
    text = " ".join(str(error).split())[:400] or type(error).__name__
    low = text.lower()
    names = {cls.__name__ for cls in type(error).__mro__}
    if "ContextOverflowError" in names or (status in (400, 413, 422, 500) and any(mark in low for mark in _TOO_LONG)):
        return Failure("prompt too long", text, status)
    if status in (400, 422) and any(mark in low for mark in _SCHEMA):
        return Failure("schema refused", text, status)
    if status in _PERMANENT or (status == 429 and "insufficient_quota" in low):
        return Failure("permanent", text, status)
    if status is not None:
        return Failure("passing", text, status, _retry_after(response))
    if names & {"APITimeoutError", "TimeoutException", "TimeoutError"}:
        return Failure("passing", f"no answer in time ({type(error).__name__})", charged=True, late=True)
    if names & {"APIConnectionError", "ConnectionError", "TransportError"}:
        cause = error.__cause__
        return Failure("passing", f"{text} ({cause})"[:400] if cause else text, broken=_broke_off(error))
    return Failure("passing", f"not an answer of a model server ({type(error).__name__}: {text})", charged=True)


def _broke_off(error: BaseException | None) -> bool:
    """Whether `error`, or what it came from, says that a connection was there."""
    for _ in range(5):  # a cause may be its own
        if type(error).__name__ in ("RemoteProtocolError", "ReadError"):
            return True
        error = None if error is None else error.__cause__
    return False


def stream_at_fault(failure: Failure) -> bool:
    """Whether a question that failed as a stream may well be answered otherwise.

    Not where a key, money, patience, a shorter prompt or a simpler schema is wanting, or where nobody was reached in
    time.
    """
    if failure.kind == "prompt too long" or failure.late:
        return False
    if failure.kind == "schema refused":
        return "stream" in failure.text.lower()
    if failure.status is None:
        return failure.charged or failure.broken
    return failure.status not in _WHATEVER_IS_ASKED


def _retry_after(response: Any) -> float | None:
    """Seconds a server asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date."""
    headers = getattr(response, "headers", None) or {}
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        if (value := headers.get("retry-after")) is None:
            return None
        try:
            return max(0.0, float(value))
        except ValueError:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def ask_again(
    call: Callable[[], T],
    retries: int,
    first_wait_s: float,
    stop: Callable[[], bool] | None = None,
    on_failure: Callable[[Failure], None] = lambda failure: None,
    give_up: Callable[[], bool] = lambda: False,
) -> T:
    """Call until it succeeds, waiting exponentially longer with jitter, or as long as the server asked.

    Args:
        call: What to do; raises `CallFailed`.
        retries: Further attempts after a passing failure.
        first_wait_s: Mean of the first wait in seconds; doubles up to 30.
        stop: Ends the waiting.
        on_failure: Told of every failure.
        give_up: Asked after each; true ends the attempts, because somebody else can be asked.

    Raises:
        CallFailed: Permanent, or the last of the passing ones.
        Interrupted: `stop` said so.
    """

    def again(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, CallFailed):
            return False
        on_failure(error.failure)
        patient = (error.failure.retry_after or 0.0) <= LONGEST_WAIT_S
        return error.failure.kind == "passing" and patient and not give_up()

    backoff = tenacity.wait_exponential(multiplier=first_wait_s, max=30.0) + tenacity.wait_random(0, first_wait_s)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.failure.retry_after if isinstance(error, CallFailed) else None
        return float(backoff(state)) if asked is None else asked

    retrying = tenacity.Retrying(
        retry=again,
        wait=wait,
        stop=tenacity.stop_after_attempt(retries + 1),
        sleep=lambda seconds: pause(seconds, stop),
        reraise=True,
    )
    return retrying(call)


def pause(seconds: float, stop: Callable[[], bool] | None) -> None:
    """Sleep, but notice `stop` within a tenth of a second.

    Raises:
        Interrupted: `stop` said so.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check_stop(stop)
        time.sleep(min(left, 0.1))


def check_stop(stop: Callable[[], bool] | None) -> None:
    """Raise `Interrupted` if the run was told to stop."""
    if stop is not None and stop():
        raise Interrupted("stopped while asking a model", hint="run the same command again to go on")


def is_ours(error: BaseException) -> bool:
    """An error already made for people, to be passed on as it is."""
    return isinstance(error, UltraError)
