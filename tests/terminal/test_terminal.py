"""The driver itself: what it starts sees keys, sizes and signals, and is gone when it is closed."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest

from tests.terminal.terminal import BACKENDS, ScreenTimeout, Terminal, TmuxTerminal

ECHO = """
import os, signal, sys, termios, tty
def size(*_):
    print("size %dx%d\\r" % os.get_terminal_size(), flush=True)
signal.signal(signal.SIGWINCH, size)
tty.setcbreak(0)
print("pid", os.getpid(), "word", os.environ["WORD"], "in", os.path.basename(os.getcwd()), flush=True)
size()
while (key := os.read(0, 16)) != b"q":
    print("key", key, flush=True)
sys.exit(7)
"""


@pytest.fixture(params=BACKENDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[Terminal] | type[TmuxTerminal]:
    found: type[Terminal] | type[TmuxTerminal] = request.param
    return found


def test_a_program_gets_keys_sizes_and_its_surroundings(
    kind: type[Terminal] | type[TmuxTerminal], tmp_path: Path
) -> None:
    with kind(70, 20).start([sys.executable, "-c", ECHO], {"WORD": "ü"}, tmp_path) as seen:
        seen.wait_for("size 70x20")
        assert f"word ü in {tmp_path.name}" in seen.text()
        seen.send("x")
        seen.wait_for("key b'x'")
        seen.send("PAGEUP")
        seen.wait_for(re.compile(r"key b'\\x1b\[5~'"))
        seen.resize(90, 30)
        seen.wait_for("size 90x30")
        assert len(seen.screen()) == 30
        assert seen.exit_code() is None
        seen.send("q")
        assert seen.wait_exit() == 7
        seen.wait_for("size 90x30")


def test_what_never_comes_is_told_with_the_screen(kind: type[Terminal] | type[TmuxTerminal]) -> None:
    with kind(60, 10).start([sys.executable, "-c", "print('here'); input()"]) as seen:
        seen.wait_for("here")
        with pytest.raises(ScreenTimeout, match=r"(?s)'there' did not happen.*still running.*here"):
            seen.wait_for("there", timeout=0.2)


def test_closing_ends_what_was_started(kind: type[Terminal] | type[TmuxTerminal]) -> None:
    seen = kind(80, 10).start([sys.executable, "-c", ECHO], {"WORD": "x"})
    try:
        found = re.search(r"pid (\d+)", seen.wait_for(re.compile(r"pid \d+ word x")))
        assert found
    finally:
        seen.close()
    end = time.monotonic() + 20
    while _there(int(found[1])):
        assert time.monotonic() < end, "the program outlived its terminal"
        time.sleep(0.02)


def _there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
