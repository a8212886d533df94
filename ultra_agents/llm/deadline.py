"""A blocking call in a thread of its own, so that a stop and a deadline end the waiting, whatever the call does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ultra_agents.errors import Interrupted
from ultra_agents.llm.retry import check_stop

GRACE_S = 0.5
"""Seconds beyond the deadline in which the client's own timeout may still end the call in better words."""


def call_with_deadline(call: Callable[[], Any], timeout_s: float, stop: Callable[[], bool] | None) -> Any:
    """What `call` returns or raises.

    Args:
        call: Left to end by itself, in a daemon thread, where it is not waited for any more.
        timeout_s: Seconds it may take.
        stop: Polled; true ends the waiting.

    Raises:
        TimeoutError: It took longer.
        Interrupted: `stop` said so.
    """
    check_stop(stop)
    outcome: list[Any] = []
    failure: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            failure.append(error)
        finally:
            done.set()

    end = time.monotonic() + timeout_s + GRACE_S
    threading.Thread(target=work, daemon=True, name="llm-call").start()
    while not done.wait(min(0.1, max(0.0, end - time.monotonic()))):
        if stop is not None and stop():
            raise Interrupted("stopped while a model was answering", hint="run the same command again to go on")
        if time.monotonic() >= end:
            raise TimeoutError("the reply was not complete in time")
    if failure:
        raise failure[0]
    return outcome[0]
