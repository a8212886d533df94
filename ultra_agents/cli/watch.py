"""`ultra watch`: the live screen for runs of other processes, and for finished ones."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ultra_agents.ui.watch import WatchedRun


def watch(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders, or their names below --runs.")],
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    plain: Annotated[bool, typer.Option("--plain", help="One line per event instead of the live screen.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per event.")] = False,
) -> None:
    """Watch runs of other processes, or look at finished ones.

    Only their event logs are read: a watched run is neither slowed down nor ended by leaving.
    """
    from ultra_agents.cli.console import out
    from ultra_agents.cli.run_display import display_mode

    mode = display_mode(plain, json)
    found = [_watched(name, runs) for name in dict.fromkeys(run)]
    console = out()
    for one in found:
        one.poll()
    if mode == "auto":
        from ultra_agents.ui.display import live_fits
        from ultra_agents.ui.keys import has_keyboard

        if live_fits(console) and has_keyboard(console.is_terminal):
            _on_screen(console, found)
            return
    _in_lines(console, mode == "json", [_watched(name, runs) for name in dict.fromkeys(run)])


def _watched(name: str, runs: Path) -> WatchedRun:
    """Raises `RunError` where `name` is no run this version can read."""
    from ultra_agents.cli.run_display import find_folder
    from ultra_agents.runs import RunFolder
    from ultra_agents.ui.watch import watch_folder

    path = find_folder(name, runs)
    folder = RunFolder.open(path)
    return watch_folder(folder.name, folder.path, lambda: is_locked(folder.path))


def _on_screen(console: Console, found: list[WatchedRun]) -> None:
    from ultra_agents.cli.error_output import write_crash
    from ultra_agents.ui.summary import summary
    from ultra_agents.ui.watch import POLL_S, WatchDisplay

    display = WatchDisplay(console, found)
    failure: Exception | None = None
    display.start()
    try:
        while not display.left:
            if any([one.poll() or one.ended for one in found]):
                display.refresh()
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        pass
    except Exception as error:
        failure = error
    finally:
        display.stop()
    if failure is not None:
        console.print(f"the display failed ({write_crash(failure)}); plain lines from here on", markup=False)
        _in_lines(console, False, found)
        return
    for one in found:
        console.print(summary(one.state, time.time()))


def _in_lines(console: Console, json: bool, found: list[WatchedRun]) -> None:
    from ultra_agents.ui.json_lines import JsonLines
    from ultra_agents.ui.plain import PlainDisplay
    from ultra_agents.ui.watch import GONE, POLL_S

    several, when = len(found) > 1, 0.0
    displays: list[JsonLines | PlainDisplay] = []
    for one in found:
        prefix = f"{one.name} " if several else ""
        lines = PlainDisplay(console.file, now=lambda: when, state=one.state, prefix=prefix)
        displays.append(JsonLines(console.file) if json else lines)
    while True:
        for one, display in zip(found, displays, strict=True):
            for when, event in one.poll():
                if isinstance(display, JsonLines):
                    display.more = {"time": when, **({"run": one.name} if several else {})}
                display.handle(event)
        if all(one.ended for one in found):
            break
        time.sleep(POLL_S)
    for one in found:
        if one.state.status.endswith(GONE) and not json:
            path = shlex.quote(str(one.log.path.parent))
            console.print(f"{one.name}: {GONE}; go on with it: ultra resume {path}", markup=False, highlight=False)


def is_locked(folder: Path) -> bool:
    """Whether the process that locked the run folder last still holds the lock, without trying to take it."""
    try:
        holder = int((folder / ".lock").read_text(encoding="utf-8").strip())
        os.kill(holder, 0)
    except (OSError, ValueError):
        return False
    lock = (folder / ".lock").resolve()
    try:
        there = [Path(os.readlink(one.path)) for one in os.scandir(f"/proc/{holder}/fd")]
    except OSError:  # no /proc, or another user's process: that it lives has to suffice
        return True
    return lock in there
