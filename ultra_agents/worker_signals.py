"""Signals in worker processes: Ctrl-C and SIGTERM to the whole process group are the parent's to handle.

A scheduler (`scancel`, `timeout`) sends SIGTERM to every process of a job. The parent then stops cleanly: it needs its
workers for that, and ends them itself. Handlers that do nothing are installed instead of ignoring the signals, because
an ignored signal stays ignored in programs that an environment starts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from types import FrameType

_BOTH = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def blocked_while_starting() -> Iterator[None]:
    """Block both signals; a process started meanwhile inherits that, so none can end it before it handles them."""
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    # Starting the tracker unblocks SIGINT, so it has to happen first.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BOTH)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent(grace_s: float | None = None) -> None:
    """In a worker: do nothing on either signal.

    Args:
        grace_s: Seconds after SIGTERM at which the process ends all the same; None: when the parent says so.
    """

    def terminated(number: int, frame: FrameType | None) -> None:
        if grace_s is not None:
            timer = threading.Timer(grace_s, os._exit, (128 + signal.SIGTERM,))
            timer.daemon = True
            timer.start()

    signal.signal(signal.SIGINT, _nothing)
    signal.signal(signal.SIGTERM, terminated)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _BOTH)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass
