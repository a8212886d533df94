"""Conformance kit for environment plugins: `check_environment(plugin)` says what the contract's promises are worth.

For plugin authors: run it in a test of yours and assert `report.ok`. Optional capabilities a plugin does not offer are
`skipped`; so is what could not be observed (no episode ended within the steps allowed).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ultra_agents.contracts import Environment
from ultra_agents.testing import _environment_ask as ask
from ultra_agents.testing import _environment_play as play


@dataclass(frozen=True)
class Row:
    """What came of one check.

    Attributes:
        check: Name of the check.
        status: `pass`, `skipped` or `failed`.
        detail: What was seen, or why it was skipped.
    """

    check: str
    status: Literal["pass", "skipped", "failed"]
    detail: str


@dataclass(frozen=True)
class Report:
    """What came of all checks of one plugin.

    Attributes:
        subject: The plugin's `env_id`, or its class where that fails.
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
        lines = [f"{row.status:>7}  {row.check}: {row.detail}" for row in self.rows]
        return "\n".join([self.subject, *lines])


def check_environment(environment: Environment, max_steps: int = 3000) -> Report:
    """Check a plugin against the contract.

    Args:
        environment: The plugin, with the options it is to be checked with.
        max_steps: Vector steps a check may take to see an episode end.

    Returns:
        One row per check; nothing a plugin raises gets out.
    """
    try:
        subject = str(environment.env_id)
    except Exception:
        subject = type(environment).__name__
    return Report(subject, tuple(_run(name, check, environment, max_steps) for name, check in _CHECKS.items()))


def _run(name: str, check: Callable[[Environment, int], str], environment: Environment, max_steps: int) -> Row:
    try:
        return Row(name, "pass", check(environment, max_steps))
    except play.Skip as reason:
        return Row(name, "skipped", str(reason))
    except play.Broken as problem:
        return Row(name, "failed", str(problem))
    except Exception as error:
        return Row(name, "failed", f"raised {type(error).__name__}: {error}")


_CHECKS: dict[str, Callable[[Environment, int], str]] = {
    "identity": ask.check_identity,
    "brief": ask.check_brief,
    "spaces": play.check_spaces,
    "autoreset": play.check_autoreset,
    "seeding": play.check_seeding,
    "determinism": play.check_determinism,
    "independence": play.check_independence,
    "describe": ask.check_describe,
    "actions": ask.check_actions,
    "features": ask.check_features,
    "segment_kind": ask.check_segment_kind,
    "close": play.check_close,
    "snapshot": play.check_snapshot,
    "expert": ask.check_expert,
    "reference_returns": ask.check_reference_returns,
    "render": ask.check_render,
    "policies": ask.check_policies,
}
