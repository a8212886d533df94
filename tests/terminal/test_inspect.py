"""`ultra inspect` in a real terminal: keys, colours, resizing, and a terminal that is too small or has no cursor."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.cli.made_run import make_run
from tests.terminal.terminal import BACKENDS, Terminal, TmuxTerminal

ULTRA = [sys.executable, "-m", "ultra_agents.cli.main"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs")).path


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_run_is_browsed_with_keys(kind: type[Terminal] | type[TmuxTerminal], run: Path) -> None:
    with kind(120, 40).start([*ULTRA, "inspect", str(run)]) as seen:
        seen.wait_for("here, before and after")
        seen.wait_for("instead")
        seen.wait_for("✔ 3 accepted")
        seen.wait_for("Episode 0")
        seen.wait_for("I am in cell 15")
        seen.wait_for("▀")
        seen.wait_for(re.compile(r"starting +. (LEFT|RIGHT)"))
        seen.send("RIGHT")
        seen.wait_for("Step 1 of")
        seen.send("n")
        seen.wait_for("critical, rejected")
        seen.send("a")
        seen.wait_for("critical, accepted")
        seen.send("t")
        seen.wait_for("action: RIGHT; hold: 16")
        seen.send("ESC")
        seen.wait_for("Scene")
        seen.send("/")
        seen.wait_for("words …")
        seen.send("episode that is not there")
        seen.wait_for("0 found")
        seen.send("ESC")
        seen.wait_gone("0 found")
        seen.send("?")
        seen.wait_for("next and previous accepted one")
        seen.send("q")
        seen.wait_for("Scene")
        seen.send("q")
        assert seen.wait_exit() == 0
        assert "Traceback" not in seen.text()


@pytest.mark.parametrize("kind", BACKENDS)
def test_resizing(kind: type[Terminal] | type[TmuxTerminal], run: Path) -> None:
    with kind(80, 24).start([*ULTRA, "inspect", str(run)]) as seen:
        seen.wait_for("Scene")
        assert "Episode 0" not in seen.text()
        seen.resize(200, 60)
        seen.wait_for("Agents on this step")
        seen.wait_for("Episode 2")
        seen.resize(40, 8)
        seen.wait_for("too small")
        seen.resize(80, 24)
        seen.wait_for("Scene")
        seen.send("q")
        assert seen.wait_exit() == 0


@pytest.mark.parametrize("kind", BACKENDS)
def test_too_small_from_the_start(kind: type[Terminal] | type[TmuxTerminal], run: Path) -> None:
    with kind(20, 5).start([*ULTRA, "inspect", str(run)]) as seen:
        assert seen.wait_exit() == 2
        assert "Traceback" not in seen.text()
    with kind(50, 12).start([*ULTRA, "inspect", str(run)]) as seen:
        assert seen.wait_exit() == 2
        seen.wait_for("too small")


def test_a_terminal_without_a_cursor_gets_the_table(run: Path) -> None:
    with Terminal(160, 40).start([*ULTRA, "inspect", str(run)], env={"TERM": "dumb"}) as seen:
        assert seen.wait_exit() == 0
        seen.wait_for("critical 0:0")
        assert b"\x1b" not in bytes(seen.raw)


def test_sixteen_colours(run: Path) -> None:
    with Terminal(120, 40).start([*ULTRA, "inspect", str(run)], env={"TERM": "xterm", "COLORTERM": ""}) as seen:
        seen.wait_for("instead")
        raw = bytes(seen.raw)
        assert re.search(rb"\x1b\[[0-9;]*[34][0-7]", raw)
        assert not re.search(rb"\x1b\[[0-9;]*[34]8;[25];", raw)
        scene = [cell for row in seen.cells()[2:6] for cell in row if cell.data == "▀"]
        assert len({cell.fg for cell in scene}) >= 3, "the walker, the goal, the lure and the ground"
        seen.send("q")
        assert seen.wait_exit() == 0


def test_no_color(run: Path) -> None:
    with Terminal(120, 40).start([*ULTRA, "inspect", str(run)], env={"NO_COLOR": "1"}) as seen:
        seen.wait_for("instead")
        seen.wait_until(lambda: re.search(r"[▀▄█]", "".join(seen.screen()[2:5])) is not None, what="the picture")
        assert {cell.fg for row in seen.cells() for cell in row} == {"default"}
        assert {cell.bg for row in seen.cells() for cell in row} == {"default"}
        assert any(cell.reverse for row in seen.cells()[2:20] for cell in row), "the current row is marked"
        seen.send("q")
        assert seen.wait_exit() == 0
