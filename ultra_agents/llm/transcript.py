"""Every exchange with a model, one JSON object a line; the source of what a run has spent."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ultra_agents.errors import RunError
from ultra_agents.files import add_line, no_link
from ultra_agents.records import Usage
from ultra_agents.runs.files import read_lines

_APPENDING = threading.Lock()


class Transcript:
    """An append-only file of exchanges.

    A line holds `time` (UTC, ISO 8601), `agent`, `segment`, `step` (the environment step asked about, or null),
    `model`, `provider`, `key` (in the answer cache), `attempt` (0, or 1 for the repair), `question` (its digest
    without notes), `notes` (ids of a person's notes in it), `messages` ([role, text] pairs), `reply`,
    `prompt_tokens`, `completion_tokens`, `seconds`, `cost`, `cached`, `charged` (counts as a call), `verdict` (`ok`, a
    reason for dropping, or `failed: ...`). A call whose answer was not used has no `key`, but `call` in its place. A
    line that a fork took over names the run that paid for it in `paid_by`, and is not charged.

    Args:
        path: The file; made with its folder where missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        """Write one line, whole or not at all as far as other threads and processes see."""
        append_line(self.path, row)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every complete line, oldest first."""
        return read_lines(self.path)

    def usage(self, inherited: bool = False) -> dict[str, Usage]:
        """What each agent has used, earlier parts of the run included; `inherited`: with what a fork took over."""
        total: dict[str, Usage] = {}
        for row in self.rows():
            agent = str(row.get("agent", "?"))
            if inherited and row.get("paid_by"):
                row = {**row, "charged": True}
            elif row.get("paid_by"):
                row = {**row, "cached": False}
            total[agent] = total.get(agent, Usage()) + usage_of_row(row)
        return total


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Add `row`, with the time, to a file of JSON lines, whole or not at all as far as others see.

    Raises:
        RunError: The file cannot be written (a full or read-only disk).
    """
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = (json.dumps({"time": stamp, **row}) + "\n").encode()
    try:
        with _APPENDING:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = no_link(str(path), os.O_RDWR | os.O_APPEND | os.O_CREAT)
            try:
                add_line(handle, line, first=True)
            finally:
                os.close(handle)
    except OSError as error:
        raise RunError(
            f"cannot write {path}",
            found=str(error),
            hint="make room, or make the folder writable, and run the same command again: what is paid for is kept",
        ) from error


def usage_of_row(row: dict[str, Any], file: str = "transcript.jsonl") -> Usage:
    """What one line of a transcript, or of another `file`, cost.

    Raises:
        RunError: It does not say.
    """
    if row.get("cached"):
        return Usage(cached=1)
    if not row.get("charged"):
        return Usage()
    try:
        return Usage(
            1, 0, int(row["prompt_tokens"]), int(row["completion_tokens"]), float(row["seconds"]), float(row["cost"])
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise RunError(
            f"a line of {file} is damaged: what its call cost is not known",
            found=f"{type(error).__name__}: {error}"[:100],
            expected="prompt_tokens, completion_tokens, seconds and cost as numbers",
            hint=f"restore {file}: spending caps are counted from it",
        ) from error
