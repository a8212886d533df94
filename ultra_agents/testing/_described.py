"""What a describer says of quantities in numbers, held against the quantities themselves."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ultra_agents.contracts import Quantity
from ultra_agents.records import FloatArray
from ultra_agents.testing._report import Broken

UNITS = {("°", "rad"): 180 / math.pi, ("°/s", "rad/s"): 180 / math.pi, ("cm", "m"): 100.0, ("mm", "m"): 1000.0}
"""Units that words may use for a quantity in another unit, and how many of them one of those is."""
TURN = 360.0
"""Degrees after which an angle is the same again."""


@dataclass(frozen=True)
class Said:
    """A number beside the name of a quantity.

    Attributes:
        name: Of the quantity.
        value: The number, in the unit of the words.
        error: By how much rounding may have moved it.
        unit: What follows the number; empty where that is no unit known here.
        words: As it was said.
    """

    name: str
    value: float
    error: float
    unit: str
    words: str


def said(text: str, names: Sequence[str]) -> Iterator[Said]:
    """Numbers that directly follow a name: "cell 4", "position -0.57", "Cart Position 0.09", "elbow at 6°"."""
    spelt = {name.replace("_", " ").lower(): name for name in names}
    choice = "|".join(re.escape(name).replace(r"\ ", "[ _]") for name in sorted(spelt, key=len, reverse=True))
    number = r"(?:is |at |of |= ?|: ?)?([-+]?\d+(?:\.(\d+))?(?:e([-+]\d+))?)(?![\d.]*\d)"
    for match in re.finditer(rf"(?<![\w.])({choice}) {number} ?(°/s|°|cm\b|mm\b)?", text, re.IGNORECASE):
        name, value, decimals, exponent, unit = match.groups()
        error = 0.5 * 10.0 ** (int(exponent or 0) - len(decimals or ""))
        yield Said(spelt[name.replace("_", " ").lower()], float(value), error, unit or "", match[0].strip())


def check_described(texts: Sequence[str], found: Mapping[str, FloatArray], legend: Mapping[str, Quantity]) -> int:
    """How many quantities the texts of states speak of in numbers; `found` are the quantities of the same states.

    Raises:
        Broken: A text says another number than the quantity is.
    """
    spoken = set[str]()
    for index, text in enumerate(texts):
        for one in said(text, list(legend)):
            spoken.add(one.name)
            unit = legend[one.name].unit
            value = float(found[one.name][index]) * UNITS.get((one.unit, unit), 1.0)
            apart = abs(one.value - value)
            if one.unit == "°":
                apart = min(apart % TURN, TURN - apart % TURN)
            if not apart <= 1.01 * one.error + 1e-5 * abs(value):
                raise Broken(
                    f"describe() says {one.words!r} where the quantity {one.name} is {value:g} {one.unit or unit}: "
                    f"{text!r}",
                    "let both come from the same numbers, in the same unit",
                )
    return len(spoken)
