"""Limits on a server's replies: the time of a whole one, and its size once unpacked.

An HTTP client's own timeout counts from one piece to the next, and its decoder unpacks whatever it is sent: one byte
every half second never ends, and 5 MB of gzip become gigabytes.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

MAX_REPLY_BYTES = 32 * 2**20
"""Bytes of one unpacked reply; larger ones are given up while they arrive."""
ACCEPTED = {"accept-encoding": "gzip, deflate"}
"""Headers of a request whose reply `reply_limits` can unpack."""
_PIECE = 2**16


class ReplyTooLarge(Exception):
    """A server's reply is larger than `MAX_REPLY_BYTES`."""


@cache
def tls_context() -> Any:
    """The certificates to check servers by, read once and not for each model's client."""
    import httpx

    return httpx.create_ssl_context()


def limited_client(timeout_s: float, client_class: Any = None) -> Any:
    """An HTTP client whose replies are limited by `reply_limits`.

    Args:
        timeout_s: Seconds from a request to the end of its reply.
        client_class: `httpx.Client` (the default), or one of another package with its arguments.
    """
    import httpx

    make: Any = client_class or httpx.Client
    return make(headers=ACCEPTED, verify=tls_context(), timeout=timeout_s, event_hooks=reply_limits(timeout_s))


def reply_limits(timeout_s: float) -> dict[str, list[Callable[[Any], None]]]:
    """The `event_hooks` of an `httpx.Client` whose replies are limited.

    Args:
        timeout_s: Seconds from the request to the end of its reply.

    A reply then raises `TimeoutError` or `ReplyTooLarge` while it is read, `ValueError` if it is packed in a way that
    was not asked for (`ACCEPTED`); the client may wrap them in its own error.
    """

    def begin(request: Any) -> None:
        request.extensions["reply_ends"] = time.monotonic() + timeout_s

    def limit(response: Any) -> None:
        stream_class = next(cls for cls in type(response.stream).__mro__ if cls.__name__ == "SyncByteStream")
        limited = type("LimitedStream", (_Limited, stream_class), {})
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding in ("gzip", "x-gzip", "deflate"):
            del response.headers["content-encoding"]
        ends = response.request.extensions.get("reply_ends", time.monotonic() + timeout_s)
        response.stream = limited(response.stream, ends, encoding)

    return {"request": [begin], "response": [limit]}


class _Limited:
    """A byte stream of a response, unpacked and limited."""

    def __init__(self, stream: Any, ends: float, encoding: str) -> None:
        self._stream = stream
        self._ends = ends
        self._encoding = encoding

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._unpacked():
            size += len(piece)
            if size > MAX_REPLY_BYTES:
                raise ReplyTooLarge(f"a reply of more than {MAX_REPLY_BYTES >> 20} MiB")
            if time.monotonic() > self._ends:
                raise TimeoutError("the reply was not complete in time")
            yield piece

    def _unpacked(self) -> Iterator[bytes]:
        if self._encoding == "identity":
            yield from self._stream
        elif self._encoding in ("gzip", "x-gzip", "deflate"):
            decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib's own header or gzip's, whichever is there
            for piece in self._stream:
                while piece:
                    yield decoder.decompress(piece, _PIECE)
                    piece = decoder.unconsumed_tail
            yield decoder.flush()
        else:
            raise ValueError(f"a reply packed as {self._encoding!r} although that was not asked for")

    def close(self) -> None:
        """Close the response's own stream."""
        self._stream.close()
