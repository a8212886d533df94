"""Scalars as YAML 1.2 reads them, and a writer that quotes what would be read as something else."""

from __future__ import annotations

import re
from typing import Any

import yaml

_INTEGER = re.compile(r"[-+]?\d+(_\d+)*", re.ASCII)
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(_\d+)*(\.\d*)?)([eE][-+]?\d+)?", re.ASCII)
_BREAKS = re.compile("[\\x85\\u2028\\u2029]")
"""Line breaks that PyYAML reads as others unless they are escaped."""
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{f"{sign}.{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


def plain_scalar(text: str) -> Any:
    """An unquoted scalar as YAML 1.2's core schema reads it; underscores between digits are allowed."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OTHER_BASE.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def text_or_none(text: str) -> str | None:
    """An unquoted scalar as the text it is, or None where nothing stands."""
    return None if text in ("", "~", "null") else text


class _Dumper(yaml.SafeDumper):
    """Writes text that would be read as a number or a word of YAML in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(plain_scalar(text), str) else "'"
    style = '"' if _BREAKS.search(text) else style
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def write_yaml(data: Any, *, flow: bool | None = False, width: float = 80) -> str:
    """Plain data as YAML, in the order given; reading it gives equal data. `flow` as PyYAML's `default_flow_style`."""
    return yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=width
    )  # fmt: skip
