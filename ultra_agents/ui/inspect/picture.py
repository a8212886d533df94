"""A frame in half-block characters: two pixels to a cell, thin objects kept, in as many colours as there are."""

from __future__ import annotations

from itertools import groupby
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from rich.color import Color
from rich.style import Style
from rich.text import Text

from ultra_agents.records import Array

Depth: TypeAlias = Literal["none", "standard", "256", "truecolor"]
"""Colours of the terminal: none, the 16 of old, the 256 of most, any."""

FLAT = 96
"""Up to so many colours a frame is drawn art, where every object matters; above, a photograph, where areas do."""
APART = 48.0
"""Distance in RGB from which two colours are told apart."""
_PALETTE = np.array([
    (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229),
    (127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255),
    (255, 255, 255),
], np.float64)  # fmt: skip
"""The 16 ANSI colours as xterm shows them."""


def picture(frame: Array, columns: int, rows: int, depth: Depth = "truecolor") -> Text:
    """`frame` `(H, W, 3)` uint8 as at most `rows` lines of at most `columns` characters, proportions kept."""
    pixels = fit(frame, columns, 2 * rows)
    if pixels.shape[0] % 2:
        pixels = np.concatenate([pixels, pixels[-1:]])
    if depth == "none":
        return _marks(pixels)
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
    """`frame` scaled to at most `height` x `width` pixels; where it shrinks, what stands out from the ground stays."""
    tall, wide = frame.shape[:2]
    scale = min(max(width, 1) / wide, max(height, 1) / tall)
    new_wide, new_tall = max(int(wide * scale), 1), max(int(tall * scale), 1)
    if scale >= 1:
        return np.asarray(frame[np.arange(new_tall) * tall // new_tall][:, np.arange(new_wide) * wide // new_wide])
    codes = _codes(frame)
    kinds, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    ys, xs = _edges(tall, new_tall), _edges(wide, new_wide)
    if len(kinds) <= FLAT:
        # the rarest colour of each block wins: the ball is worth more than the court
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
    ground = np.median(values.reshape(-1, 3), axis=0)
    away = np.linalg.norm(values - ground, axis=-1)
    most = np.maximum.reduceat(np.maximum.reduceat(away, ys, axis=0), xs, axis=1)
    # a line thinner than a block has a faint mean: it is strengthened towards how far its pixels are from the ground
    distance = np.maximum(np.linalg.norm(mean - ground, axis=-1), 1e-6)
    boost = np.clip(0.6 * most / distance, 1.0, 4.0)[..., None]
    return np.asarray(np.clip(ground + (mean - ground) * boost, 0, 255), np.uint8)


def _codes(frame: Array) -> npt.NDArray[np.int64]:
    parts = frame.astype(np.int64)
    return np.asarray(parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2])


def _edges(size: int, parts: int) -> npt.NDArray[np.int64]:
    return np.asarray(np.arange(parts) * size // parts, np.int64)


def _ground(pixels: Array) -> Array:
    """The most common colour."""
    codes, counts = np.unique(_codes(pixels), return_counts=True)
    code = int(codes[np.argmax(counts)])
    return np.array([code >> 16 & 255, code >> 8 & 255, code & 255], np.float64)


def _marks(pixels: Array) -> Text:
    """Without colours: what differs from the ground is set."""
    lit = np.linalg.norm(pixels.astype(np.float64) - _ground(pixels), axis=-1) > APART / 2
    signs = np.array([[" ", "▄"], ["▀", "█"]])
    lines = ["".join(signs[top.astype(int), low.astype(int)]) for top, low in zip(lit[::2], lit[1::2], strict=True)]
    return Text("\n".join(lines), no_wrap=True, end="")


def _ansi(pixels: Array) -> npt.NDArray[np.int64]:
    """Numbers of the nearest ANSI colours `(h, w)`; what is apart from the ground never gets the ground's."""
    ground = _ground(pixels)
    own = int(np.argmin(_apart(ground)))
    codes, inverse = np.unique(_codes(pixels), return_inverse=True)
    numbers = []
    for code in codes.tolist():
        colour = np.array([code >> 16 & 255, code >> 8 & 255, code & 255], np.float64)
        order = np.argsort(_apart(colour))
        clash = int(order[0]) == own and np.linalg.norm(colour - ground) > APART / 2
        numbers.append(int(order[1] if clash else order[0]))
    return np.asarray(np.array(numbers)[inverse].reshape(pixels.shape[:2]), np.int64)


def _apart(colour: Array) -> npt.NDArray[np.float64]:
    """How unlike `colour` each ANSI colour looks `(16,)`: its hue counts more than how bright it is."""
    grey, greys = colour.mean(), _PALETTE.mean(axis=1)
    hue = np.linalg.norm((_PALETTE - greys[:, None]) - (colour - grey), axis=1)
    return np.asarray(1.5 * hue + np.abs(greys - grey))
