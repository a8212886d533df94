"""The live screen of a real comparison on a real terminal, driven by keys."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from tests.terminal.terminal import BACKENDS, Terminal, TmuxTerminal

ULTRA = [sys.executable, "-m", "ultra_agents.cli.main"]
Kind: TypeAlias = type[Terminal] | type[TmuxTerminal]
LONG = 120.0
"""Seconds for what needs workers, which import everything."""


def experiment(folder: Path, steps: int, **changes: Any) -> list[str]:
    """Writes a small comparison; the command that runs it."""
    settings = {
        "name": "tiny",
        "seeds": 2,
        "methods": ["ultra-ra", "continue"],
        "engine": {"workers": 1},
        "common": {
            "llms": {
                "default": {
                    "provider": "scripted",
                    "options": {"callable": "ultra_agents.testing.corridor_script:good"},
                }
            },
            "collect": {"episodes": 1},
            "narration": {"segments_per_episode": 1},
            "verification": {"max_pairs": 4, "horizon": 20, "decide": "single"},
            "imitation": {"mode": "never"},
            "refine": {"steps": steps, "num_envs": 2, "workers": 0, "evaluate_every": 1000, "curve_episodes": 2},
            "evaluate": {"episodes": 2},
        },
        "tasks": {
            "corridor": {"environment": {"name": "corridor", "options": {"length": 9}}, "policy": {"train_steps": 256}}
        },
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**settings, **changes}, sort_keys=False))
    return [*ULTRA, "compare", "tiny.yaml"]


def events(folder: Path) -> list[dict[str, Any]]:
    """What all cells have logged."""
    rows = []
    for path in sorted(folder.glob("runs/tiny/cells/*/events.jsonl")):
        rows += [json.loads(line) for line in path.read_text().splitlines()]
    return rows


def quiet(folder: Path, seconds: float) -> bool:
    """No event came for so long."""
    before = len(events(folder))
    time.sleep(seconds)
    return len(events(folder)) == before


def went_on(folder: Path) -> bool:
    """The pause was followed by its end, and that by something else."""
    names = [row["event"] for row in events(folder)]
    return "RunContinued" in names[names.index("RunPaused") : -1]


@pytest.mark.parametrize("kind", BACKENDS, ids=lambda kind: kind.__name__)
def test_a_comparison_is_watched_paused_resized_stopped_and_gone_on_with(kind: Kind, tmp_path: Path) -> None:
    with kind(120, 40).start(experiment(tmp_path, 60_000), cwd=tmp_path) as seen:
        seen.wait_for(re.compile(r"refine ultra-ra +\d+%"), LONG)
        seen.wait_for(re.compile(r"ultra-ra .*\d+% .*waiting"))
        seen.wait_for("━ ultra-ra")
        seen.wait_for("accepted")

        seen.send("p")
        seen.wait_for("PAUSED")
        seen.wait_for("p go on")
        seen.wait_until(lambda: any(row["event"] == "RunPaused" for row in events(tmp_path)), what="the cell's pause")
        assert quiet(tmp_path, 1.5), "a paused cell goes on"

        seen.send("DOWN")
        seen.wait_for("corridor  continue  seed 0")
        seen.wait_for("not begun")
        seen.send("RIGHT")
        seen.wait_for("continue  seed 1")
        seen.send("n")
        seen.wait_for("ultra-ra  seed 0")
        seen.send("ENTER")
        seen.wait_until(lambda: "Cells" not in seen.text() and "Agents" in seen.text(), what="the cell alone")
        seen.wait_for("critic")
        seen.send("HOME")
        seen.send("ESC")
        seen.wait_for("Cells")
        seen.send("TAB")
        seen.send("z")
        seen.wait_until(lambda: "Cells" not in seen.text() and "Return on corridor" in seen.text(), what="the curves")
        seen.send("z")
        seen.wait_for("Cells")
        seen.send("?")
        seen.wait_for("the next cell at work")
        seen.send("x")
        seen.wait_gone("the next cell at work")

        seen.resize(80, 24)
        seen.wait_until(lambda: len(seen.screen()[1]) == 80 and seen.screen()[-1].endswith("? help"), what="the size")
        seen.wait_for("Cells")
        seen.wait_for("Flow")
        seen.resize(200, 60)
        seen.wait_until(lambda: len(seen.screen()[2]) == 200, what="the large screen")

        seen.send("p")
        seen.wait_gone("PAUSED")
        seen.wait_until(lambda: went_on(tmp_path), what="more events")
        assert not (tmp_path / "runs/tiny/.pause").exists()

        seen.send("q")
        assert seen.wait_exit(LONG) == 130
        seen.wait_gone("Cells")  # the first screen comes back; tmux may still be reading what was written
        seen.wait_for("ultra compare tiny.yaml")
        seen.wait_for(re.compile(r"ultra-ra +stopped"))
    reached = max(row["steps"] for row in events(tmp_path) if row["event"] == "TrainingProgress")
    assert 0 < reached < 60_000


@pytest.mark.parametrize("kind", BACKENDS, ids=lambda kind: kind.__name__)
def test_a_screen_that_cannot_be_drawn_does_not_end_the_comparison(kind: Kind, tmp_path: Path) -> None:
    experiment(tmp_path, 512, methods=["continue"])
    (tmp_path / "broken.py").write_text(BROKEN)
    with kind(100, 30).start([sys.executable, "broken.py"], cwd=tmp_path) as seen:
        assert seen.wait_exit(LONG) == 0
        seen.wait_for("the display failed")
        seen.wait_for(re.compile("finished +corridor continue seed 1"))
        assert "Cells" not in seen.text()
    assert "no such panel" in next(tmp_path.glob("runs/tiny/crash-*.txt")).read_text()
    status = [cell["status"] for cell in json.loads((tmp_path / "runs/tiny/report.json").read_text())["cells"]]
    assert status == ["finished", "finished"]


BROKEN = """
import sys
from ultra_agents.ui.compare import screen

def broken(*_):
    raise RuntimeError("no such panel")

if __name__ == "__main__":
    screen.COMPARISON_PANELS["curves"] = broken
    from ultra_agents.cli.main import main
    sys.argv = ["ultra", "compare", "tiny.yaml"]
    main()
"""


def test_what_workers_print_does_not_spoil_the_screen(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import os\n"
        "from ultra_agents.testing.corridor_script import good\n"
        "def loud(*given):\n"
        "    os.write(2, b'NOISE from a worker')\n"
        "    return good(*given)\n"
    )
    command = experiment(tmp_path, 20_000, methods=["ultra-ra"], seeds=1)
    text = (tmp_path / "tiny.yaml").read_text().replace("ultra_agents.testing.corridor_script:good", "noisy:loud")
    (tmp_path / "tiny.yaml").write_text(text)
    with Terminal(100, 30).start(command, {"PYTHONPATH": str(tmp_path)}, tmp_path) as seen:
        seen.wait_for(re.compile(r"refine ultra-ra"), LONG)
        seen.wait_for("critic")
        seen.send("q")
        seen.wait_exit(LONG)
        assert b"NOISE" not in seen.raw
    assert "NOISE from a worker" in (tmp_path / "runs/tiny/output.txt").read_text()
