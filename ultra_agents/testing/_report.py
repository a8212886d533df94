"""What every conformance kit reports: one row per check, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ultra_agents.errors import UltraError


class Broken(Exception):
    """A promise of the contract is not kept.

    Args:
        problem: What was seen and what was promised.
        do: What to do about it; the check's usual advice by default.
    """

    def __init__(self, problem: str, do: str = "") -> None:
        super().__init__(problem)
        self.do = do


class Skip(Exception):
    """Nothing to check.

    Args:
        reason: Why.
        do: What would make it checkable, or what offering it would bring.
    """

    def __init__(self, reason: str, do: str = "") -> None:
        super().__init__(reason)
        self.do = do


@dataclass(frozen=True)
class Row:
    """What came of one check.

    Attributes:
        check: Name of the check.
        status: `pass`, `skipped` or `failed`.
        detail: What was seen, or why it was skipped.
        do: What to do, where there is something to do.
    """

    check: str
    status: Literal["pass", "skipped", "failed"]
    detail: str
    do: str = ""


@dataclass(frozen=True)
class Report:
    """What came of all checks of one plugin.

    Attributes:
        subject: The plugin's `env_id`, or its class where it has none.
        rows: One per check, in a fixed order.
    """

    subject: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Nothing failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that failed."""
        return tuple(row for row in self.rows if row.status == "failed")

    def __str__(self) -> str:
        lines = [self.subject]
        for row in self.rows:
            lines.append(f"{row.status:>7}  {row.check}: {row.detail}")
            if row.do and row.status == "failed":
                lines.append(f"{'':>7}  do: {row.do}")
        return "\n".join(lines)


def require(condition: object, problem: str, do: str = "") -> None:
    """Say what is wrong unless `condition` holds."""
    if not condition:
        raise Broken(problem, do)


def run_check(name: str, check: Callable[[], str], do: str = "") -> Row:
    """Run one check; nothing it raises gets out.

    Args:
        name: Of the row.
        check: Returns what was seen; raises `Broken` or `Skip`.
        do: What to do when it fails, unless it says something better itself.
    """
    try:
        return Row(name, "pass", check())
    except Skip as reason:
        return Row(name, "skipped", str(reason), reason.do)
    except Broken as problem:
        return Row(name, "failed", str(problem), problem.do or do)
    except UltraError as error:
        told = "; ".join(filter(None, [error.problem, error.found, error.expected and f"expected {error.expected}"]))
        return Row(name, "failed", told, error.hint or do)
    except Exception as error:
        return Row(name, "failed", f"raised {type(error).__name__}: {error}", do)


def run_until_blocked(checks: Iterable[tuple[str, Callable[[], str], str]]) -> tuple[Row, ...]:
    """Run checks `(name, check, do)` until two fail for the same cause; the second and all later ones are skipped.

    Then it is the plugin as a whole that fails, and sixteen rows that say so hide the one that helps.
    """
    rows: list[Row] = []
    causes: dict[str, str] = {}
    blocked = ""
    for name, check, do in checks:
        row = Row(name, "skipped", blocked) if blocked else run_check(name, check, do)
        if row.status == "failed":
            if row.detail in causes:
                blocked = f"not checked: it fails as {causes[row.detail]!r} does"
                row = Row(name, "skipped", blocked)
            causes[row.detail] = name
        rows.append(row)
    return tuple(rows)
