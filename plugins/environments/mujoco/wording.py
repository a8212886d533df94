"""MuJoCo states in one line of words, with degrees, metres and seconds; and the tasks' briefs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Protocol

import numpy as np

from ultra_agents.contracts import Brief
from ultra_agents.records import Array, FloatArray, Scalar

_MOST = 1e4
"""Numbers beyond this are told as this."""
NEAR_STOP = 5
"""Degrees from the end of a joint's range from which on it is told."""


class Stands(Protocol):
    """How a runner stands: what its words do not know."""

    @property
    def stops(self) -> Mapping[str, tuple[float, float]]:
        """Least and greatest angle of each joint, rad."""
        ...

    def feet(self, positions: FloatArray) -> Sequence[tuple[str, float, float]]:
        """Each foot's name, share of its ends on the ground, height in m; of height, lean and joints `(k,)`."""
        ...


@dataclass(frozen=True)
class RunnerWords:
    """What differs between the tasks that are about running forward.

    Attributes:
        body: What moves, in words.
        joints: Names, in the order of the actions.
        step_ms: Milliseconds per step.
        height: Torso heights in m between which it stands; None where it cannot fall.
        lean: Angle of the torso in rad at which it has fallen; None where it cannot.
        line: Metres beyond which the sparse version rewards.
        forward: 1 where a positive joint angle swings the part below it forward, -1 where backward.
        hold: How long a torque must usually be held.
        rest_height: Observed height in m when standing.
    """

    body: str
    joints: tuple[str, ...]
    step_ms: int
    height: tuple[float, float | None] | None
    lean: float | None
    line: float
    forward: int
    hold: str
    rest_height: float

    def brief(self, sparse: bool, max_steps: int, names: Sequence[str], stands: Stands) -> Brief:
        """The environment in words."""
        way = "forward" if self.forward > 0 else "backward"
        survive = "" if self.lean is None else " plus 1 for not falling"
        cost = 0.1 if self.lean is None else 0.001
        pay = f"the forward speed in m/s{survive}, minus {cost:g} times the squared torques"
        height = "torso height in m" if self.lean is not None else "torso height in m against standing"
        time = f"after {max_steps} steps ({max_steps * self.step_ms / 1000:g} s)."
        return Brief(
            goal="Run forward (to larger x) as fast as possible" + ("." if self.lean is None else " without falling."),
            dynamics=(
                f"I am {self.body}, moving in a vertical plane. One step is {self.step_ms} ms. States give {height}, "
                "lean of the torso, speeds, and for each joint its angle and turning speed: 0 degrees is the "
                f"straight starting pose, larger angles swing the part below the joint {way}. Joints stop at "
                f"{_ranges(stands.stops)} degrees. Torques move the body by the feet on the ground; in flight they "
                "only turn its parts against each other."
            ),
            actions=(
                f"Torque of each joint ({', '.join(self.joints)}) as a share of full torque, -1 to 1; positive "
                f"swings the part below the joint {way}, a joint not mentioned gets none. Named actions: "
                + "; ".join(names)
                + "."
            ),
            reward=(
                f"0 until the torso is beyond x = {self.line:g} m; there, on every step {pay}."
                if sparse
                else f"On every step {pay}."
            ),
            termination=f"{self._falling()}Otherwise {time}" if self.lean is not None else f"Always {time}",
            advice_scale=(
                f"Torques act on the speed of a joint, not on its angle: one step changes little, {self.hold} are "
                "usual. A torque replaces what the controller would do with all joints."
            ),
        )

    def describe(self, observation: Array, info: Mapping[str, Scalar], stands: Stands) -> str:
        """One state in about 60 words."""
        values = _tame(observation)
        count = len(self.joints)
        height, lean = values[0], _turn(values[1])
        angles, speeds = values[2 : 2 + count], values[2 + count :]
        forward, up, tip = speeds[:3]
        where = _tame(np.array([info.get("x_position", math.nan)]), missing=math.nan)[0]
        parts = [
            f"Torso {height:.2f} m high" if self.lean is not None else f"Torso {_above(height)}",
            _leaning(lean, tip),
            f"moving {'forward' if forward >= 0 else 'backward'} at {abs(forward):.1f} m/s",
            "level" if abs(up) < 0.05 else f"{'rising' if up > 0 else 'falling'} at {abs(up):.1f} m/s",
        ]
        if math.isfinite(where):
            parts.append(f"at x = {where:.2f} m")
        moving = [
            f"{name} {_degrees(angle):.0f}° ({_degrees(speed):+.0f}°/s{_stop(angle, *stands.stops[name])})"
            for name, angle, speed in zip(self.joints, angles, speeds[3:], strict=True)
        ]
        feet = ", ".join(starmap(_foot, stands.feet(np.array(values[: 2 + count]))))
        return f"{', '.join(parts)}{self._danger(height, lean)}; {feet}; {', '.join(moving)}."

    def _danger(self, height: float, lean: float) -> str:
        if self.lean is None or self.height is None:
            return ""
        least, most = self.height
        if abs(lean) >= self.lean or height <= least or (most is not None and height >= most):
            return ": fallen"
        degrees = math.degrees(self.lean - abs(lean))
        if abs(lean) > 0.5 * self.lean:
            return f": only {degrees:.0f}° from falling over"
        if height < least + 0.1:
            return f": only {100 * (height - least):.0f} cm above the height at which it has fallen"
        return ""

    def _falling(self) -> str:
        assert self.height is not None
        assert self.lean is not None
        least, most = self.height
        limits = f"below {least:g} m" if most is None else f"below {least:g} m or above {most:g} m"
        return f"When it falls: torso {limits}, or leaning more than {math.degrees(self.lean):.0f} degrees. "


def reacher_in_words(observation: Array, stops: tuple[float, float]) -> str:
    """One state of the reacher; `stops` are the least and greatest angle of the elbow, rad."""
    cos0, cos1, sin0, sin1, target_x, target_y, turn0, turn1, dx, dy = _tame(observation)
    shoulder, elbow = math.degrees(math.atan2(sin0, cos0)), math.degrees(math.atan2(sin1, cos1))
    distance = math.hypot(dx, dy)
    aim = (math.degrees(math.atan2(target_y, target_x) - math.atan2(target_y + dy, target_x + dx)) + 180) % 360 - 180
    reach = math.hypot(target_x, target_y) - math.hypot(target_x + dx, target_y + dy)
    side = "counter-clockwise" if aim >= 0 else "clockwise"
    return (
        f"Fingertip {100 * distance:.1f} cm from the target, which lies {abs(aim):.0f}° {side} of it and "
        f"{100 * abs(reach):.1f} cm {'farther out' if reach >= 0 else 'farther in'}; shoulder at {shoulder:.0f}° "
        f"turning {math.degrees(turn0):+.0f}°/s, elbow at {elbow:.0f}° turning {math.degrees(turn1):+.0f}°/s"
        f"{_stop(math.radians(elbow), *stops)}."
    )


def _tame(values: Array, missing: float = 0.0) -> list[float]:
    """Finite numbers of sane size."""
    plain = np.nan_to_num(np.asarray(values, np.float64), nan=missing, posinf=_MOST, neginf=-_MOST)
    return [float(value) for value in np.clip(plain, -_MOST, _MOST)]


def _ranges(stops: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(f"{name} {_degrees(least):.0f} and {_degrees(most):.0f}" for name, (least, most) in stops.items())


def _degrees(radians: float) -> float:
    """Whole degrees; adding zero makes -0 a 0."""
    return round(math.degrees(radians)) + 0.0


def _stop(angle: float, least: float, most: float) -> str:
    """What is said of a joint near the end of its range, nothing of others."""
    left = round(math.degrees(min(angle - least, most - angle)))
    if left > NEAR_STOP:
        return ""
    return f", {left}° from its stop" if left > 0 else ", at its stop"


def _foot(name: str, contact: float, height: float) -> str:
    if contact > 0:
        return f"{name} on the ground" + ("" if contact == 1 else " with one end")
    return f"{name} {max(round(100 * height), 1)} cm up"


def _turn(radians: float) -> float:
    return (radians + math.pi) % (2 * math.pi) - math.pi


def _above(height: float) -> str:
    if abs(height) < 0.005:
        return "at standing height"
    return f"{abs(height):.2f} m {'above' if height > 0 else 'below'} standing height"


def _leaning(lean: float, tip: float) -> str:
    degrees, speed = math.degrees(lean), math.degrees(tip)
    text = "upright" if abs(degrees) < 0.5 else f"leaning {abs(degrees):.0f}° {'forward' if degrees > 0 else 'back'}"
    if abs(speed) >= 5:
        text += f" and tipping {'forward' if speed > 0 else 'back'} at {abs(speed):.0f}°/s"
    return text
