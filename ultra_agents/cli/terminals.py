"""Whether a person can browse and type here."""

from __future__ import annotations

import os
import sys

from ultra_agents.errors import ConfigError

SMALLEST = (60, 16)
"""Columns and rows below which a full screen is of no use."""


def missing() -> str | None:
    """What a full screen lacks here, in words; None where nothing is."""
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


def browsable(instead: str) -> bool:
    """Whether a full screen can be shown.

    Raises:
        ConfigError: There is a terminal, but a tiny one; `instead` is the command that works there.
    """
    if missing() is not None:
        return False
    check_size(instead)
    return True


def check_size(instead: str) -> None:
    """Refuse a terminal too small to show anything."""
    size = os.get_terminal_size(sys.stdout.fileno())
    if size.columns < SMALLEST[0] or size.lines < SMALLEST[1]:
        raise ConfigError(
            "the terminal is too small",
            found=f"{size.columns} columns, {size.lines} rows",
            expected=f"at least {SMALLEST[0]} x {SMALLEST[1]}",
            hint=f"enlarge the window, or: {instead}",
        )
