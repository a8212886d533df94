"""Intervals of means, for charts and tables on the screen."""

from __future__ import annotations

import math

_T = (
    12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23,
    2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09,
)  # fmt: skip
"""Student's t at 97.5 % for 1, 2, ... degrees of freedom; the normal's 1.96 comes close beyond."""


def half_width(error: float, many: int) -> float:
    """Half the width of the 95 % interval of a mean of `many` values with standard error `error`; NaN for one."""
    return error * (_T[many - 2] if many <= len(_T) + 1 else 1.96) if many > 1 else math.nan
