"""Named numbers of a state, which rules and agents can speak of, and what they mean."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ultra_agents.records import Array, FloatArray

WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
"""What the name of a quantity, and of a part of a continuous action, looks like."""
RESERVED = frozenset({"own", "next", "and", "or", "not", "if", "else", "True", "False"})
"""Words that mean something else in a rule."""
FACT = "0 or 1"
"""The unit of quantities that say whether something is so."""


@dataclass(frozen=True)
class Quantity:
    """What a named number says.

    Attributes:
        unit: "px", "rad/s"; "1" for a pure number, "0 or 1" for a fact.
        meaning: What is measured, from where, and when it is NaN.
        sign: What a positive number means ("to the right"); empty where there are no negative ones.
        low: What is usual at least; for a joint with a stop, the stop.
        high: What is usual at most.
    """

    unit: str
    meaning: str
    sign: str
    low: float
    high: float


def is_word(name: str) -> bool:
    """Whether `name` can be written in a rule."""
    return bool(WORD.fullmatch(name)) and name not in RESERVED and not keyword.iskeyword(name)


def columns(names: Iterable[str], values: Array | Sequence[Array]) -> dict[str, FloatArray]:
    """`(k, n)` numbers as one `(n,)` float64 column per name, NaN where a number is not finite."""
    plain = np.asarray(values, np.float64)
    if not np.isfinite(plain).all():
        plain = np.where(np.isfinite(plain), plain, np.nan)
    return dict(zip(names, plain, strict=True))
