"""The kit for formats passes every registered one and finds each fault of a broken one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from ultra_agents.contracts import Foreign, Options, Outgoing, PolicyFormat, Request
from ultra_agents.errors import PolicyError
from ultra_agents.registry import catalogue, create_format
from ultra_agents.testing.format_kit import check_format


@pytest.mark.parametrize("name", [row.name for row in catalogue() if row.kind == "format"])
def test_registered_formats_conform(name: str) -> None:
    report = check_format(create_format(name))
    assert report.ok, str(report)


class Good(PolicyFormat):
    suffixes: ClassVar[tuple[str, ...]] = (".good",)

    def recognises(self, path: Path) -> bool:
        return False

    def read(self, request: Request) -> Foreign:
        raise PolicyError("no", found="rubbish")


class BadSuffix(Good):
    suffixes: ClassVar[tuple[str, ...]] = ("good",)


class Raises(Good):
    def recognises(self, path: Path) -> bool:
        return path.read_bytes()[0] == 0


class Words(Good):
    def recognises(self, path: Path) -> Any:
        return "perhaps"


class Takes(Good):
    def read(self, request: Request) -> Foreign:
        return Foreign()


class Dumb(Good):
    def read(self, request: Request) -> Foreign:
        raise PolicyError("no")


class Crashes(Good):
    def read(self, request: Request) -> Foreign:
        raise ValueError("oh")


class Writes(Good):
    def write(self, outgoing: Outgoing) -> list[Path]:
        return [outgoing.path]


@pytest.mark.parametrize(
    ("broken", "failed"),
    [
        (BadSuffix, "suffixes"), (Raises, "recognises"), (Words, "recognises"), (Takes, "refuses"), (Dumb, "refuses"),
        (Crashes, "refuses"),
    ],
)  # fmt: skip
def test_each_fault_is_found(broken: type[PolicyFormat], failed: str) -> None:
    assert [row.check for row in check_format(broken(Options())).failed] == [failed]


def test_writing_is_optional() -> None:
    rows = {row.check: row.status for row in check_format(Good(Options())).rows}
    assert rows["write"] == "skipped"
    assert check_format(Writes(Options())).ok
