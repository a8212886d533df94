"""The screen of a comparison at fixed sizes and time, compared with the texts in `golden/`; and the display's keys.

After a change that is meant, `ULTRA_UPDATE_GOLDEN=1 pytest tests/ui` writes them anew; look at the difference.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.ui.compare.sample_comparison import comparison
from tests.ui.drawing import drawn
from ultra_agents.events import RunContinued, RunPaused, Warned
from ultra_agents.ui.compare import screen
from ultra_agents.ui.compare.cell_table import CellStatus
from ultra_agents.ui.compare.cells import cells_panel, columns_of
from ultra_agents.ui.compare.curves import curves_panel
from ultra_agents.ui.compare.display import CompareDisplay
from ultra_agents.ui.compare.screen import CompareScreen, panes, regions
from ultra_agents.ui.compare.state import ComparisonState
from ultra_agents.ui.view import View

GOLDEN = Path(__file__).parent / "golden"
SIZES = [(60, 16), (80, 24), (120, 36), (200, 60)]
KEYS = View(keys=True, focus="cells")


def made() -> dict[str, str]:
    """Every golden text as it is now, by file name."""
    what, now = comparison()
    texts = {f"compare_{w}x{h}.txt": drawn(CompareScreen(what, now, KEYS), w, h) for w, h in SIZES}
    texts["compare_opened.txt"] = drawn(CompareScreen(replace(what, opened=True), now, KEYS), 80, 24)
    paused = replace(what, paused=now, warnings=("a cell failed",))
    texts["compare_paused.txt"] = drawn(CompareScreen(paused, now + 60, KEYS), 100, 30)
    texts["compare_help.txt"] = drawn(CompareScreen(what, now, replace(KEYS, help=True)), 80, 24)
    texts["compare_empty.txt"] = drawn(CompareScreen(ComparisonState("none"), 0.0, KEYS), 80, 24)
    texts["cells.txt"] = drawn(cells_panel(what, now, 78, 12), 78, 12)
    texts["curves.txt"] = drawn(curves_panel(what, now, 78, 12), 78, 12)
    return texts


@pytest.mark.parametrize("name", made())
def test_it_looks_as_it_did(name: str) -> None:
    path, text = GOLDEN / name, made()[name]
    if os.environ.get("ULTRA_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [*SIZES, (20, 5), (72, 19), (100, 30), (130, 32), (400, 100), (1, 1)])
@pytest.mark.parametrize("changes", [{}, {"opened": True}, {"selected": 0}, {"selected": 23}])
def test_the_regions_tile_the_screen(size: tuple[int, int], changes: dict[str, int]) -> None:
    what, now = comparison()
    what = replace(what, **changes)  # type: ignore[arg-type]
    width, height = size
    seen = [[0] * width for _ in range(height)]
    for one in regions(width, height, what, KEYS):
        for y in range(one.y, one.y + one.height):
            for x in range(one.x, one.x + one.width):
                seen[y][x] += 1
    assert all(count == 1 for row in seen for count in row)
    assert len(drawn(CompareScreen(what, now, KEYS), width, height).splitlines()) <= height


def test_twenty_seeds_are_seen_around_the_chosen_one() -> None:
    what, _ = comparison()
    many = tuple(
        replace(what.cells[0], reported=CellStatus("pong", method, seed, "waiting"))
        for method in ("a", "b")
        for seed in range(20)
    )
    shown = columns_of(replace(what, cells=many, selected=35), 40).seeds
    assert 15 in shown
    assert 3 <= len(shown) < 20
    assert columns_of(replace(what, cells=many, selected=0), 40).seeds[0] == 0


class Controls:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def toggle_pause(self) -> None:
        self.heard.append("pause")

    def ask_to_stop(self) -> None:
        self.heard.append("stop")


@pytest.fixture
def display(tmp_path: Path) -> Iterator[CompareDisplay]:
    file = io.StringIO()
    console = Console(file=file, width=100, height=30, force_terminal=True, legacy_windows=False, _environ={})
    what, now = comparison()
    logs = [tmp_path / f"{index}.jsonl" for index in range(len(what.cells))]
    shown = CompareDisplay(console, "demo", "runs/demo", logs, Controls(), now=lambda: now, keys=lambda display: None)
    shown.update([cell.reported for cell in what.cells])
    yield shown
    shown.stop()


def test_keys_choose_open_scroll_and_steer(display: CompareDisplay) -> None:
    def state() -> tuple[str, int, bool, str]:
        cell = display.comparison.cell
        assert cell is not None
        return cell.reported.method, cell.reported.seed, display.comparison.opened, display.view.focus

    def press(keys: Sequence[str]) -> tuple[str, int, bool, str]:
        for key in keys:
            display.press(key)
        return state()

    assert state() == ("ultra-ra", 2, False, "cells"), "it follows the first cell at work"
    assert press(["UP", "LEFT"]) == ("continue", 1, False, "cells")
    assert press(["]"])[:2] == ("continue", 1)
    assert display.comparison.task == "hopper"
    assert press(["["])[:2] == ("continue", 1)
    assert press(["ENTER"]) == ("continue", 1, True, "conversation")
    assert press(["RIGHT"]) == ("continue", 2, True, "conversation")
    assert press(["ESC"]) == ("continue", 2, False, "cells")
    assert press(["TAB"]) == ("continue", 2, False, "curves")
    assert press(["UP"])[:2] == ("continue", 2), "arrows choose while the cells have the keys"
    assert press(["z"])[3] == "curves"
    assert display.view.zoom
    assert press(["ESC", "SHIFT_TAB"])[3] == "cells"
    assert press(["n"])[:2] == ("ultra-ra", 2)
    assert press(["HOME", "f"])[:2] == ("ultra-ra", 2)
    press(["?", "q"])
    assert isinstance(display.controls, Controls)
    assert display.controls.heard == [], "the key that leaves the help does nothing else"
    press(["p", "q"])
    assert display.controls.heard == ["pause", "stop"]
    assert display.view.stopping


def test_a_pause_stops_the_clock_and_is_seen(display: CompareDisplay) -> None:
    display.handle(RunPaused())
    assert display.comparison.paused is not None
    display.handle(Warned("full disk"))
    text = drawn(CompareScreen(display.comparison, display.now() + 50, display.view), 100, 30)
    assert "PAUSED" in text
    assert "full disk" in text
    display.handle(RunContinued())
    assert display.comparison.paused is None


def test_what_cannot_be_drawn_is_told_to_the_caller(display: CompareDisplay, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such colour")

    monkeypatch.setitem(screen.COMPARISON_PANELS, "cells", broken)
    display.start()
    states = [cell.reported for cell in display.comparison.cells]
    assert display._thread is not None
    display.press("CTRL_L")
    display._thread.join(20)
    with pytest.raises(RuntimeError, match="no such colour"):
        display.update(states)


def test_tab_goes_through_what_is_there() -> None:
    what, _ = comparison()
    assert panes(80, 24, what, KEYS) == ["cells", "curves", "flow", "conversation"]
    assert panes(80, 24, replace(what, opened=True), KEYS)[0] == "flow"
