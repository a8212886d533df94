"""Every error a person can meet: what was found, what was expected, what to do.

The command line prints these without a traceback and ends with `exit_code`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class UltraError(Exception):
    """Base of all errors that are somebody's to fix.

    Args:
        problem: One sentence: what is wrong.
        found: What was there.
        expected: What should have been there.
        hint: What to do about it, a command where there is one.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        found: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.found = None if found is None else str(found)
        self.expected = None if expected is None else str(expected)
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.problem]
        if self.found is not None:
            parts.append(f"  found:    {self.found}")
        if self.expected is not None:
            parts.append(f"  expected: {self.expected}")
        if self.hint is not None:
            parts.append(f"  do:       {self.hint}")
        return "\n".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip back from a worker process with every field."""
        return (_rebuild, (type(self), self.problem, self.found, self.expected, self.hint))


def _rebuild(
    cls: type[UltraError], problem: str, found: str | None, expected: str | None, hint: str | None
) -> UltraError:
    return cls(problem, found=found, expected=expected, hint=hint)


class ConfigError(UltraError):
    """The run's configuration cannot be used."""


class PluginError(UltraError):
    """A plugin is unknown, claimed twice, fails to load, or breaks its contract."""


class EnvironmentFault(PluginError):
    """An environment returned what its contract forbids (NaN, wrong shape, inexact restore)."""


class PolicyError(UltraError):
    """A policy file is missing, damaged, or made for something else."""


class RunError(UltraError):
    """A run folder is missing, taken, read-only, damaged, or of another version."""


class LLMError(UltraError):
    """A language model cannot be used: unreachable, refused, misconfigured, missing weights."""


class BudgetReached(UltraError):
    """A spending cap was reached; everything so far is kept and the run can be resumed."""

    exit_code = 3


class ApprovalNeeded(UltraError):
    """Something that held waits for a person's word; everything so far is kept and the run can be resumed.

    Attributes:
        questions: What is asked, all of it in order: what it is about, and what a person is told.
    """

    exit_code = 3

    def __init__(self, problem: str, *, questions: tuple[tuple[str, str], ...] = (), **told: Any) -> None:
        super().__init__(problem, **told)
        self.questions = questions


class Interrupted(UltraError):
    """The user stopped the run; everything so far is kept and the run can be resumed."""

    exit_code = 130


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the closest known word; None when nothing is close."""
    close = get_close_matches(name, sorted(set(known)), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else None
