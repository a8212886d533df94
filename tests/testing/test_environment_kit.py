"""None"""

from __future__ import annotations

import gymnasium
import pytest

from tests.testing.broken_environments import BROKEN
from tests.testing.modified_corridor import Modified
from ultra_agents.contracts import Environment
from ultra_agents.registry import catalogue, create_environment, find
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.testing.environment_kit import check_environment

REGISTERED = [f"{row.distribution}:{row.name}" for row in catalogue() if row.kind == "environment"]


def shortened(name: str) -> dict[str, int]:
    """Options that end long episodes early: snapshots are checked to the end of one, from four places in it."""
    field = find("environment", name).load().Options.model_fields.get("max_steps")
    return {"max_steps": 120} if field is not None and isinstance(field.default, int) and field.default > 120 else {}


@pytest.mark.parametrize("name", REGISTERED)
def test_every_registered_environment_conforms(name: str) -> None:
    report = check_environment(create_environment(name, shortened(name)))
    assert report.ok, str(report)
    assert next(row for row in report.rows if row.check == "autoreset").status == "pass"


@pytest.mark.parametrize(
    ("name", "options"), [("pong", {"sticky": 0.25, "max_steps": 90}), ("corridor", {"slip": 0.3})]
)
def test_chance_changes_nothing(name: str, options: dict[str, float]) -> None:
    assert check_environment(create_environment(name, options)).ok


@pytest.mark.parametrize(("cls", "check", "says"), BROKEN)
def test_each_check_can_fail(cls: type[Corridor], check: str, says: str) -> None:
    # With slips the generator matters, and with ten steps the time limit does.
    report = check_environment(cls(CorridorOptions(slip=0.3, max_steps=10)), max_steps=200)
    row = next(row for row in report.rows if row.check == check)
    assert row.status == "failed", str(report)
    assert says in row.detail
    assert row.do, "a failure says what to do"
    assert f"do: {row.do}" in str(report)
    assert not report.ok
    assert f"failed  {check}" in str(report)


class Bare(Corridor):
    """Offers nothing that is optional."""


for _name in ("snapshot", "restore", "expert", "reference_returns", "render", "quantities"):
    setattr(Bare, _name, getattr(Environment, _name))


def test_what_is_not_offered_is_skipped() -> None:
    report = check_environment(Bare(CorridorOptions()))
    skipped = {row.check: row.do for row in report.rows if row.status == "skipped"}
    assert all(f"override {check}" in do for check, do in skipped.items())
    assert set(skipped) == {"snapshot", "expert", "reference_returns", "render", "policies", "quantities"}
    assert report.ok


def test_an_episode_too_long_to_end_is_skipped_not_passed() -> None:
    report = check_environment(Corridor(CorridorOptions(length=1001, max_steps=10_000)), max_steps=60)
    assert next(row for row in report.rows if row.check == "autoreset").status == "skipped"


def test_the_corridor_itself_is_what_the_fixtures_break() -> None:
    assert check_environment(Modified(CorridorOptions(slip=0.3, max_steps=10)), max_steps=200).ok
    assert isinstance(Corridor(CorridorOptions()).observation_space, gymnasium.spaces.Box)
