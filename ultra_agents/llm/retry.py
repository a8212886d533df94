"""Calls retried with exponential backoff and jitter, or after as long as the server asks; waiting can be stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from ultra_agents.errors import Interrupted
from ultra_agents.llm.failures import CallFailed, Failure

T = TypeVar("T")

MAX_RETRY_AFTER_S = 120.0
"""A server that asks to wait longer than this is taken as down."""


def call_with_retries(
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
        retries: Further attempts after a transient failure.
        first_wait_s: Mean of the first wait in seconds; doubles up to 30.
        stop: Ends the waiting.
        on_failure: Told of every failure.
        give_up: Asked after each; true ends the attempts, because another model can be asked.

    Raises:
        CallFailed: Not transient, or the last of the transient ones.
        Interrupted: `stop` said so.
    """

    def again(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, CallFailed):
            return False
        on_failure(error.failure)
        patient = (error.failure.retry_after or 0.0) <= MAX_RETRY_AFTER_S
        return error.failure.kind == "transient" and patient and not give_up()

    backoff = tenacity.wait_exponential(multiplier=first_wait_s, max=30.0) + tenacity.wait_random(0, first_wait_s)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.failure.retry_after if isinstance(error, CallFailed) else None
        return float(backoff(state)) if asked is None else asked

    retrying = tenacity.Retrying(
        retry=again,
        wait=wait,
        stop=tenacity.stop_after_attempt(retries + 1),
        sleep=lambda seconds: sleep(seconds, stop),
        reraise=True,
    )
    return retrying(call)


def sleep(seconds: float, stop: Callable[[], bool] | None) -> None:
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
