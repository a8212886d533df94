"""Reads single key presses from a terminal in non-canonical mode, in a thread; restores the terminal's settings."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

NAMES = {
    b"\x1b[A": "UP", b"\x1b[B": "DOWN", b"\x1b[C": "RIGHT", b"\x1b[D": "LEFT", b"\x1bOA": "UP", b"\x1bOB": "DOWN",
    b"\x1bOC": "RIGHT", b"\x1bOD": "LEFT", b"\x1b[H": "HOME", b"\x1b[F": "END", b"\x1bOH": "HOME", b"\x1bOF": "END",
    b"\x1b[1~": "HOME", b"\x1b[4~": "END", b"\x1b[7~": "HOME", b"\x1b[8~": "END", b"\x1b[5~": "PAGEUP",
    b"\x1b[6~": "PAGEDOWN", b"\x1b[Z": "SHIFT_TAB", b"\t": "TAB", b"\r": "ENTER", b"\n": "ENTER", b" ": "SPACE",
    b"\x1b": "ESC", b"\x0c": "CTRL_L", b"\x1a": "CTRL_Z", b"\x7f": "BACKSPACE",
}  # fmt: skip
"""Escape sequences and control characters that terminals send, by the key's name."""
POLL_S = 0.25
"""How often a suspended or backgrounded reader checks whether it is in the foreground again."""


class Keyboard(Protocol):
    """Calls back for every key pressed."""

    def start(self) -> None:
        """Begin to read keys."""
        ...

    def stop(self) -> None:
        """Stop reading and restore the terminal's settings; may be called twice."""
        ...


class KeyReader:
    """Reads keys from a terminal in a thread of its own.

    Ctrl-C still sends SIGINT. Ctrl-Z is read as a key: the main screen and the terminal's settings are restored
    before the process suspends itself, and the display is drawn again when it continues.

    Args:
        on_key: Called with every key: a character, or a name of `NAMES`.
        on_suspend: Called before the process suspends itself.
        on_resume: Called when it is in the foreground again.
        fd: The terminal.
    """

    def __init__(
        self,
        on_key: Callable[[str], None],
        on_suspend: Callable[[], None] = lambda: None,
        on_resume: Callable[[], None] = lambda: None,
        fd: int | None = None,
    ) -> None:
        self._fd = sys.stdin.fileno() if fd is None else fd
        self._on_key, self._on_suspend, self._on_resume = on_key, on_suspend, on_resume
        self._before: list[int | list[bytes | int]] | None = None
        self._thread: threading.Thread | None = None
        self._wake: tuple[int, int] | None = None
        self._ended = threading.Event()

    def start(self) -> None:
        """Switch the terminal to non-canonical mode and begin to read.

        Raises:
            OSError: `fd` is no terminal.
            termios.error: The same.
        """
        self._before = termios.tcgetattr(self._fd)
        self._raw()
        self._wake = os.pipe()
        self._thread = threading.Thread(target=self._listen, name="keys", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop reading and restore the terminal's settings; may be called twice."""
        self._ended.set()
        if self._wake is not None:
            os.write(self._wake[1], b".")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)
        self._restore()
        if self._wake is not None and (self._thread is None or not self._thread.is_alive()):
            for end in self._wake:
                os.close(end)
            self._wake = None

    def _raw(self) -> None:
        """No line editing, no echo, Ctrl-Z read as a character; output and Ctrl-C unchanged."""
        mode = termios.tcgetattr(self._fd)
        mode[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        mode[6][termios.VSUSP] = os.fpathconf(self._fd, "PC_VDISABLE").to_bytes(1, "little")
        termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)

    def _restore(self) -> None:
        if self._before is not None:
            with suppress(termios.error, OSError):  # the terminal may be gone
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def _listen(self) -> None:
        assert self._wake is not None, "`start` makes the pipe"
        while not self._ended.is_set():
            ready, _, _ = select.select([self._fd, self._wake[0]], [], [])
            if self._ended.is_set() or self._fd not in ready:
                return
            try:
                data = os.read(self._fd, 256)
            except OSError:
                return
            if not data:  # the terminal hung up
                return
            for key in split_keys(data):
                if key == "CTRL_Z":
                    self._suspend()
                elif not self._ended.is_set():
                    self._on_key(key)

    def _suspend(self) -> None:
        """Suspend the process group, as the terminal does on Ctrl-Z; return when it is in the foreground again."""
        self._on_suspend()
        self._restore()
        with suppress(OSError):
            os.killpg(os.getpgrp(), signal.SIGTSTP)
        self._ended.wait(POLL_S)  # SIGTSTP is delivered asynchronously: be stopped here
        while not self._foreground() and not self._ended.wait(POLL_S):
            pass  # continued by `bg`: the run works on without a display
        if not self._ended.is_set():
            self._before = termios.tcgetattr(self._fd)
            self._raw()
            self._on_resume()

    def _foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return True


def split_keys(data: bytes) -> list[str]:
    """The keys in one read from a terminal; unknown escape sequences are left out."""
    keys: list[str] = []
    while data:
        if data[:1] == b"\x1b" and len(data) > 1 and data[1:2] in b"[O":
            end = 2
            while end < len(data) and not 0x40 <= data[end] <= 0x7E:
                end += 1
            part, data = data[: end + 1], data[end + 1 :]
            keys += [NAMES[part]] if part in NAMES else []
        elif data[:1] in NAMES:
            keys.append(NAMES[data[:1]])
            data = data[1:]
        else:
            size = 1 if data[0] < 0x80 else 2 if data[0] < 0xE0 else 3 if data[0] < 0xF0 else 4
            char, data = data[:size].decode("utf-8", "ignore"), data[size:]
            keys += [char] if char.isprintable() and char else []
    return keys


def has_keyboard(console_is_terminal: bool) -> bool:
    """Whether keys can be read: output and standard input are terminals, and this process is in the foreground."""
    try:
        fd = sys.stdin.fileno()
        return console_is_terminal and os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False
