"""The error of a text in YAML, and the place in the text that it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from ultra_agents.errors import ConfigError

SHOWN = 70
"""Characters of foreign text quoted in a message, at most."""

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices that lead to a piece of the data."""


class YamlError(ConfigError):
    """A text in YAML cannot be used.

    Args:
        problem: One sentence: what is wrong, and where.
        found: What was there.
        expected: What is allowed.
        hint: What to do about it.
        line: Line of the YAML text, from 1, where the problem lies in one.
        column: Column in that line, from 1.
    """

    def __init__(
        self,
        problem: str,
        *,
        found: object = None,
        expected: object = None,
        hint: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(problem, found=found, expected=expected, hint=hint)
        self.line = line
        self.column = column

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip back from a worker process with every field."""
        fields = {name: getattr(self, name) for name in ("found", "expected", "hint", "line", "column")}
        return (_rebuild, (type(self), self.problem, fields))


def _rebuild(cls: type[YamlError], problem: str, fields: dict[str, Any]) -> YamlError:
    return cls(problem, **fields)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a piece of text stands: `rule 2, when` at a line and column (both from 1) of the YAML text.

    `exact` says that a character's position in the piece can be added to the column: it stands on one line, as it is.
    """

    label: str
    error: type[YamlError]
    line: int | None = None
    column: int | None = None
    exact: bool = False

    def refusal(
        self,
        problem: str,
        text: str | None = None,
        at: int | None = None,
        *,
        expected: object = None,
        hint: str | None = None,
    ) -> YamlError:
        """The error for a problem at character `at` (from 0) of the piece `text`."""
        column = self.column
        if at is not None and column is not None and self.exact:
            column += at
        where = f"{self.label} (line {self.line}, column {column})" if self.line is not None else self.label
        found = None if text is None else quoted(text, at)
        if found is not None and at is not None:
            found = f"character {at + 1} of {found}"
        return self.error(
            f"{where}: {problem}", found=found, expected=expected, hint=hint, line=self.line, column=column
        )


def quoted(text: str, at: int | None = None) -> str:
    """`text` as printable ASCII; of a long one what surrounds character `at`, or its beginning."""
    first = 0 if at is None or len(text) <= SHOWN else max(0, at - SHOWN // 2)
    shown = text[first : first + SHOWN]
    return f"{'...' if first else ''}{shown!a}{'...' if first + SHOWN < len(text) else ''}"
