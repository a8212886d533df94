"""Pictures on a terminal: frames in half-block characters, two pixels to a cell; numbers as sparklines.

A frame comes from the simulator, or packed in a `StateShown` event (`unpack`). It keeps its proportions, thin objects
stay visible where it shrinks, and it is drawn in as many colours as the terminal has.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Sequence
from itertools import groupby
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from rich.color import Color
from rich.style import Style
from rich.text import Text

from ultra_agents.events import StateShown
from ultra_agents.records import Array

Depth: TypeAlias = Literal["none", "standard", "256", "truecolor"]
"""Colours of the terminal: none, the 16 ANSI colours, 256 colours, 24 bits."""

SPRITE_COLOURS = 96
"""A frame of at most this many colours is drawn (sprites): shrinking keeps the rarest colour of each block. Others are
photographs: shrinking averages."""
DISTINCT = 48.0
"""Euclidean distance in RGB above which two colours count as different."""
_PALETTE = np.array([
    (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229),
    (127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255),
    (255, 255, 255),
], np.float64)  # fmt: skip
"""The 16 ANSI colours as xterm shows them."""
MAX_PICTURE_BYTES = 1 << 20
"""Most bytes that a packed picture is decompressed to: event logs are files from anywhere."""
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
        data = np.frombuffer(zlib.decompressobj().decompress(packed, MAX_PICTURE_BYTES), np.uint8)
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


def picture(frame: Array, columns: int, rows: int, depth: Depth = "truecolor") -> Text:
    """`frame` `(H, W, 3)` uint8 as at most `rows` lines of at most `columns` characters, proportions kept."""
    pixels = fit(frame, columns, 2 * rows)
    if pixels.shape[0] % 2:
        pixels = np.concatenate([pixels, pixels[-1:]])
    if depth == "none":
        return _monochrome(pixels)
    text = Text(no_wrap=True, end="")
    colours = _ansi(pixels) if depth == "standard" else None
    for row in range(0, len(pixels), 2):
        if row:
            text.append("\n")
        if colours is None:
            pairs = [
                (tuple(map(int, top)), tuple(map(int, low)))
                for top, low in zip(pixels[row], pixels[row + 1], strict=True)
            ]
            cells = [(Color.from_rgb(*top), Color.from_rgb(*low)) for top, low in pairs]
        else:
            cells = [
                (Color.from_ansi(int(top)), Color.from_ansi(int(low)))
                for top, low in zip(colours[row], colours[row + 1], strict=True)
            ]
        for (top, low), same in groupby(cells):
            number = len(list(same))
            text.append("▀" * number, Style.from_color(top, low))
    return text


def fit(frame: Array, width: int, height: int) -> npt.NDArray[np.uint8]:
    """`frame` scaled to at most `height` x `width` pixels; where it shrinks, thin and rare objects stay visible."""
    tall, wide = frame.shape[:2]
    scale = min(max(width, 1) / wide, max(height, 1) / tall)
    new_wide, new_tall = max(int(wide * scale), 1), max(int(tall * scale), 1)
    if scale >= 1:
        return np.asarray(frame[np.arange(new_tall) * tall // new_tall][:, np.arange(new_wide) * wide // new_wide])
    codes = _codes(frame)
    kinds, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    ys, xs = _edges(tall, new_tall), _edges(wide, new_wide)
    if len(kinds) <= SPRITE_COLOURS:
        # the rarest colour of each block is kept: the ball, not the court
        rank = np.empty(len(counts), np.int64)
        rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
        ranks = rank[inverse.reshape(tall, wide)]
        best = np.maximum.reduceat(np.maximum.reduceat(ranks, ys, axis=0), xs, axis=1)
        chosen = kinds[np.argsort(-counts, kind="stable")[best]]
        return np.stack([chosen >> 16 & 255, chosen >> 8 & 255, chosen & 255], axis=-1).astype(np.uint8)
    values = frame.astype(np.float64)
    sums = np.add.reduceat(np.add.reduceat(values, ys, axis=0), xs, axis=1)
    sizes = np.diff([*ys, tall])[:, None] * np.diff([*xs, wide])[None, :]
    mean = sums / sizes[..., None]
    background = np.median(values.reshape(-1, 3), axis=0)
    away = np.linalg.norm(values - background, axis=-1)
    most = np.maximum.reduceat(np.maximum.reduceat(away, ys, axis=0), xs, axis=1)
    # the mean dilutes a line thinner than a block: scale its contrast to the background up towards its pixels' own
    distance = np.maximum(np.linalg.norm(mean - background, axis=-1), 1e-6)
    boost = np.clip(0.6 * most / distance, 1.0, 4.0)[..., None]
    return np.asarray(np.clip(background + (mean - background) * boost, 0, 255), np.uint8)


def _codes(frame: Array) -> npt.NDArray[np.int64]:
    parts = frame.astype(np.int64)
    return np.asarray(parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2])


def _edges(size: int, parts: int) -> npt.NDArray[np.int64]:
    return np.asarray(np.arange(parts) * size // parts, np.int64)


def _background(pixels: Array) -> Array:
    """The most common colour."""
    codes, counts = np.unique(_codes(pixels), return_counts=True)
    code = int(codes[np.argmax(counts)])
    return np.array([code >> 16 & 255, code >> 8 & 255, code & 255], np.float64)


def _monochrome(pixels: Array) -> Text:
    """Without colours: pixels that differ from the background are set."""
    lit = np.linalg.norm(pixels.astype(np.float64) - _background(pixels), axis=-1) > DISTINCT / 2
    signs = np.array([[" ", "▄"], ["▀", "█"]])
    lines = ["".join(signs[top.astype(int), low.astype(int)]) for top, low in zip(lit[::2], lit[1::2], strict=True)]
    return Text("\n".join(lines), no_wrap=True, end="")


def _ansi(pixels: Array) -> npt.NDArray[np.int64]:
    """Numbers of the nearest ANSI colours `(h, w)`; a colour unlike the background never gets the background's."""
    background = _background(pixels)
    own = int(np.argmin(_distances(background)))
    codes, inverse = np.unique(_codes(pixels), return_inverse=True)
    numbers = []
    for code in codes.tolist():
        colour = np.array([code >> 16 & 255, code >> 8 & 255, code & 255], np.float64)
        order = np.argsort(_distances(colour))
        clash = int(order[0]) == own and np.linalg.norm(colour - background) > DISTINCT / 2
        numbers.append(int(order[1] if clash else order[0]))
    return np.asarray(np.array(numbers)[inverse].reshape(pixels.shape[:2]), np.int64)


def _distances(colour: Array) -> npt.NDArray[np.float64]:
    """Distance of `colour` from each ANSI colour `(16,)`: hue counts more than brightness."""
    grey, greys = colour.mean(), _PALETTE.mean(axis=1)
    hue = np.linalg.norm((_PALETTE - greys[:, None]) - (colour - grey), axis=1)
    return np.asarray(1.5 * hue + np.abs(greys - grey))


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
