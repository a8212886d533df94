"""Pictures in events: read back, and numbers as sparklines where there is no picture."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Sequence

import numpy as np

from ultra_agents.events import StateShown
from ultra_agents.records import Array

LARGEST = 1 << 20
"""Bytes that a picture may unpack to: an event comes from a file, and a file may be anything."""
_BARS = "▁▂▃▄▅▆▇█"


def unpack(event: StateShown) -> Array | None:
    """The frame `(height, width, 3)` of uint8 in `event`; None where there is none, or a damaged one.

    `pixels` is base64 of zlib of: one byte, the number of colours less one; the colours, three bytes each; one byte
    per pixel, the index of its colour, rows from the top.
    """
    if not event.pixels or event.width < 1 or event.height < 1:
        return None
    try:
        packed = base64.b64decode(event.pixels, validate=True)
        data = np.frombuffer(zlib.decompressobj().decompress(packed, LARGEST), np.uint8)
    except (binascii.Error, ValueError, zlib.error):
        return None
    if not len(data):
        return None
    colours = 3 * (int(data[0]) + 1)
    if len(data) != 1 + colours + event.width * event.height:
        return None
    palette = data[1 : 1 + colours].reshape(-1, 3)
    indices = data[1 + colours :].reshape(event.height, event.width)
    if int(indices.max()) >= len(palette):
        return None
    return np.asarray(palette[indices])


def sparkline(values: Sequence[float], width: int) -> str:
    """`values` as bars in `width` cells at most, the lowest and the highest of them at the ends of the scale."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite or width < 1:
        return ""
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    count = min(width, len(values))
    picked = [values[(2 * index + 1) * len(values) // (2 * count)] for index in range(count)]
    return "".join(
        _BARS[min(int((value - low) / span * len(_BARS)), len(_BARS) - 1)] if math.isfinite(value) else " "
        for value in picked
    )
