"""`ultra` alone in a real terminal: from questions to a file, and to a run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.terminal.terminal import BACKENDS, Terminal, TmuxTerminal
from ultra_agents.config import load_config

ULTRA = [sys.executable, "-m", "ultra_agents.cli.main"]


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_file_is_written_back_and_forth(kind: type[Terminal] | type[TmuxTerminal], tmp_path: Path) -> None:
    with kind(120, 40).start(ULTRA, cwd=tmp_path) as seen:
        seen.wait_for("Win points against")
        seen.send("ENTER")
        seen.wait_for("ships with pong")
        seen.send("ENTER")
        seen.wait_for("no model: the environment's expert")
        seen.send("END")
        seen.wait_for("File of rules")
        seen.send("UP")
        seen.send("UP")
        seen.wait_gone("File of rules")
        seen.wait_for("No model is asked")
        seen.send("ENTER")
        seen.wait_for("[x] ultra-ra")
        seen.send("ESC")
        seen.wait_for("No model is asked")
        seen.send("ENTER")
        seen.wait_for("[x] ultra-ra")
        seen.send("ENTER")
        seen.wait_for("Environment steps per method")
        seen.send("ENTER")
        seen.wait_for("Write the file only")
        seen.wait_for("steps/s")
        seen.send("DOWN")
        seen.send("ENTER")
        assert seen.wait_exit() == 0
        seen.wait_for("run it with: ultra run pong.yaml")
    config = load_config(tmp_path / "pong.yaml")
    assert config.proposer == "oracle"
    assert config.methods == ("ultra-ra", "continue")


def test_an_existing_file_asks_and_stays(tmp_path: Path) -> None:
    (tmp_path / "corridor.yaml").write_text("mine")
    with Terminal(80, 24).start(ULTRA, cwd=tmp_path) as seen:
        to_the_last_page(seen)
        seen.send("ENTER")
        seen.wait_for("corridor.yaml exists. Overwrite it?")
        seen.send("n")
        seen.wait_gone("Overwrite it?")
        seen.send("\x11")
        assert seen.wait_exit() == 0
        seen.wait_for("nothing was written")
    assert (tmp_path / "corridor.yaml").read_text() == "mine"


def test_it_becomes_the_run(tmp_path: Path) -> None:
    with Terminal(100, 30).start(ULTRA, cwd=tmp_path) as seen:
        to_the_last_page(seen)
        seen.send("ENTER")
        log = tmp_path / "runs" / "corridor" / "events.jsonl"
        seen.wait_until(lambda: log.is_file() and "RunStarted" in log.read_text(), what="the run's first event")
        seen.send("CTRL_C")
        seen.wait_until(lambda: seen.exit_code() is not None, what="the end of the run")
        assert seen.exit_code() == 130
    assert load_config(tmp_path / "corridor.yaml").environment.name == "corridor"


def to_the_last_page(seen: Terminal) -> None:
    """The corridor, a policy trained first, random advice."""
    seen.wait_for("Win points against")
    seen.send("END")
    seen.wait_for("Walk to the end of the corridor")
    seen.send("ENTER")
    seen.wait_for("train one first")
    seen.send("ENTER")
    seen.wait_for("no model:")
    seen.send("END")
    seen.wait_for("File of rules")
    seen.send("UP")
    seen.send("UP")
    seen.wait_gone("File of rules")
    seen.wait_for("No model is asked")
    seen.send("ENTER")
    seen.wait_for("[x] ultra-ra")
    seen.send("ENTER")
    seen.wait_for("Episodes explained")
    seen.send("ENTER")
    seen.wait_for("Write the file and run it")


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_tiny_or_a_dumb_terminal(kind: type[Terminal] | type[TmuxTerminal], tmp_path: Path) -> None:
    with kind(20, 5).start(ULTRA, cwd=tmp_path) as seen:
        assert seen.wait_exit() == 2
        assert "Traceback" not in seen.text()
    if kind is Terminal:
        with Terminal(100, 60).start(ULTRA, env={"TERM": "dumb"}, cwd=tmp_path) as dumb:
            assert dumb.wait_exit() == 2
            assert "TERM=dumb cannot move a cursor" in dumb.text()
    assert list(tmp_path.iterdir()) == []
