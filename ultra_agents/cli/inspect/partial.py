"""Explanations of a run whose agents have not finished, from their checkpoints; nothing is written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from ultra_agents.errors import RunError


def read_partial(path: Path) -> list[dict[str, Any]]:
    """The state of every segment that was begun, in the order in which they began, as rows of `Explanation`.

    A finished segment holds an `explanation`; an unfinished one holds the same fields side by side.

    Raises:
        RunError: The file is damaged.
    """
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
    from langgraph.checkpoint.sqlite import SqliteSaver

    serde = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        ) as connection:
            there = connection.execute("SELECT name FROM sqlite_master WHERE name = 'checkpoints'").fetchone()
            if there is None:
                return []
            saver = SqliteSaver(connection, serde=serde)
            saver.is_setup = True  # setting up would write
            names = [
                str(row[0])
                for row in connection.execute(
                    "SELECT thread_id FROM checkpoints GROUP BY thread_id ORDER BY MIN(checkpoint_id)"
                )
            ]
            saved = [saver.get_tuple({"configurable": {"thread_id": name}}) for name in names]
    except sqlite3.Error as error:
        raise RunError(
            f"the checkpoint of the agents {path} cannot be read",
            found=str(error),
            hint=f"delete it and go on: ultra resume {path.parent}; answered questions come from the answer cache",
        ) from error
    states = [one.checkpoint["channel_values"] for one in saved if one is not None]
    rows = [{"states": (), **(state.get("explanation") or state)} for state in states]
    return [row for row in rows if row.get("segment")]
