"""SVG images of the live screen: `python -m docs.screens.live RUN --out examples/images`.

Reads the event log of a run and writes what the live screen showed at some moments: while explaining
(`live-explain.svg`), while refining (`live-refine.svg`), at the end (`live-finished.svg`), and the help
(`live-keys.svg`). Of the folder of a comparison, what its screen showed after a share of its time
(`live-compare.svg`). The same logs give the same images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from docs.screens.comparison import comparison_at
from ultra_agents.events import AdviceDecided, Event, RulesDecided, RunFinished, StateShown, TrainingProgress
from ultra_agents.ui.compare.screen import CompareScreen
from ultra_agents.ui.event_log import EventLogReader
from ultra_agents.ui.run_state import RunState, reduce
from ultra_agents.ui.svg import screen_svg, to_svg
from ultra_agents.ui.view import View

DECIDED = AdviceDecided | RulesDecided | StateShown


def moments(events: Sequence[tuple[float, Event]]) -> dict[str, int]:
    """How many events the screen of each picture has seen."""
    found: dict[str, int] = {}
    told = [index for index, (_, event) in enumerate(events) if isinstance(event, DECIDED)]
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
    read = [found for found in EventLogReader(log).poll() if found is not None]
    events = [(0.0 if when is None else when, event) for when, event in read]
    if not events:
        raise SystemExit(f"there are no events in {log}")
    out.mkdir(parents=True, exist_ok=True)
    written = []
    wanted, state = moments(events), RunState()
    for count, (when, event) in enumerate(events, 1):
        state = reduce(state, event, when)
        for name in (name for name, at in wanted.items() if at == count):
            written.append(out / f"{name}.svg")
            written[-1].write_text(screen_svg(state, when, width, height, f"ultra run {state.name}"), encoding="utf-8")
    keys = View(help=True, keys=True)
    written.append(out / "live-keys.svg")
    written[-1].write_text(screen_svg(state, events[-1][0], 80, 24, "ultra run, key ?", keys), encoding="utf-8")
    return written


def write_comparison(folder: Path, out: Path, width: int, height: int, share: float) -> Path:
    """Write the picture of the comparison in `folder` when `share` of its time had passed; where it is."""
    comparison, moment = comparison_at(folder, share)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "live-compare.svg"
    shown = CompareScreen(comparison, moment, View(keys=True, focus="cells"))
    path.write_text(to_svg(shown, width, height, f"ultra compare {comparison.name}"), encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pictures and name them."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.screens.live", description="Write what the live screen of a run showed, as SVG."
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
