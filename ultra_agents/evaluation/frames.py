"""Rendered frames for the report: enlarged without blur, labelled, encoded for a page without files beside it."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Array

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Direction: TypeAlias = Literal["up", "down", "left", "right"]

WIDTH = 320
BAND = 32
BACKGROUND, TEXT, TAKEN, SUGGESTED = (22, 24, 29), (236, 238, 242), (150, 156, 168), (255, 176, 59)
_ARROW: dict[Direction, tuple[tuple[float, float], ...]] = {
    "up": ((0.5, 0.0), (1.0, 0.55), (0.66, 0.55), (0.66, 1.0), (0.34, 1.0), (0.34, 0.55), (0.0, 0.55)),
    "down": ((0.5, 1.0), (1.0, 0.45), (0.66, 0.45), (0.66, 0.0), (0.34, 0.0), (0.34, 0.45), (0.0, 0.45)),
    "left": ((0.0, 0.5), (0.55, 0.0), (0.55, 0.34), (1.0, 0.34), (1.0, 0.66), (0.55, 0.66), (0.55, 1.0)),
    "right": ((1.0, 0.5), (0.45, 0.0), (0.45, 0.34), (0.0, 0.34), (0.0, 0.66), (0.45, 0.66), (0.45, 1.0)),
}


def direction_of(action: str) -> Direction | None:
    """The direction in an action's name ("PUSH LEFT" -> left), if it contains exactly one."""
    words = action.lower().replace("_", " ").replace("-", " ").split()
    named: set[Direction] = {word for word in _ARROW if word in words}
    return named.pop() if len(named) == 1 else None


def enlarge(frame: Array, width: int = WIDTH) -> Array:
    """Scale a `(H, W, 3)` uint8 frame to about `width` pixels.

    Small frames grow by a whole factor and nearest neighbour, so that every pixel stays a sharp square; frames more
    than twice as wide as asked shrink.

    Raises:
        EnvironmentFault: Not an RGB frame of uint8.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.size == 0:
        raise EnvironmentFault(
            "a rendered frame is not an image",
            found=f"shape {frame.shape}, {frame.dtype}",
            expected="(height, width, 3) of uint8",
        )
    factor = max(1, round(width / frame.shape[1]))
    grown = frame.repeat(factor, axis=0).repeat(factor, axis=1)
    if grown.shape[1] <= 2 * width:
        return grown
    from PIL import Image

    height = max(1, round(grown.shape[0] * width / grown.shape[1]))
    return np.asarray(Image.fromarray(grown).resize((width, height), Image.Resampling.LANCZOS))


def label_frame(frame: Array, step: int, taken: str, suggested: str, width: int = WIDTH) -> Array:
    """A `(H, W, 3)` frame enlarged, with a band beneath it: the step, the action taken, an arrow, the suggestion.

    Actions whose names contain a direction also get an arrow that points there. The band is added below the frame
    and covers none of it.
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = enlarge(frame, width)
    height, wide = picture.shape[:2]
    canvas = Image.new("RGB", (wide, height + BAND), BACKGROUND)
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=16)
    middle = height + BAND // 2
    draw.text((8, middle), f"step {step}", fill=TEXT, font=font, anchor="lm")
    right = wide - 8
    right = _action(draw, right, middle, suggested, SUGGESTED, font)
    _arrow(draw, "right", right - 21, middle, 11, TEXT)
    left_of_band = 8 + int(draw.textlength(f"step {step}", font=font)) + 12
    if right - 33 - draw.textlength(taken, font=font) - 18 > left_of_band:
        _action(draw, right - 33, middle, taken, TAKEN, font)
    return np.asarray(canvas)


def smaller(frame: Array, width: int = WIDTH) -> Array:
    """A `(H, W, 3)` uint8 frame of at most `width` pixels across."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(frame))
    picture.thumbnail((width, 10 * width))
    return np.asarray(picture)


def _action(draw: ImageDraw, right: int, middle: int, name: str, colour: tuple[int, int, int], font: object) -> int:
    """Write an action's name ending at x = `right`, its arrow before it; the x where it begins."""
    shown = name if len(name) <= 22 else name[:21] + "."
    begin = right - int(draw.textlength(shown, font=font))  # type: ignore[arg-type]
    draw.text((right, middle), shown, fill=colour, font=font, anchor="rm")  # type: ignore[arg-type]
    direction = direction_of(name)
    if direction is None:
        return begin
    _arrow(draw, direction, begin - 18, middle, 13, colour)
    return begin - 18


def _arrow(
    draw: ImageDraw, direction: Direction, left: int, middle: int, size: int, colour: tuple[int, int, int]
) -> None:
    points = [(left + x * size, middle - size / 2 + y * size) for x, y in _ARROW[direction]]
    draw.polygon(points, fill=colour)


def png_data_uri(frame: Array) -> str:
    """A `(H, W, 3)` uint8 frame as `data:image/png;base64,...`."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
