"""Streamed replies, shown while they arrive: what is answered, counted and kept is what the whole reply says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ultra_agents.errors import Interrupted
from ultra_agents.llm.failures import CallFailed, Failure

OnText: TypeAlias = Callable[[str], None]
"""Given the text so far of a reply that is still arriving."""
MIN_INTERVAL_S = 0.25
"""Seconds between two calls of `on_text` for one reply, at least."""


@dataclass
class Received:
    """What has arrived of a reply; read from another thread where its stream is given up.

    Attributes:
        text: All of it so far.
    """

    text: str = ""


def read_stream(
    chunks: Iterable[Any],
    on_text: OnText,
    timeout_s: float,
    cancelled: Callable[[], bool] = lambda: False,
    received: Received | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    """The message that langchain's message chunks add up to.

    Its finish reason and its usage are those of the last chunk that has them: servers that repeat them would have
    them added up.

    Args:
        chunks: What `Runnable.stream` gives.
        on_text: Given the text so far, at most once every `MIN_INTERVAL_S`.
        timeout_s: Seconds for the whole stream; the connection's own timeout counts from chunk to chunk.
        cancelled: Polled at each chunk; true closes the stream, so that the server can stop writing.
        received: Where the text is kept too, so that it is there however the stream ends.
        clock: Seconds, monotonic.

    Raises:
        CallFailed: The stream broke off before the reply was complete.
        TimeoutError: It took too long.
        Interrupted: It was cancelled.
    """
    end, last_shown = clock() + timeout_s, clock() - MIN_INTERVAL_S
    message: Any = None
    text, usage, finish = "", None, None
    try:
        for chunk in chunks:
            if cancelled():
                raise Interrupted("stopped while a model was answering")
            now = clock()
            if now > end:
                raise TimeoutError("the reply was not complete in time")
            message = chunk if message is None else message + chunk
            usage = chunk.usage_metadata or usage
            finish = chunk.response_metadata.get("finish_reason") or finish
            text += chunk.content if isinstance(chunk.content, str) else ""
            if received is not None:
                received.text = text
            if text and now - last_shown >= MIN_INTERVAL_S:
                last_shown = now
                on_text(text)
    finally:
        if (close := getattr(chunks, "close", None)) is not None:
            close()  # an abandoned stream would keep its connection, and the server writing, until it is collected
    if finish is None:
        raise CallFailed(Failure("transient", "the stream ended before the reply did", charged=True))
    message.usage_metadata = usage
    message.response_metadata["finish_reason"] = finish
    return message
