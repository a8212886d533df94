"""Made-up results of cells."""

from __future__ import annotations

from typing import Any

from ultra_agents.experiments.cells import CellResult
from ultra_agents.records import CurvePoint, MethodResult, Returns

LAST = {"continue": [1.0, 2.0, 3.0], "ultra-ra": [4.0, 5.5, 6.0]}


def returns(value: float) -> Returns:
    return Returns((value - 1, value + 1), (2, 2), (7, 8))


def made(cell: Any, worth: dict[str, Any] | None = None) -> CellResult:
    last = LAST[cell.method][cell.seed]
    curve = tuple(CurvePoint(steps, last * steps / 100) for steps in (0, 50, 100))
    steps = {"test": 24, "refine": 1000} if worth else {"refine": 1024}
    return CellResult(
        cell, MethodResult(cell.method, returns(0.0), returns(last), returns(last + 1), 50, steps, curve), worth
    )
