"""A real terminal for tests: a program is started in it, driven by keys, and its screen read as text.

```python
with Terminal(80, 24).start([sys.executable, "-m", "ultra_agents.cli.main", "run", "config.yaml"], cwd=folder) as seen:
    seen.wait_for("Flow")               # a text, or a compiled pattern, anywhere on the screen
    seen.send("p")                      # characters as typed; KEYS has names for the others: seen.send("PAGEUP")
    seen.wait_for(re.compile("PAUSED"))
    seen.resize(200, 60)
    print("\n".join(seen.screen()))     # the rows as shown, trailing spaces cut
    assert seen.wait_exit() == 0        # the program's exit status; the last screen stays readable
```

Two back ends do the same: `Terminal` is a pseudo-terminal whose output `pyte` turns into a screen (runs wherever there
is a POSIX Python), `TmuxTerminal` a private tmux server (a socket in a temporary folder, no network). `BACKENDS` holds
the ones that work here, for `pytest.mark.parametrize`. Nothing is bound, and `close` ends whatever was started.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, Self

import pyte

KEYS = {
    "ENTER": "\r", "ESC": "\x1b", "TAB": "\t", "SHIFT_TAB": "\x1b[Z", "BACKSPACE": "\x7f", "SPACE": " ",
    "UP": "\x1b[A", "DOWN": "\x1b[B", "RIGHT": "\x1b[C", "LEFT": "\x1b[D", "HOME": "\x1b[H", "END": "\x1b[F",
    "PAGEUP": "\x1b[5~", "PAGEDOWN": "\x1b[6~", "DELETE": "\x1b[3~",
    "CTRL_C": "\x03", "CTRL_D": "\x04", "CTRL_Z": "\x1a", "CTRL_L": "\x0c",
}  # fmt: skip
"""What a terminal sends for keys that are no characters; `send` takes these names."""

WAIT_S = 60.0
"""How long a test waits for something that must come; only a failing test waits that long."""
LOOK_S = 0.03


class ScreenTimeout(AssertionError):
    """What was waited for did not appear; the message shows the screen."""


class _Base:
    """What both back ends share."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.columns, self.rows = columns, rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def screen(self) -> list[str]:
        """The rows of the screen from the top, `rows` of them, trailing spaces cut."""
        raise NotImplementedError

    def close(self) -> None:
        """End the program, and whatever it started, and let go of the terminal."""
        raise NotImplementedError

    def exit_code(self) -> int | None:
        """The program's exit status; None while it runs."""
        raise NotImplementedError

    def text(self) -> str:
        """The screen as one text."""
        return "\n".join(self.screen())

    def wait_until(self, true: Callable[[], bool], timeout: float = WAIT_S, what: str = "the condition") -> None:
        """Wait until `true()`; raises `ScreenTimeout` with the screen when it never is."""
        end = time.monotonic() + timeout
        while not true():
            if time.monotonic() > end:
                status = self.exit_code()
                ended = "still running" if status is None else f"ended with {status}"
                raise ScreenTimeout(f"{what} did not happen in {timeout:.0f} s ({ended}); screen:\n{self.text()}")
            time.sleep(LOOK_S)

    def wait_for(self, wanted: str | re.Pattern[str], timeout: float = WAIT_S) -> str:
        """Wait until `wanted`, a text or a pattern, is on the screen; the screen as one text."""
        found = [""]

        def there() -> bool:
            found[0] = self.text()
            return wanted in found[0] if isinstance(wanted, str) else wanted.search(found[0]) is not None

        self.wait_until(there, timeout, repr(wanted))
        return found[0]

    def wait_gone(self, unwanted: str, timeout: float = WAIT_S) -> str:
        """Wait until the text `unwanted` has left the screen."""
        self.wait_until(lambda: unwanted not in self.text(), timeout, f"the end of {unwanted!r}")
        return self.text()

    def wait_exit(self, timeout: float = WAIT_S) -> int:
        """Wait until the program ends; its exit status."""
        self.wait_until(lambda: self.exit_code() is not None, timeout, "the end of the program")
        code = self.exit_code()
        assert code is not None
        return code


class Terminal(_Base):
    """A pseudo-terminal read by `pyte`.

    Attributes:
        pid: The program's process, which leads its session.
        raw: Everything it wrote, undecoded.
    """

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        super().__init__(columns, rows)
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._fd = -1
        self._status: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._closing = threading.Event()
        self._part = b""
        self._first: tuple[dict[int, dict[int, Any]], Any] = ({}, copy(self._screen.cursor))
        self.raw = bytearray()

    @property
    def pid(self) -> int:
        """The program's process id."""
        assert self._child is not None, "nothing was started"
        return self._child.pid

    def start(self, argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | str | None = None) -> Self:
        """Start `argv` with the terminal as its input, output and error.

        Args:
            argv: The program and its arguments.
            env: Added to this process' environment; the name of the terminal and a UTF-8 locale are set as well.
            cwd: Working directory.
        """
        self._fd, slave = pty.openpty()
        _set_size(slave, self.columns, self.rows)
        self._child = subprocess.Popen(
            list(argv),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env=_environment(env),
            start_new_session=True,
            preexec_fn=_take_terminal,
            close_fds=True,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, name="pty-reader", daemon=True)
        self._reader.start()
        return self

    def send(self, keys: str) -> None:
        """Type `keys`: a name of `KEYS`, or characters."""
        os.write(self._fd, KEYS.get(keys, keys).encode())

    def screen(self) -> list[str]:
        """The rows of the screen."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    def cells(self) -> list[list[Any]]:
        """The screen's cells as `pyte` keeps them: `.data`, `.fg`, `.bg`, `.bold`, by row and column."""
        with self._lock:
            return [[self._screen.buffer[row][column] for column in range(self.columns)] for row in range(self.rows)]

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, as a person does at a window's corner: the program gets SIGWINCH."""
        with self._lock:
            self.columns, self.rows = columns, rows
            self._screen.resize(rows, columns)
        _set_size(self._fd, columns, rows)

    def exit_code(self) -> int | None:
        """The program's exit status once all it wrote was read; None before."""
        if self._child is None or self._child.poll() is None:
            return None
        if self._reader is not None:
            self._reader.join(2.0)
        return self._child.returncode

    def close(self) -> None:
        """End the program and its process group, and close the terminal."""
        child = self._child
        if child is not None and child.poll() is None:
            for number in (signal.SIGCONT, signal.SIGHUP, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(5.0 if number == signal.SIGHUP else 0.05)
            child.wait(5.0)
        self._closing.set()
        if self._reader is not None:
            self._reader.join(5.0)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        while not self._closing.is_set():
            ready, _, _ = select.select([self._fd], [], [], 0.1)
            if not ready:
                continue
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:  # Linux' word for the other end being closed
                return
            if not data:
                return
            with self._lock:
                self.raw += data
                self._show(data)

    def _show(self, data: bytes) -> None:
        """Feed the screen; the second screen, which pyte does not know, is kept beside the first."""
        data = self._part + data
        cut = data.rfind(b"\x1b", max(len(data) - 12, 0))
        whole = len(data) if cut < 0 or re.match(rb"\x1b\[[0-9;:<=>?]*[@-~]|\x1b[^\[]", data[cut:]) else cut
        self._part, data = data[whole:], data[:whole]
        for piece in re.split(rb"(\x1b\[\?1049[hl])", data):
            if piece == b"\x1b[?1049h":
                self._first = (
                    {row: dict(cells) for row, cells in self._screen.buffer.items()},
                    copy(self._screen.cursor),
                )
                self._screen.erase_in_display(2)
            elif piece == b"\x1b[?1049l":
                self._screen.erase_in_display(2)
                buffer, cursor = self._first
                for row, cells in buffer.items():
                    self._screen.buffer[row].update(cells)
                self._screen.cursor_position(cursor.y + 1, cursor.x + 1)
            else:
                # pyte takes the private-mode form of these for colours and underlines what follows
                self._stream.feed(re.sub(rb"\x1b\[[<>=?][0-9;]*[mu]", b"", piece))


class TmuxTerminal(_Base):
    """A private tmux server with one pane."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        super().__init__(columns, rows)
        self._folder = tempfile.mkdtemp(prefix="ultra-tmux-")
        self._socket = os.path.join(self._folder, "socket")
        self._settings = os.path.join(self._folder, "tmux.conf")
        Path(self._settings).write_text(_TMUX, encoding="utf-8")

    def start(self, argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | str | None = None) -> Self:
        """As `Terminal.start`."""
        size = ["-x", str(self.columns), "-y", str(self.rows)]
        words = " ".join(map(shlex.quote, argv))
        status = shlex.quote(os.path.join(self._folder, "status"))
        added = {**(env or {}), "LC_ALL": "C.UTF-8"}
        settings = [part for name, value in added.items() for part in ("-e", f"{name}={value}")]
        place = ["-c", str(cwd)] if cwd is not None else []
        # the status goes to a file, and the pane stays as the program left it; tmux may still be reading what it wrote
        shell = f"{words}; echo $? > {status}.new; mv {status}.new {status}; exec sleep 3600"
        self._tmux("new-session", "-d", *size, *settings, *place, "sh", "-c", shell)
        return self

    def send(self, keys: str) -> None:
        """As `Terminal.send`."""
        codes = [f"{byte:02x}" for byte in KEYS.get(keys, keys).encode()]
        self._tmux("send-keys", "-H", *codes)

    def screen(self) -> list[str]:
        """The rows of the screen."""
        lines = [line.rstrip() for line in self._tmux("capture-pane", "-p").split("\n")][: self.rows]
        return lines + [""] * (self.rows - len(lines))

    def resize(self, columns: int, rows: int) -> None:
        """As `Terminal.resize`."""
        self.columns, self.rows = columns, rows
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def exit_code(self) -> int | None:
        """The program's exit status; None while it runs."""
        try:
            return int(Path(self._folder, "status").read_text())
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """End the server and everything in it."""
        with suppress(subprocess.SubprocessError, OSError):
            pids = self._tmux("list-panes", "-a", "-F", "#{pane_pid}").split()
            self._tmux("kill-server")
            for pid in map(int, pids):  # the pane's shell leads the session
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tmux(self, *arguments: str) -> str:
        environment = _environment(None)
        environment.pop("TMUX", None)
        done = subprocess.run(
            ["tmux", "-f", self._settings, "-S", self._socket, *arguments],
            capture_output=True,
            check=True,
            env=environment,
            timeout=20,
        )
        return done.stdout.decode("utf-8", "replace")


_TMUX = """
set -g status off
set -g default-terminal tmux-256color
set -sg escape-time 0
"""

BACKENDS: list[type[Terminal] | type[TmuxTerminal]] = [Terminal, *([TmuxTerminal] if shutil.which("tmux") else [])]
"""The back ends that work on this machine; the first one everywhere."""


def _environment(added: Mapping[str, str] | None) -> dict[str, str]:
    left_out = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM_PROGRAM"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", **(added or {})}


def _take_terminal() -> None:
    """In the child: make its standard input the controlling terminal, so that Ctrl-C and Ctrl-Z mean something."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a suite started in the background has it ignored
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _set_size(fd: int, columns: int, rows: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
