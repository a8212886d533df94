"""What Gymnasium's conventions for docstrings tell: sections, and the rows of tables and lists of actions.

Docstrings are foreign text on its way into a prompt: control characters and markup are taken out, and it is cut.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

_HEADING = re.compile(r"^\s*#{1,6}\s*(.+?)\s*#*\s*$")
_ITEM = re.compile(r"^\s*[-*]\s*`?(\d+)`?\s*[:=-]\s*(.+)$")
_NAME_COLUMNS = ("name", "action", "observation")
_LONGEST_NAME = 40


def sections(cls: type) -> dict[str, list[str]]:
    """Heading in lower case -> its lines; what comes before the first heading is under ``."""
    found: dict[str, list[str]] = {"": []}
    here = ""
    for line in (inspect.getdoc(cls) or "").splitlines():
        heading = _HEADING.match(line)
        if heading:
            here = heading[1].lower()
            found.setdefault(here, [])
        else:
            found[here].append(line)
    return found


def prose(found: dict[str, list[str]], headings: tuple[str, ...], longest: int) -> str:
    """The text of the first section whose heading starts with one of `headings`, at most `longest` characters."""
    for heading in headings:
        for name, lines in found.items():
            if name.startswith(heading) and (text := clean(" ".join(_sentences(lines)))):
                return cut(text, longest)
    return ""


def rows(found: dict[str, list[str]], heading: str) -> dict[int, str]:
    """Index -> name, from the table (`| 0 | Cart Position | ...`) or list (`- 0: Push left`) of a section."""
    for name, lines in found.items():
        if name.startswith(heading):
            return _table(lines) or _list(lines)
    return {}


@dataclass(frozen=True)
class Row:
    """A row of the table of observations: what it is, its unit ("" if none is told), and the cells of both bounds."""

    text: str
    unit: str
    low: str
    high: str


def observation_rows(found: dict[str, list[str]]) -> dict[int, Row]:
    """Index -> row of the table (`| 0 | Cart Position | -4.8 | 4.8 |`) in the section about observations."""
    lines = next((lines for name, lines in found.items() if name.startswith("observation")), [])
    heads, cells = _cells(lines)
    told: dict[int, Row] = {}
    for index, row in cells.items():
        by = {head: clean(cell) for head, cell in zip(heads, row, strict=False)}
        text = next((cell for head, cell in by.items() if head.startswith("observation")), clean("".join(row[1:2])))
        unit = next((cell for head, cell in by.items() if "unit" in head), "")
        inside = re.search(r"\(([^()]*)\)\s*$", unit)
        unit = "1" if unit == "unitless" else inside[1] if inside else unit
        told[index] = Row(cut(text, 80), unit[:20], by.get("min", ""), by.get("max", ""))
    return told


def names(found: dict[str, list[str]], heading: str, count: int) -> tuple[str, ...] | None:
    """Names of `0 .. count - 1`, or None unless there is one for each and no two are alike."""
    told = rows(found, heading)
    plain = tuple(_short(told[index]) for index in range(count) if index in told)
    return plain if len(plain) == count and len(set(plain)) == count and all(plain) else None


def clean(text: str) -> str:
    """Printable plain text in one line, without markup."""
    text = re.sub(r"<[^>]{0,40}>|\$+|\*\*|__|`", "", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = "".join(character if character.isprintable() else " " for character in text)
    for mark in ("<|", "|>", "[INST]", "[/INST]", "<<SYS>>", "<think>"):
        text = text.replace(mark, " ")
    return " ".join(text.split())


def cut(text: str, longest: int) -> str:
    """At most `longest` characters, ending with a sentence where there is one."""
    if len(text) <= longest:
        return text
    end = text.rfind(". ", 0, longest)
    return text[: end + 1] if end >= longest // 4 else text[: longest - 4].rsplit(" ", 1)[0] + " ..."


def _sentences(lines: list[str]) -> list[str]:
    """Prose without tables, code and pictures."""
    kept, code = [], False
    for line in lines:
        if line.strip().startswith("```"):
            code = not code
        elif not code and not line.strip().startswith(("|", ">>>", "..", ":alt", "<img")):
            kept.append(line)
    return kept


def _table(lines: list[str]) -> dict[int, str]:
    heads, found = _cells(lines)
    column = next((i for want in _NAME_COLUMNS for i, head in enumerate(heads) if head.startswith(want)), 1)
    return {index: clean(cells[column]) for index, cells in found.items() if column < len(cells)}


def _cells(lines: list[str]) -> tuple[list[str], dict[int, list[str]]]:
    """The headings of a table in lower case, and the cells of each numbered row."""
    heads: list[str] = []
    found: dict[int, list[str]] = {}
    for line in lines:
        if not line.strip().startswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not heads:
            heads = [cell.lower() for cell in cells]
        elif cells[0].isdecimal():
            found.setdefault(int(cells[0]), cells)
    return heads, found


def _list(lines: list[str]) -> dict[int, str]:
    matches = (_ITEM.match(line) for line in lines)
    return {int(match[1]): clean(match[2]) for match in reversed(list(filter(None, matches)))}


def _short(name: str) -> str:
    """A name an LLM can repeat letter by letter."""
    name = re.sub(r"\s*\(.*?\)", "", name) if len(name) > _LONGEST_NAME else name
    return name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME].rsplit(" ", 1)[0]
