"""Whether standard input and output are a terminal that full-screen applications can use."""

from __future__ import annotations

import os
import sys

from ultra_agents.errors import ConfigError
from ultra_agents.ui.display import MIN_SIZE


def terminal_problem() -> str | None:
    """Why no full-screen application can run here, in words; None where one can."""
    if not sys.stdin.isatty():
        return "standard input is no terminal"
    if not sys.stdout.isatty():
        return "standard output is no terminal"
    if os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        return f"TERM={os.environ.get('TERM', '')} cannot move a cursor"
    encoding = (sys.stdout.encoding or "").lower().replace("_", "-")
    if encoding not in ("utf-8", "utf8"):
        return f"the terminal speaks {encoding or 'an unknown encoding'}, not UTF-8"
    return None


def full_screen_possible(instead: str) -> bool:
    """Whether a full-screen application can run here.

    Raises:
        ConfigError: There is a terminal, but it is too small; `instead` is the command that works there.
    """
    if terminal_problem() is not None:
        return False
    check_size(instead)
    return True


def check_size(instead: str) -> None:
    """Refuse a terminal below `MIN_SIZE`.

    Raises:
        ConfigError: It is smaller; `instead` is the command that works there.
    """
    size = os.get_terminal_size(sys.stdout.fileno())
    if size.columns < MIN_SIZE[0] or size.lines < MIN_SIZE[1]:
        raise ConfigError(
            "the terminal is too small",
            found=f"{size.columns} columns, {size.lines} rows",
            expected=f"at least {MIN_SIZE[0]} x {MIN_SIZE[1]}",
            hint=f"enlarge the window, or: {instead}",
        )
