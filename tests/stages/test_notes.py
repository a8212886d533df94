"""What stops nothing is told once in a run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ultra_agents.events import Warned
from ultra_agents.stages.context import RunContext


def test_of_each_kind_the_first_is_told() -> None:
    told: list[Any] = []
    names = ("folder", "config", "stop", "environment", "algorithm", "refining", "streams")
    parts: dict[str, Any] = dict.fromkeys(names)
    context = RunContext(**parts | {"emit": told.append, "config": SimpleNamespace()})
    for kind, text in (("a", "one"), ("a", "two"), ("b", "three"), ("a", "one")):
        context.note(kind, text)
    assert told == [Warned("one"), Warned("three")]
