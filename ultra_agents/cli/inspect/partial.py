"""Explanations of a run whose agents have not finished, from their checkpoints; nothing is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultra_agents import postgres
from ultra_agents.agents.checkpoint import CheckpointPlace, SharedCheckpoints, saver_of, shared_saver
from ultra_agents.errors import RunError

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver


def read_partial(place: CheckpointPlace) -> list[dict[str, Any]] | None:
    """The state of every segment that was begun, in the order in which they began, as rows of `Explanation`.

    A finished segment holds an `explanation`; an unfinished one holds the same fields side by side. None before the
    first is begun.

    Raises:
        RunError: The file is damaged, or the database cannot be used.
    """
    rows = _shared(place) if isinstance(place, SharedCheckpoints) else _of_file(place)
    return None if rows is None else [row for row in rows if row.get("segment")]


def _of_file(path: Path) -> list[dict[str, Any]] | None:
    if not path.is_file():
        return None
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        ) as connection:
            there = connection.execute("SELECT name FROM sqlite_master WHERE name = 'checkpoints'").fetchone()
            if there is None:
                return []
            saver = saver_of(connection)
            saver.is_setup = True  # setting up would write
            names = connection.execute(
                "SELECT thread_id FROM checkpoints GROUP BY thread_id ORDER BY MIN(checkpoint_id)"
            )
            return _states(saver, [str(row[0]) for row in names])
    except sqlite3.Error as error:
        raise RunError(
            f"the checkpoint of the agents {path} cannot be read",
            found=str(error),
            hint=f"delete it and go on: ultra resume {path.parent}; answered questions come from the answer cache",
        ) from error


def _shared(place: SharedCheckpoints) -> list[dict[str, Any]] | None:
    with shared_saver(place.address, read_only=True) as (saver, connection):
        if not postgres.has(connection, "checkpoint_writes"):
            return None
        found = connection.execute(
            "SELECT thread_id FROM checkpoints WHERE starts_with(thread_id, %s) "
            "GROUP BY thread_id ORDER BY MIN(checkpoint_id)",
            (f"{place.run}/",),
        ).fetchall()
        return _states(saver, [row["thread_id"] for row in found]) if found else None


def _states(saver: BaseCheckpointSaver[Any], threads: Sequence[str]) -> list[dict[str, Any]]:
    saved = [saver.get_tuple({"configurable": {"thread_id": thread}}) for thread in threads]
    states = [one.checkpoint["channel_values"] for one in saved if one is not None]
    return [{"states": (), **(state.get("explanation") or state)} for state in states]
