"""Explanations of a run that is not finished with them, from the checkpoints of its agents; nothing is written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from ultra_agents.errors import RunError
from ultra_agents.records import Explanation


def read_partial(path: Path) -> list[Explanation]:
    """What the agents have found so far, stretch by stretch, in the order in which they began.

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
            states = {name: saver.get_tuple({"configurable": {"thread_id": name}}) for name in names}
    except sqlite3.Error as error:
        raise RunError(
            f"the checkpoint of the agents {path} cannot be read",
            found=str(error),
            hint=f"delete it and go on: ultra resume {path.parent}; answered questions come from the answer cache",
        ) from error
    found = [_explanation(name, state.checkpoint["channel_values"]) for name, state in states.items() if state]
    return [one for one in found if one is not None]


def _explanation(name: str, values: dict[str, Any]) -> Explanation | None:
    from ultra_agents.agents.runner import explanation_from_json

    if values.get("explanation"):
        return explanation_from_json(values["explanation"])
    episode, _, steps = name.partition(":")
    start, _, stop = steps.partition("-")
    if not (episode.isdigit() and start.isdigit() and stop.isdigit()):
        return None
    empty = {"critical": [], "advice": [], "drops": [], "trials": [], "proposed": 0, "env_steps": 0}
    row = {**empty, **{key: value for key, value in values.items() if key in empty and value}}
    segment = {"episode": int(episode), "start": int(start), "stop": int(stop), "kind": "being explained"}
    return explanation_from_json({**row, "segment": segment})
