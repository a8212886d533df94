"""What a MiniGrid agent sees, in words and as named numbers: its 7 x 7 view as distances ahead and to the sides."""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnasium
import numpy as np

from ultra_agents.contracts import Quantity
from ultra_agents.contracts.quantities import columns
from ultra_agents.records import Array, FloatArray

_FACING = ("right", "down", "left", "up")
_DOOR = ("open", "closed", "locked")
_MOST = 8
"""Things told, the nearest first."""
_LOOKED_FOR = ("goal", "key", "door", "ball", "box", "lava")
_IN_FRONT = ("wall", *_LOOKED_FOR)
_CARRIED = ("key", "ball", "box")


def sees_a_grid(observation: Any) -> bool:
    """Whether this is MiniGrid's partial view: an image of object, colour and state, and a direction."""
    if not isinstance(observation, dict) or set(observation) != {"image", "direction"}:
        return False
    return bool(np.asarray(observation["image"]).shape[2:] == (3,))


def is_a_grid(space: gymnasium.Space[Any]) -> bool:
    """Whether `sees_a_grid` of every observation in `space`."""
    if not isinstance(space, gymnasium.spaces.Dict) or set(space.spaces) != {"image", "direction"}:
        return False
    return (space["image"].shape or ())[2:] == (3,)


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


class GridNames:
    """What rules can speak of in a grid; everything is seen from the agent.

    Args:
        space: The observations: `direction` and `image`, `(columns, rows, 3)`.
    """

    def __init__(self, space: gymnasium.spaces.Dict) -> None:
        self._shape = space["image"].shape or ()
        self._image_first = next(iter(space.spaces)) == "image"
        self.legend = _legend(self._shape[0], self._shape[1])

    def of(self, observations: Array) -> dict[str, FloatArray]:
        """Everything in `legend`: flat observations `(n, k)` -> `(n,)` each."""
        plain = np.nan_to_num(np.asarray(observations, np.float64), posinf=0, neginf=0)
        turn, image = (plain[:, -4:], plain[:, :-4]) if self._image_first else (plain[:, :4], plain[:, 4:])
        image = image.reshape(-1, *self._shape)
        kinds, states = image[..., 0], image[..., 2]
        width, depth = self._shape[:2]
        middle, here = width // 2, depth - 1
        ahead, right = here - np.arange(depth)[None, :], np.arange(width)[:, None] - middle
        steps = (ahead + np.abs(right)).astype(np.float64)
        steps[middle, here] = np.inf
        index, everybody = _index(), np.arange(len(image))
        found: list[Array] = [turn.argmax(axis=1)]
        doors = states.reshape(len(image), -1)
        for name in _LOOKED_FOR:
            away = np.where(kinds == index[name], steps, np.inf).reshape(len(image), -1)
            nearest = away.argmin(axis=1)
            seen = np.isfinite(away[everybody, nearest])
            column, row = np.divmod(nearest, depth)
            found += [np.where(seen, here - row, np.nan), np.where(seen, column - middle, np.nan)]
            if name == "door":
                state = doors[everybody, nearest]
                found += [np.where(seen, state == kind, np.nan) for kind in (0, 2)]
        front = kinds[:, middle, here - 1]
        found += [front == index[name] for name in _IN_FRONT]
        enter = np.isin(kinds, [index[name] for name in ("empty", "floor", "goal")])
        enter |= (kinds == index["door"]) & (states == 0)
        found.append(np.cumprod(enter[:, middle, :here][:, ::-1], axis=1).sum(axis=1))
        found += [enter[:, middle - 1, here], enter[:, middle + 1, here]]
        found += [kinds[:, middle, here] == index[name] for name in _CARRIED]
        return columns(self.legend, found)


def _legend(width: int, depth: int) -> dict[str, Quantity]:
    side = width // 2
    found = {"direction": Quantity("index", "which way I face: 0 right, 1 down, 2 left, 3 up", "", 0, 3)}
    for name in _LOOKED_FOR:
        where = f"to the nearest {name}; NaN while none is in view"
        found[f"{name}_ahead"] = Quantity("cells", f"{where}, straight on", "ahead", 0, depth - 1)
        found[f"{name}_right"] = Quantity("cells", f"{where}, sideways", "to my right", -side, side)
        if name == "door":
            for state in ("open", "locked"):
                meaning = f"whether the nearest door is {state}; NaN while none is in view"
                found[f"door_{state}"] = Quantity("0 or 1", meaning, "", 0, 1)
    for name in _IN_FRONT:
        found[f"front_{name}"] = Quantity("0 or 1", f"whether a {name} is in the cell in front of me", "", 0, 1)
    found["free_ahead"] = Quantity("cells", "straight on that can be entered one after the other", "", 0, depth - 1)
    for name in ("left", "right"):
        found[f"{name}_free"] = Quantity("0 or 1", f"whether the cell to my {name} can be entered", "", 0, 1)
    for name in _CARRIED:
        found[f"carrying_{name}"] = Quantity("0 or 1", f"whether I carry a {name}", "", 0, 1)
    return found


@cache
def _index() -> dict[str, int]:
    from minigrid.core.constants import OBJECT_TO_IDX

    return dict(OBJECT_TO_IDX)
