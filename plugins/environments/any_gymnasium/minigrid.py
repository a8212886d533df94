"""What a MiniGrid agent sees, in words: its 7 x 7 view as distances ahead and to the sides."""

from __future__ import annotations

from typing import Any

import numpy as np

from ultra_agents.records import Array

_FACING = ("right", "down", "left", "up")
_DOOR = ("open", "closed", "locked")
_MOST = 8
"""Things told, the nearest first."""


def sees_a_grid(observation: Any) -> bool:
    """Whether this is MiniGrid's partial view: an image of object, colour and state, and a direction."""
    if not isinstance(observation, dict) or set(observation) != {"image", "direction"}:
        return False
    return bool(np.asarray(observation["image"]).shape[2:] == (3,))


def in_words(image: Array, direction: int) -> str:
    """One view, at most about 60 words."""
    from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT

    width, depth = image.shape[:2]
    middle, here = width // 2, depth - 1
    found = []
    for column in range(width):
        for row in range(depth):
            kind, colour, state = (int(value) for value in image[column, row])
            name = IDX_TO_OBJECT.get(kind, "unseen")
            if name in ("unseen", "empty", "wall", "floor", "agent"):
                continue
            ahead, right = here - row, column - middle
            shown = f"{IDX_TO_COLOR.get(colour, '')} {name}".strip()
            if name == "door":
                shown = f"{_DOOR[state] if state < len(_DOOR) else ''} {shown}".strip()
            if (ahead, right) == (0, 0):
                found.append((0, f"I carry a {shown}"))
            else:
                found.append((ahead + abs(right), f"a {shown} {_place(ahead, right)}"))
    column_ahead = [IDX_TO_OBJECT.get(int(image[middle, row, 0]), "unseen") for row in range(here - 1, -1, -1)]
    free = next(
        (i for i, name in enumerate(column_ahead) if name not in ("empty", "floor", "goal")), len(column_ahead)
    )
    blocked = column_ahead[free] if free < len(column_ahead) else ""
    front = f"{free} free cells ahead" + (f", then a {blocked}" if blocked not in ("", "unseen") else "")
    told = [text for _, text in sorted(found)[:_MOST]]
    seen = "I see " + "; ".join(told) if told else "nothing of interest in view"
    return f"Facing {_FACING[direction % 4]}, {front}; {seen}."


def _place(ahead: int, right: int) -> str:
    parts = [f"{ahead} ahead"] if ahead else []
    if right:
        parts.append(f"{abs(right)} to the {'right' if right > 0 else 'left'}")
    return " and ".join(parts)
