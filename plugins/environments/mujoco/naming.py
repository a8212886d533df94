"""The named numbers of the MuJoCo tasks, for rules: joints, feet on the ground, the arm's offsets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from ultra_agents.contracts import Quantity
from ultra_agents.contracts.quantities import columns
from ultra_agents.records import Array, FloatArray

from .geometry import Feet, feet_of
from .vector import Physics, load_model
from .wording import RunnerWords

USUAL = 3.0
"""Spreads of a number around its centre that count as its usual range."""


class RunnerNames:
    """What rules can speak of in a task that is about running forward.

    Args:
        words: Of the task.
        physics: Of the task.
        feet: The foot's name in the model by what its quantities begin with.
        centres: Usual value of every observation.
        scales: Usual spread.
    """

    def __init__(
        self,
        words: RunnerWords,
        physics: Physics,
        feet: dict[str, str],
        centres: Sequence[float],
        scales: Sequence[float],
    ) -> None:
        self._words = words
        self._feet: Feet = feet_of(physics, tuple(feet.values()))
        self._joints = len(words.joints)
        self._spoken = [f"{foot.rstrip('_')} foot".strip() for foot in feet]
        legend = _observed(words, physics)
        usual = zip(legend.items(), centres, scales, strict=True)
        self.legend = {
            name: one
            if math.isfinite(one.low)
            else replace(one, low=round(centre - USUAL * scale, 6), high=round(centre + USUAL * scale, 6))
            for (name, one), centre, scale in usual
        }
        for foot in feet:
            which = f"the {foot.rstrip('_')} foot" if foot else "the foot"
            self.legend[f"{foot}contact"] = Quantity(
                "share", f"of {which}'s two ends on the ground: 0 none, 0.5 heel or toe, 1 both", "", 0, 1
            )
            self.legend[f"{foot}foot_height"] = Quantity("m", f"lowest point of {which} above the ground", "", 0, 0.5)
        self.legend["stance"] = Quantity("0 or 1", "1 while a foot touches the ground, 0 in flight", "", 0, 1)

    @cached_property
    def stops(self) -> dict[str, tuple[float, float]]:
        """Least and greatest angle of each joint, rad."""
        return {joint: (self.legend[joint].low, self.legend[joint].high) for joint in self._words.joints}

    def feet(self, positions: FloatArray) -> list[tuple[str, float, float]]:
        """Each foot's name, the share of its ends on the ground, and its height in m.

        Args:
            positions: Height, lean and joints as observed, `(joints + 2,)`.
        """
        ends = self._feet.heights(positions[:1], positions[None, 1:])[0]
        down = (ends < self._feet.margin).mean(axis=1)
        return list(zip(self._spoken, down.tolist(), ends.min(axis=1).tolist(), strict=True))

    def of(self, observations: Array) -> dict[str, FloatArray]:
        """Everything in `legend`: `(n, k)` -> `(n,)` each."""
        values = np.asarray(observations, np.float64)
        with np.errstate(all="ignore"):
            ends = self._feet.heights(values[:, 0], values[:, 1 : 2 + self._joints])
            known = np.asarray(np.isfinite(ends).all(axis=(1, 2)))
            down = (ends < self._feet.margin).mean(axis=2)
            lowest = ends.min(axis=2)
        feet = np.stack([down, lowest], axis=2).reshape(len(values), 2 * down.shape[1])
        stance = np.where(known, down.max(axis=1) > 0, np.nan)
        feet = np.where(known[:, None], feet, np.nan)
        return columns(self.legend, np.concatenate([values, feet, stance[:, None]], axis=1).T)


def _observed(words: RunnerWords, physics: Physics) -> dict[str, Quantity]:
    """The observation, number by number; infinite where the range is not a limit of the model."""
    model, way = load_model(physics), "forward" if words.forward > 0 else "backward"
    limits = model.jnt_range[-len(words.joints) :]
    part, unknown = f"swings the part below it {way}", (-math.inf, math.inf)
    fallen = "" if words.lean is None else f"; beyond {words.lean:g} either way it has fallen"
    low = "" if words.height is None else f"; below {words.height[0]:g} it has fallen"
    found = {
        "height": Quantity(
            "m", f"of the torso{low}" if words.height else "of the torso over standing", "up", *unknown
        ),
        "lean": Quantity("rad", f"of the torso from upright{fallen}", "forward", *unknown),
    }
    for joint, (least, most) in zip(words.joints, limits.tolist(), strict=True):
        found[joint] = Quantity("rad", f"angle of the {_spoken(joint)}; stops at low and high", part, least, most)
    found["vx"] = Quantity("m/s", "speed of the torso along the ground", "forward", *unknown)
    found["vz"] = Quantity("m/s", "speed of the torso up and down", "up", *unknown)
    found["lean_v"] = Quantity("rad/s", "turning speed of the torso", "tipping forward", *unknown)
    for joint in words.joints:
        found[f"{joint}_v"] = Quantity("rad/s", f"turning speed of the {_spoken(joint)}", part, *unknown)
    return found


def _spoken(joint: str) -> str:
    return joint.replace("_", " ")


_LEFT = "counter-clockwise"
REACHER = {
    "shoulder": Quantity("rad", "angle of the upper arm, 0 along x", _LEFT, -math.pi, math.pi),
    "elbow": Quantity("rad", "angle of the forearm against the upper arm; stops at 3 either way", _LEFT, -3, 3),
    "shoulder_v": Quantity("rad/s", "turning speed of the shoulder", _LEFT, -10, 10),
    "elbow_v": Quantity("rad/s", "turning speed of the elbow", _LEFT, -10, 10),
    "target_x": Quantity("m", "target from the shoulder along x", "to the right", -0.2, 0.2),
    "target_y": Quantity("m", "target from the shoulder along y", "up", -0.2, 0.2),
    "offset_x": Quantity("m", "fingertip minus target along x", "to the right of it", -0.4, 0.4),
    "offset_y": Quantity("m", "fingertip minus target along y", "above it", -0.4, 0.4),
    "distance": Quantity("m", "from fingertip to target", "", 0, 0.4),
    "aim": Quantity("rad", "angle at the shoulder from fingertip to target", f"target is {_LEFT}", -math.pi, math.pi),
    "reach": Quantity("m", "how much farther from the shoulder the target is", "target is farther out", -0.2, 0.2),
}


def reacher(observations: Array) -> dict[str, FloatArray]:
    """Everything in `REACHER`: `(n, 10)` -> `(n,)` each."""
    cos0, cos1, sin0, sin1, x, y, turn0, turn1, dx, dy = np.asarray(observations, np.float64).T
    with np.errstate(all="ignore"):
        shoulder, elbow = np.arctan2(sin0, cos0), np.arctan2(sin1, cos1)
        aim = np.arctan2(y, x) - np.arctan2(y + dy, x + dx)
        aim = (aim + np.pi) % (2 * np.pi) - np.pi
        reach = np.hypot(x, y) - np.hypot(x + dx, y + dy)
        return columns(REACHER, [shoulder, elbow, turn0, turn1, x, y, dx, dy, np.hypot(dx, dy), aim, reach])
