"""Pictures of the screen for the README: `python -m ultra_agents.ui.screenshot RUN --out examples/images`.

Reads the event log of a run and writes what the live screen showed at some moments, as SVG: while explaining
(`live-explain.svg`), while refining (`live-refine.svg`), at the end (`live-finished.svg`), and the help
(`live-keys.svg`). Of the folder of a comparison, what its screen showed when a share of its time had passed
(`live-compare.svg`). The same logs give the same pictures.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from ultra_agents.events import AdviceDecided, Event, RunFinished, StateShown, TrainingProgress
from ultra_agents.ui.model import ViewState, reduce
from ultra_agents.ui.screen import Screen
from ultra_agents.ui.tail import Tail
from ultra_agents.ui.view import View

THEME = TerminalTheme(
    (22, 24, 29),
    (214, 217, 224),
    [(40, 43, 51), (230, 98, 98), (110, 190, 110), (222, 184, 85), (97, 160, 235), (190, 130, 220), (80, 190, 200),
     (200, 204, 212)],
    [(120, 126, 138), (255, 130, 130), (130, 220, 130), (245, 210, 110), (130, 185, 255), (215, 160, 245),
     (110, 220, 230), (255, 255, 255)],
)  # fmt: skip
"""Colours that can be told apart on a dark ground."""


def picture(state: ViewState, now: float, width: int, height: int, title: str, view: View | None = None) -> str:
    """The screen at one moment as SVG."""
    return svg(Screen(state, now, view or View(keys=True)), width, height, title)


def svg(what: RenderableType, width: int, height: int, title: str) -> str:
    """A terminal of that size with `what` on it, as SVG."""
    console = Console(
        width=width, height=height, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor",
        legacy_windows=False, _environ={},
    )  # fmt: skip
    console.print(what, height=height, end="")
    return console.export_svg(title=title, theme=THEME, unique_id=title.replace(" ", "-"))


def moments(events: Sequence[tuple[float, Event]]) -> dict[str, int]:
    """How many events the screen of each picture has seen."""
    found: dict[str, int] = {}
    told = [index for index, (_, event) in enumerate(events) if isinstance(event, AdviceDecided | StateShown)]
    if told:
        found["live-explain"] = told[len(told) * 3 // 4] + 1
    trained = [index for index, (_, event) in enumerate(events) if isinstance(event, TrainingProgress)]
    if trained:
        found["live-refine"] = trained[len(trained) * 4 // 5] + 1
    ended = [index for index, (_, event) in enumerate(events) if isinstance(event, RunFinished)]
    if ended:
        found["live-finished"] = ended[-1] + 1
    return found


def write(log: Path, out: Path, width: int, height: int) -> list[Path]:
    """Write the pictures of the run whose events are in `log`; where they are."""
    read = [found for found in Tail(log).poll() if found is not None]
    events = [(0.0 if when is None else when, event) for when, event in read]
    if not events:
        raise SystemExit(f"there are no events in {log}")
    out.mkdir(parents=True, exist_ok=True)
    written = []
    wanted, state = moments(events), ViewState()
    for count, (when, event) in enumerate(events, 1):
        state = reduce(state, event, when)
        for name in (name for name, at in wanted.items() if at == count):
            written.append(out / f"{name}.svg")
            written[-1].write_text(picture(state, when, width, height, f"ultra run {state.name}"), encoding="utf-8")
    keys = View(help=True, keys=True)
    written.append(out / "live-keys.svg")
    written[-1].write_text(picture(state, events[-1][0], 80, 24, "ultra run, key ?", keys), encoding="utf-8")
    return written


def write_comparison(folder: Path, out: Path, width: int, height: int, share: float) -> Path:
    """Write the picture of the comparison in `folder` when `share` of its time had passed; where it is."""
    from ultra_agents.ui.compare.screen import CompareScreen
    from ultra_agents.ui.compare.screenshot import board_at

    board, moment = board_at(folder, share)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "live-compare.svg"
    shown = CompareScreen(board, moment, View(keys=True, focus="cells"))
    path.write_text(svg(shown, width, height, f"ultra compare {board.name}"), encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pictures and name them."""
    parser = argparse.ArgumentParser(
        prog="python -m ultra_agents.ui.screenshot", description="Write what the live screen of a run showed, as SVG."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, or that of a comparison")
    parser.add_argument("--out", type=Path, default=Path("examples/images"))
    parser.add_argument("--size", default="140x44", help="columns x rows")
    parser.add_argument("--share", type=float, default=0.5, help="of a comparison's time, in [0, 1]")
    given = parser.parse_args(arguments)
    width, height = map(int, given.size.split("x"))
    if (given.run / "cells").is_dir():
        print(write_comparison(given.run, given.out, width, height, given.share))
        return
    for path in write(given.run / "events.jsonl", given.out, width, height):
        print(path)


if __name__ == "__main__":
    main()
