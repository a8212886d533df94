"""The reader: from PyYAML's events to plain data, without recursion."""

from __future__ import annotations

import codecs
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from ultra_agents.errors import ConfigError
from ultra_agents.yaml_text.places import SHOWN, Path, Place, YamlError, quoted
from ultra_agents.yaml_text.scalars import plain_scalar


def dotted(path: Path, whose: str) -> str:
    """A path with dots, after the name of the text."""
    words = ".".join(quoted(str(part))[1:-1] for part in path)
    return f"{whose}: {words}" if words and whose else words or whose


@dataclass(frozen=True)
class Dialect:
    """What a text may hold.

    Attributes:
        characters: Of the whole text, at most.
        depth: Lists and mappings within one another, at most.
        scalar: Value of an unquoted scalar.
        aliases: Whether anchors, aliases and the merge key `<<` are followed.
        error: What is raised.
        label: Names a path in messages, given the name of the text.
        values: Scalars, lists and mappings after aliases are expanded, at most.
    """

    characters: int
    depth: int
    scalar: Callable[[str], Any]
    aliases: bool
    error: type[YamlError]
    label: Callable[[Path, str], str]
    values: int = 100_000


SETTINGS = Dialect(1_000_000, 32, plain_scalar, True, YamlError, dotted)
"""Configurations and what belongs to them."""


@dataclass
class _Open:
    """A list or mapping whose end has not come."""

    holds: dict[str, Any] | list[Any]
    path: Path
    anchor: str | None
    first: int
    keys: dict[str, int] = field(default_factory=dict)
    """The line of each."""
    key: str | None = None

    def next_path(self) -> Path:
        """Where the coming value belongs."""
        return (*self.path, len(self.holds) if isinstance(self.holds, list) else str(self.key))

    def take(self, value: Any) -> None:
        """Put a value at its place."""
        if isinstance(self.holds, list):
            self.holds.append(value)
        else:
            self.holds[str(self.key)] = value
            self.key = None


class _Reader:
    """Builds the data of one text from its events, without recursion."""

    def __init__(self, whose: str, dialect: Dialect) -> None:
        self.whose, self.dialect = whose, dialect
        self.documents: list[Any] = []
        self.places: dict[Path, Place] = {}
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        """The value of each, and how many values it is made of."""
        self.count = 0

    def take(self, event: Any) -> None:
        """One event of PyYAML's parser."""
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close(self.stack.pop())
        elif isinstance(event, yaml.NodeEvent):
            self._node(event)

    def _node(self, event: Any) -> None:
        parent = self.stack[-1] if self.stack else None
        is_key = parent is not None and isinstance(parent.holds, dict) and parent.key is None
        path = parent.next_path() if parent is not None and not is_key else (parent.path if parent else ())
        place = self._place(event, path)
        if not self.dialect.aliases and (isinstance(event, yaml.AliasEvent) or event.anchor or _has_tag(event)):
            raise place.refusal("anchors, aliases and tags are not allowed", hint="quote text that begins with & * !")
        if _has_tag(event):
            raise place.refusal("tags are not allowed", event.tag, hint="quote text that begins with !")
        if is_key:
            assert parent is not None
            self._take_key(event, parent, place)
            return
        self.places[path] = place
        value, size = self._value(event, place, path)
        self.count += size
        if self.count > self.dialect.values:
            raise place.refusal("too many values", expected=f"at most {self.dialect.values}, aliases expanded")
        if parent is None:
            self.documents.append(value)
        else:
            parent.take(value)

    def _value(self, event: Any, place: Place, path: Path) -> tuple[Any, int]:
        """The value of a node, and how many values it adds; what a list or mapping holds comes later."""
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise place.refusal("there is no such anchor before this alias", f"*{event.anchor}",
                                    hint="quote text that begins with *")  # fmt: skip
            value, size = self.anchors[event.anchor]
            return (copy.deepcopy(value) if self.count + size <= self.dialect.values else None), size
        if isinstance(event, yaml.ScalarEvent):
            value = event.value if event.style is not None else self.dialect.scalar(event.value)
            if event.anchor:
                self.anchors[event.anchor] = (value, 1)
            return value, 1
        if len(self.stack) >= self.dialect.depth:
            raise place.refusal("lists and mappings are nested too deeply", expected=f"at most {self.dialect.depth}")
        value = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.stack.append(_Open(value, path, event.anchor, self.count))
        return value, 1

    def _take_key(self, event: Any, parent: _Open, place: Place) -> None:
        assert isinstance(parent.holds, dict)
        if not isinstance(event, yaml.ScalarEvent):
            raise place.refusal("a key must be a word", hint="quote text that begins with [ or {")
        if event.value in parent.holds:
            before = f"a key is given twice, before in line {parent.keys[event.value]}"
            raise place.refusal(before, event.value, hint="keep one of them")
        parent.key = event.value
        parent.keys[event.value] = place.line or 0
        parent.holds[event.value] = None
        self.places[parent.next_path()] = place

    def _close(self, ended: _Open) -> None:
        if self.dialect.aliases and isinstance(ended.holds, dict) and "<<" in ended.holds:
            given = ended.holds.pop("<<")
            for merged in given if isinstance(given, list) else [given]:
                if not isinstance(merged, dict):
                    raise self.places[*ended.path, "<<"].refusal("<< takes a mapping, or a list of them")
                for key, value in merged.items():
                    ended.holds.setdefault(key, value)
        if ended.anchor:
            self.anchors[ended.anchor] = (ended.holds, self.count - ended.first)

    def _place(self, event: Any, path: Path) -> Place:
        start, end = event.start_mark, event.end_mark
        value = getattr(event, "value", None)
        quote = 1 if getattr(event, "style", None) in ("'", '"') else 0
        exact = value is not None and start.line == end.line and end.column - start.column == len(value) + 2 * quote
        label = self.dialect.label(path, self.whose)
        return Place(label, self.dialect.error, start.line + 1, start.column + 1 + quote, exact)


def read_yaml(text: str, whose: str, dialect: Dialect = SETTINGS) -> tuple[Any, dict[Path, Place]]:
    """The text as plain data, and where each piece of it is.

    Args:
        text: One document; it may come from anybody.
        whose: Names it in messages.
        dialect: What it may hold.

    Raises:
        YamlError: (or the dialect's own) The text is too long, no YAML, nested too deeply, expands to too much, or has
            a tag or a key twice.
    """
    name = dialect.label((), whose)
    if len(text) > dialect.characters:
        raise dialect.error(
            f"{name}: the text is too long", found=f"{len(text)} characters", expected=dialect.characters
        )
    reader = _Reader(whose, dialect)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = (mark.line, mark.column) if mark is not None else (0, 0)
        raise _not_yaml(error.problem or "not readable", position, text, name, dialect) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position].split("\n")
        strange = f"the character {text[error.position]!a} is not allowed"
        raise _not_yaml(strange, (len(before) - 1, len(before[-1])), text, name, dialect) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # as PyYAML raises on some escapes and versions
        raise dialect.error(f"{name}: this is not YAML", found=quoted(str(error))) from None
    if len(reader.documents) != 1:
        many = len(reader.documents)
        found = f"{many} documents, separated by ---" if many else "an empty file, or comments only"
        raise dialect.error(f"{name}: there is not one document", found=found, expected="one document")
    return reader.documents[0], reader.places


def read_settings(path: FilePath, what: str, example: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        path: The file: UTF-8, or UTF-16 with its byte order mark.
        what: What it is, in messages.
        example: A complete one to point to.

    Raises:
        ConfigError: It cannot be read, is no YAML, or holds no mapping.
    """
    try:
        text = read_text(path, SETTINGS)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the {what} {path}", found=str(error), expected="a YAML file in UTF-8",
            hint=f"{example} is a complete one",
        ) from error  # fmt: skip
    data, _ = read_yaml(text, str(path))
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path} holds no mapping of settings", found="a list" if isinstance(data, list) else repr(data),
            expected="key: value, line by line", hint=f"{example} is a complete one",
        )  # fmt: skip
    return data


def read_text(path: FilePath, dialect: Dialect) -> str:
    """The text of a file, of a long one only so much that it is seen to be too long.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is neither UTF-8 nor UTF-16 with a byte order mark.
    """
    with path.open("rb") as file:
        marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    with path.open(encoding="utf-16" if marked else "utf-8-sig") as text:
        return text.read(dialect.characters + 1)


def read_setting(given: str, example: str, option: str = "--set ") -> tuple[str, Any]:
    """Key and value of `key=value`, the value in YAML; nothing is None.

    Raises:
        ConfigError: It is no such pair, or the value is not YAML.
    """
    key, equals, value = given.partition("=")
    if not equals or not key:
        raise ConfigError(f"{option}takes key=value", found=given, expected=f"for example {example}")
    return key, read_yaml(value, f"{option}{key}")[0] if value.strip() else None


def _has_tag(event: Any) -> bool:
    quoted_scalar = getattr(event, "style", None) is not None  # such a one has the tag ! without its being written
    return getattr(event, "tag", None) not in ((None, "!") if quoted_scalar else (None,))


def _not_yaml(problem: str, position: tuple[int, int], text: str, name: str, dialect: Dialect) -> YamlError:
    line, column = position[0] + 1, position[1] + 1
    lines = text.splitlines()
    return dialect.error(
        f"{name} (line {line}, column {column}): this is not YAML: {quoted(problem)[1:-1][:SHOWN]}",
        found=quoted(lines[line - 1], column - 1) if line <= len(lines) else None,
        hint="indent with spaces, and quote text with a colon, a # or, in { }, a comma",
        line=line,
        column=column,
    )
