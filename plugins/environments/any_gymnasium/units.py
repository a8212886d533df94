"""Units and signs that Gymnasium's tables leave out: told by the words of a row, or known of its classic tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ultra_agents.contracts import Quantity

UNKNOWN = "unknown"
_RIGHT, _TURNING = "to the right", "counter-clockwise"
KNOWN: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "CartPole-": {
        "cart_position": ("m", _RIGHT),
        "cart_v": ("m/s", _RIGHT),
        "pole_angle": ("rad", "tipped to the right"),
        "pole_v": ("rad/s", "tipping to the right"),
    },
    "Acrobot-": {
        "cos_theta1": ("1", "upper link hangs below the joint"),
        "sin_theta1": ("1", "its end is to the right"),
        "cos_theta2": ("1", "lower link goes on in the upper one's direction"),
        "sin_theta2": ("1", f"it is bent {_TURNING}"),
        "theta1_v": ("rad/s", _TURNING),
        "theta2_v": ("rad/s", _TURNING),
    },
    "Pendulum-": {
        "cos_theta": ("1", "above the joint"),
        "sin_theta": ("1", "to the left"),
        "angular_velocity": ("rad/s", _TURNING),
    },
    "MountainCarContinuous-": {
        "position_car_x": ("track units", "right of 0, on the flag's hill"),
        "car_v": ("track units/step", _RIGHT),
    },
}
"""Beginning of an id -> quantity -> unit and sign, from the equations of Gymnasium's classic control tasks."""
_BY_WORDS = (
    (re.compile(r"\b(co)?sine?\b", re.IGNORECASE), "1"),
    (re.compile(r"\bangular (velocity|speed)\b", re.IGNORECASE), "rad/s"),
    (re.compile(r"\bangle\b(?!.*\b(velocity|speed)\b)", re.IGNORECASE), "rad"),
)


def unit_of(told: str, text: str) -> str:
    """The unit a table tells, else the one that follows from what a number is called; `UNKNOWN` where none does."""
    return told or next((unit for pattern, unit in _BY_WORDS if pattern.search(text)), UNKNOWN)


def completed(env_id: str, legend: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """The legend with what is known of the task."""
    known = next((units for begins, units in KNOWN.items() if env_id.rpartition("/")[2].startswith(begins)), {})
    return {
        name: replace(one, unit=known[name][0], sign=known[name][1]) if name in known else one
        for name, one in legend.items()
    }
