"""Text for terminals: wrapping, replies for reading, durations, numbers."""

from __future__ import annotations

import math
import re
from typing import Any

from rich.cells import cell_len, chop_cells

from ultra_agents.text import parsed_json


def wrap(text: str, width: int, lines: int) -> list[str]:
    """Clean `text` on at most `lines` lines of `width` terminal cells; an ellipsis where it was cut."""
    if width < 1 or lines < 1:
        return []
    made = [""]
    for word in text.split():
        for piece in chop_cells(word, width):
            joined = f"{made[-1]} {piece}" if made[-1] else piece
            if cell_len(joined) <= width:
                made[-1] = joined
            else:
                made.append(piece)
        if len(made) > lines:
            break
    if len(made) <= lines:
        return made
    last = made[lines - 1]
    while last and cell_len(last) > width - 1:
        last = last[:-1]
    return [*made[: lines - 1], f"{last}…"]


def prose(text: str) -> str:
    """A reply for reading: JSON, whole or cut, without its brackets and quotes; everything else as it is."""
    try:
        value = parsed_json(text)
    except ValueError:
        return unfinished(text) if re.match(r'\s*(\[\s*)?\{\s*"', text) else text
    return _told(value) if isinstance(value, dict | list) else text


def unfinished(text: str) -> str:
    """A reply that is still being streamed, for reading: without the brackets and quotes of JSON."""
    text = re.sub(r'(["\]}\d]|true|false|null),\s*"(?=\w+"\s*:)', r"\1; ", text)
    text = re.sub(r'(\w)"\s*:\s*(?=["\[{\w-])', r'\1": ', text)
    return re.sub(r'\\(["\\/])|["{}\[\]]', r"\1", text.replace("\\n", " "))


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_told(part)}" for key, part in value.items())
    if isinstance(value, list):
        return " | ".join(map(_told, value))
    return str(value)


def clock(seconds: float) -> str:
    """`3:07` or `1:02:03`."""
    whole = max(int(seconds), 0)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def took(seconds: float) -> str:
    """A duration that has passed: `0.4 s`, `12 s`, `3:07 min`, `1:02:03 h`."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{clock(seconds)} {'h' if seconds >= 3600 else 'min'}"


def about(seconds: float | None) -> str:
    """An estimated duration, rounded: `20 s`, `4 min`, `2 h 10`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 55:
        return f"{max(math.ceil(seconds / 5) * 5, 5)} s"
    minutes = max(round(seconds / 60), 1)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d}"


def count(number: float) -> str:
    """A whole number in at most five characters: `950`, `12.3k`, `1.2M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * 0.9995:
            value = number / size
            return f"{value:.0f}{unit}" if abs(value) >= 99.95 else f"{value:.1f}".removesuffix(".0") + unit
    return f"{number:.0f}"


def score(value: float) -> str:
    """A return: two decimals below 100, none above; a dash where there is none."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"
