"""YAML text to plain data that remembers where each piece stood; every scalar stays text.

Nothing is constructed from tags and no alias is followed, depth and length are bounded, and a key given twice is an
error. That scalars stay text keeps `1e-2` a number and `no` a name, which YAML 1.1 would make a string and False.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from ultra_agents.rules.errors import SHOWN, Place, RuleError, quoted

MAX_CHARACTERS = 20_000
"""Of a whole file."""
MAX_DEPTH = 6
"""Lists and mappings within one another."""

Path: TypeAlias = tuple[str | int, ...]


@dataclass
class _Open:
    """A list or mapping whose end has not come."""

    holds: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None

    def next_path(self) -> Path:
        """Where the coming value belongs."""
        return (*self.path, len(self.holds) if isinstance(self.holds, list) else str(self.key))


def read_yaml(text: str, whose: str) -> tuple[Any, dict[Path, Place]]:
    """The text as dicts, lists and strings (None where nothing stands), and where each of them is.

    Raises:
        RuleError: The text is too long, no YAML, nested too deeply, or has an alias, a tag or a key twice.
    """
    if len(text) > MAX_CHARACTERS:
        raise RuleError(
            f"{label((), whose)}: the text is too long", found=f"{len(text)} characters", expected=MAX_CHARACTERS
        )
    places: dict[Path, Place] = {}
    try:
        documents = list(_documents(text, whose, places))
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text, whose) from None
    except yaml.YAMLError as error:  # characters that YAML does not allow, which have no mark
        raise RuleError(f"{label((), whose)}: this is not YAML", found=quoted(str(error).split("\n")[0])) from None
    except (ValueError, OverflowError) as error:  # as PyYAML raises on some escapes and numbers of versions
        raise RuleError(f"{label((), whose)}: this is not YAML", found=quoted(str(error))) from None
    if len(documents) != 1:
        raise RuleError(
            f"{label((), whose)}: there is not one document", found=f"{len(documents)} documents", expected="one"
        )
    return documents[0], places


def _documents(text: str, whose: str, places: dict[Path, Place]) -> list[Any]:
    documents: list[Any] = []
    stack: list[_Open] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            stack.pop()
            continue
        if not isinstance(event, yaml.NodeEvent):
            continue
        parent = stack[-1] if stack else None
        is_key = parent is not None and isinstance(parent.holds, dict) and parent.key is None
        path = parent.next_path() if parent is not None and not is_key else (parent.path if parent else ())
        place = _place(event, whose, path)
        if isinstance(event, yaml.AliasEvent) or event.anchor or _has_tag(event):
            raise place.refusal("anchors, aliases and tags are not allowed", hint="quote text that begins with & * !")
        if is_key:
            assert parent is not None
            _take_key(event, parent, place, places)
            continue
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = None if event.style is None and event.value in ("", "~", "null") else event.value
        else:
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
            if len(stack) >= MAX_DEPTH:
                raise place.refusal("lists and mappings are nested too deeply", expected=f"at most {MAX_DEPTH}")
            stack.append(_Open(value, path))
        places[path] = place
        if parent is None:
            documents.append(value)
        elif isinstance(parent.holds, list):
            parent.holds.append(value)
        else:
            parent.holds[str(parent.key)] = value
            parent.key = None
    return documents


def _take_key(event: Any, parent: _Open, place: Place, places: dict[Path, Place]) -> None:
    assert isinstance(parent.holds, dict)
    if not isinstance(event, yaml.ScalarEvent):
        raise place.refusal("a key must be a word", hint="quote an expression that begins with [ or {")
    if event.value in parent.holds:
        raise place.refusal("a key is given twice", event.value, hint="keep one of them")
    parent.key = event.value
    parent.holds[event.value] = None
    places[parent.next_path()] = place


def _has_tag(event: Any) -> bool:
    quoted_scalar = getattr(event, "style", None) is not None  # such a one has the tag ! without its being written
    return getattr(event, "tag", None) not in ((None, "!") if quoted_scalar else (None,))


def _place(event: Any, whose: str, path: Path) -> Place:
    start, end = event.start_mark, event.end_mark
    value = getattr(event, "value", None)
    quote = 1 if getattr(event, "style", None) in ("'", '"') else 0
    exact = value is not None and start.line == end.line and end.column - start.column == len(value) + 2 * quote
    return Place(label(path, whose), start.line + 1, start.column + 1 + quote, exact)


def label(path: Path, whose: str = "") -> str:
    """A path in words, `rule 2, when`, after the name of the text if it has one."""
    match path:
        case ():
            return whose or "the rules"
        case ("rules", int(index), *rest):
            words = ", ".join([f"rule {index + 1}", *(quoted(str(part))[1:-1] for part in rest)])
        case _:
            words = ".".join(quoted(str(part))[1:-1] for part in path)
    return f"{whose}: {words}" if whose else words


def _not_yaml(error: yaml.MarkedYAMLError, text: str, whose: str) -> RuleError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    lines = text.splitlines()
    found = quoted(lines[line - 1], column - 1) if line <= len(lines) else None
    problem = quoted(error.problem or "not readable")[1:-1][:SHOWN]
    return RuleError(
        f"{label((), whose)} (line {line}, column {column}): this is not YAML: {problem}",
        found=found,
        hint="indent with spaces, and quote expressions with a colon, a # or, in { }, a comma",
        line=line,
        column=column,
    )
