"""What Gymnasium's conventions for docstrings tell: sections, and the rows of tables and lists of actions.

Docstrings are foreign text on its way into a prompt: control characters and markup are taken out, and it is cut.
"""

from __future__ import annotations

import inspect
import re

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
    found: dict[int, str] = {}
    column: int | None = None
    for line in lines:
        if not line.strip().startswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if column is None:
            heads = [cell.lower() for cell in cells]
            column = next((i for want in _NAME_COLUMNS for i, head in enumerate(heads) if head.startswith(want)), 1)
        elif cells[0].isdecimal() and column < len(cells):
            found.setdefault(int(cells[0]), clean(cells[column]))
    return found


def _list(lines: list[str]) -> dict[int, str]:
    matches = (_ITEM.match(line) for line in lines)
    return {int(match[1]): clean(match[2]) for match in reversed(list(filter(None, matches)))}


def _short(name: str) -> str:
    """A name an LLM can repeat letter by letter."""
    name = re.sub(r"\s*\(.*?\)", "", name) if len(name) > _LONGEST_NAME else name
    return name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME].rsplit(" ", 1)[0]
