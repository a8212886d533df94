"""The live screen of real runs on a real terminal, driven by keys."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from tests.terminal.terminal import BACKENDS, Terminal, TmuxTerminal
from tests.ui import sample_run
from ultra_agents.config import Config
from ultra_agents.events import RunFinished
from ultra_agents.runs import RunFolder

ROOT = Path(__file__).parent.parent.parent
ULTRA = [sys.executable, "-m", "ultra_agents.cli.main"]
Kind: TypeAlias = type[Terminal] | type[TmuxTerminal]
SETTINGS: dict[str, Any] = {
    "name": "one",
    "environment": {"name": "corridor"},
    "policy": {"train_steps": 500},
    "llms": {
        "default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
    },
    "collect": {"episodes": 2},
    "imitation": {"mode": "never"},
    "advice": {"in_force": "always"},  # testing the table would leave little to refine with
    "refine": {"steps": 16_000, "num_envs": 2, "workers": 0, "evaluate_every": 1000, "curve_episodes": 2},
    "evaluate": {"episodes": 2},
    "methods": ["ultra-ra"],
}


@pytest.fixture(params=BACKENDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def events(folder: Path) -> list[dict[str, Any]]:
    path = folder / "runs/one/events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def quiet(folder: Path, seconds: float) -> bool:
    """No event came for so long."""
    before = len(events(folder))
    time.sleep(seconds)
    return len(events(folder)) == before


def test_a_run_is_paused_watched_resized_stopped_and_resumed(kind: Kind, config: Path, tmp_path: Path) -> None:
    with kind(120, 40).start([*ULTRA, "run", str(config)], cwd=tmp_path) as run, kind(100, 30) as watch:
        run.wait_for(re.compile(r"● refine ultra-ra"))
        run.wait_for("p pause")

        run.send("p")
        run.wait_for("PAUSED")
        run.wait_for("p go on")
        run.wait_until(lambda: quiet(tmp_path, 0.3), what="the work in hand")
        assert quiet(tmp_path, 1.5), "a paused run goes on"
        watch.start([*ULTRA, "watch", "one"], cwd=tmp_path)
        watch.wait_for("PAUSED")
        watch.wait_for("q leave")

        run.send("p")
        run.wait_gone("PAUSED")
        watch.wait_gone("PAUSED")
        names = [row["event"] for row in events(tmp_path)]
        assert names.index("RunPaused") < names.index("RunContinued")

        run.resize(80, 24)
        run.wait_until(lambda: run.screen()[1].endswith("─╮") and len(run.screen()[1]) == 80, what="the small screen")
        run.wait_until(lambda: run.screen()[-1].endswith("? help"), what="the last line in use")
        run.resize(120, 40)
        run.wait_until(lambda: len(run.screen()[1]) == 120, what="the large screen")

        run.send("q")
        assert run.wait_exit() == 130
        run.wait_for("ultra resume runs/one")
        assert "Flow" not in run.text(), "the first screen came back"
        watch.wait_for("interrupted")
        watch.send("q")
        assert watch.wait_exit() == 0
        watch.wait_for("■ one interrupted")
    reached = max(row["steps"] for row in events(tmp_path) if row["event"] == "TrainingProgress")
    assert 0 < reached < 16_000

    with kind(120, 40).start([*ULTRA, "resume", "one"], cwd=tmp_path) as run:
        assert run.wait_exit() == 0
        run.wait_for("report: runs/one/report.html")
        run.wait_for("✔ one finished")
    with kind(100, 30).start([*ULTRA, "watch", "one"], cwd=tmp_path) as watch:
        watch.wait_for("finished")
        watch.wait_for("Agents")
        watch.wait_for("answers")
        watch.send("q")
        assert watch.wait_exit() == 0


DEMO = """
import sys, time
from rich.console import Console
from tests.ui import sample_run
from ultra_agents.ui.live import LiveDisplay
class Controls:
    def toggle_pause(self): pass
    def ask_to_stop(self):
        stopped.append(1)
stopped = []
display = LiveDisplay(Console(), controls=Controls())
display.start()
print("printed meanwhile")
for _, event in sample_run.events():
    display.handle(event)
while not stopped:
    time.sleep(0.02)
display.stop()
print("over", sys.stdin.readline().strip())
"""


def demo(kind: Kind, columns: int = 120, rows: int = 40) -> Terminal | TmuxTerminal:
    return kind(columns, rows).start([sys.executable, "-c", DEMO])


def test_keys_move_the_focus_scroll_and_zoom(kind: Kind) -> None:
    with demo(kind) as seen:
        seen.wait_for("3:660-720")
        seen.send("z")
        seen.wait_until(lambda: "Flow" not in seen.text() and "Agents" in seen.text(), what="the conversation alone")
        seen.send("HOME")
        seen.wait_for("0:0-60")
        seen.wait_for("lines on, End follows")
        seen.send("PAGEDOWN")
        seen.send("END")
        seen.wait_for("3:660-720")
        seen.wait_gone("End follows")
        seen.send("ESC")
        seen.wait_for("Flow")
        seen.send("?")
        seen.wait_for("Keys")
        seen.send("x")
        seen.wait_gone("Keys")
        for _ in range(2):
            seen.send("TAB")
        seen.send("z")
        seen.wait_gone("Flow")
        seen.send("TAB")
        seen.wait_for("Flow")
        seen.send("q")
        seen.wait_for("printed meanwhile")
        seen.send("typed\r")
        seen.wait_for("over typed")
        assert seen.wait_exit() == 0


def test_lines_are_edited_and_echoed_again_afterwards() -> None:
    with Terminal(80, 24).start([sys.executable, "-c", DEMO]) as seen:
        seen.wait_for("Flow")
        seen.send("q")
        seen.wait_for("printed meanwhile")
        seen.send("ab")
        seen.wait_for(re.compile("^ab", re.MULTILINE))
        seen.send("BACKSPACE")
        seen.send("c\r")
        seen.wait_for("over ac")


@pytest.mark.skipif(shutil.which("bash") is None, reason="job control needs a shell")
def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it(tmp_path: Path) -> None:
    (tmp_path / "demo.py").write_text(DEMO)
    with Terminal(100, 30).start(["bash", "--norc", "--noprofile", "-i"], {"PS1": "shell> "}, tmp_path) as seen:
        seen.wait_for("shell>")
        seen.send(f"PYTHONPATH={ROOT} {sys.executable} demo.py\r")
        seen.wait_for("Flow")
        seen.send("CTRL_Z")
        seen.wait_for("Stopped")
        assert "Flow" not in seen.text()
        seen.send("echo $((40 + 2))\r")
        seen.wait_for(re.compile("^42$", re.MULTILINE))
        seen.send("fg\r")
        seen.wait_for("Flow")
        seen.send("q")
        seen.wait_for("printed meanwhile")
        seen.send("x\r")
        seen.wait_for("over x")


def test_ctrl_c_stops_a_paused_run_cleanly(config: Path, tmp_path: Path) -> None:
    with Terminal(100, 30).start([*ULTRA, "run", str(config)], cwd=tmp_path) as run:
        run.wait_for(re.compile(r"● refine ultra-ra"))
        run.send("p")
        run.wait_for("PAUSED")
        run.send("CTRL_C")
        assert run.wait_exit() == 130
        run.wait_for("ultra resume runs/one")


@pytest.mark.parametrize(
    ("columns", "rows", "env", "words"),
    [
        (20, 5, {}, "this terminal is 20x5"),
        (100, 30, {"TERM": "dumb"}, "stage   report finished"),
    ],
)
def test_a_terminal_that_is_no_use_gets_lines(
    config: Path, tmp_path: Path, columns: int, rows: int, env: dict[str, str], words: str
) -> None:
    config.write_text(yaml.safe_dump({**SETTINGS, "methods": ["continue"], "refine": {"steps": 500, "workers": 0}}))
    with Terminal(columns, rows).start([*ULTRA, "run", str(config)], env, tmp_path) as run:
        assert run.wait_exit() == 0
        written = run.raw.decode()
    assert "\x1b[?1049h" not in written
    assert words in written.replace("\r\n", "\n")


def test_without_colours_there_is_still_a_screen() -> None:
    with Terminal(100, 30).start([sys.executable, "-c", DEMO], {"NO_COLOR": "1"}) as seen:
        seen.wait_for("Flow")
        colours = {cell.fg for row in seen.cells() for cell in row}
        assert colours == {"default"}
        seen.send("q")
        seen.wait_for("printed meanwhile")


def test_several_runs_are_watched_in_tabs(kind: Kind, tmp_path: Path) -> None:
    for name, last in (("first", []), ("second", [RunFinished("finished", 92.0, "it helped", "report.html")])):
        folder = RunFolder.create(tmp_path / "runs", Config.model_validate({**SETTINGS, "name": name}))
        for event in [*(event for _, event in sample_run.events()), *last]:
            folder.append_event({**event.to_json(), "time": 1e9})
        folder.close()
    with kind(110, 32).start([*ULTRA, "watch", "first", "second"], cwd=tmp_path) as seen:
        seen.wait_for(re.compile(r"1 first stopped\s+2 second finished"))
        seen.wait_for("no process is running it")
        seen.send("n")
        seen.wait_gone("no process is running it")
        seen.send("1")
        seen.wait_for("no process is running it")
        seen.send("?")
        seen.wait_for("another run")
        seen.send("q")
        seen.wait_gone("another run")
        assert seen.exit_code() is None, "the key that leaves the help does nothing else"
        seen.send("q")
        assert seen.wait_exit() == 0
        seen.wait_for("✔ demo-pong finished")
