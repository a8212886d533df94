"""Prints errors: what was found, what was expected, what to do. Tracebacks go to a file."""

from __future__ import annotations

import platform
import tempfile
import time
import traceback
from pathlib import Path

from ultra_agents.errors import UltraError
from ultra_agents.text import clean, printable
from ultra_agents.version import __version__

CLOSED_PIPE = 141
"""Exit status after standard output was closed by its reader: 128 + SIGPIPE, as shells report it."""


class Crashed(Exception):
    """A defect of ultra-agents or of a plugin during a run; its traceback is in `path`."""

    def __init__(self, path: Path, cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.path = path


def show_error(error: UltraError, kept: bool = False) -> None:
    """Print an error on standard error: a panel on a terminal, plain lines elsewhere; `kept`: as a warning only."""
    from rich.panel import Panel
    from rich.text import Text

    from ultra_agents.cli.console import err

    console = err()
    stopped = error.exit_code in (3, 130)
    word = "warning" if kept else "stopped" if stopped else "error"
    if not console.is_terminal:
        print(printable(f"{word}: {error}"), file=console.file)
        return
    colour = "red" if word == "error" else "yellow"
    body = Text(error.problem, "bold")
    for label, value in (("found", error.found), ("expected", error.expected), ("do", error.hint)):
        if value is not None:
            body.append(f"\n{label + ':':<10}", "bright_black" if label != "do" else f"bold {colour}")
            body.append(value, "not bold")
    title = Text(word, f"bold {colour}")
    console.print(Panel(body, title=title, title_align="left", border_style=colour, expand=False))


def write_crash(error: BaseException, folder: Path | None = None) -> Path:
    """Write the traceback into `folder`, or where temporary files go; its path."""
    lines = [f"ultra-agents {__version__}, Python {platform.python_version()}, {platform.platform()}\n"]
    text = "".join(lines + traceback.format_exception(error))
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    for place in (folder, Path(tempfile.gettempdir())):
        if place is None:
            continue
        try:
            path = place / name
            path.write_text(text, encoding="utf-8")
        except OSError:
            continue
        return path
    return Path("(nowhere: no folder could be written)")


def show_crash(path: Path, error: BaseException) -> None:
    """One line that asks to report a defect."""
    from ultra_agents.cli.console import err

    kind = str(error) if isinstance(error, Crashed) else f"{type(error).__name__}: {error}"
    line = clean(kind, 200)
    print(f"internal error: {line} - please report it with the traceback in {path}", file=err().file)
