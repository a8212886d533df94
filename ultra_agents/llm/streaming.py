"""A reply told while it is written: for eyes only. What is answered, counted and kept is what the whole reply says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from ultra_agents.errors import Interrupted
from ultra_agents.llm.retry import CallFailed, Failure

Tell: TypeAlias = Callable[[str], None]
"""Given what there is of a reply that is being written."""
PAUSE_S = 0.25
"""Seconds between two tellings of one reply, at least."""


def follow(
    pieces: Iterable[Any],
    tell: Tell,
    timeout_s: float,
    unwanted: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    """The message that langchain's message chunks `pieces` add up to, told as it grows.

    Its ending and its counts are those the stream said last: servers that repeat them would have them added up.

    Args:
        pieces: What `Runnable.stream` gives.
        tell: Given the text so far, not oftener than every `PAUSE_S`.
        timeout_s: Seconds it may take; a stream that trickles never runs into its connection's own limit.
        unwanted: Asked at each piece; true ends the stream, so that the server can stop writing.
        clock: Seconds, monotonic.

    Raises:
        CallFailed: The stream broke off before the reply was complete.
        TimeoutError: It took too long.
        Interrupted: Nobody wants it any more.
    """
    end, told = clock() + timeout_s, clock() - PAUSE_S
    whole: Any = None
    text, usage, finish = "", None, None
    try:
        for piece in pieces:
            if unwanted():
                raise Interrupted("stopped while a model was answering")
            now = clock()
            if now > end:
                raise TimeoutError("the reply was not complete in time")
            whole = piece if whole is None else whole + piece
            usage = piece.usage_metadata or usage
            finish = piece.response_metadata.get("finish_reason") or finish
            text += piece.content if isinstance(piece.content, str) else ""
            if text and now - told >= PAUSE_S:
                told = now
                tell(text)
    finally:
        if (close := getattr(pieces, "close", None)) is not None:
            close()  # one that was given up would keep its connection, and the server writing, until it is collected
    if finish is None:
        raise CallFailed(Failure("passing", "the stream ended before the reply did", charged=True))
    whole.usage_metadata = usage
    whole.response_metadata["finish_reason"] = finish
    return whole
