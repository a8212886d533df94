"""Each promise about quantities and their legend, broken once: the environment kit says which, and what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from ultra_agents.contracts import Quantity
from ultra_agents.testing._described import check_described, said
from ultra_agents.testing._report import Broken
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.testing.environment_kit import check_environment


class Renamed(Corridor):
    """Quantities, or their legend, changed by `change`."""

    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return found

    def quantities(self, observations: Any) -> Any:
        return self.change(dict(super().quantities(observations)), observations)


class QuantitiesFailAtTheEdge(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        assert (np.abs(observations) < 1).all(), "outside the corridor"
        return found


class QuantitiesFailOnNaN(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return found if not np.isnan(observations).any() else {"cell": np.rint(observations[:, 0]).astype(np.int64)}


class QuantitiesFailOnNothing(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return found | {"cell": found["cell"] + 0 * observations[0, 0]}


class QuantityForgotten(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return {"cell": found["cell"]}


class QuantitiesInAnotherOrder(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return dict(reversed(found.items()))


class QuantitiesAsColumns(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return {name: values[:, None] for name, values in found.items()}


class QuantitiesAsLists(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return {name: values.tolist() for name, values in found.items()}


class QuantitiesInSingles(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return {name: values.astype(np.float32) for name, values in found.items()}


class InfiniteQuantity(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        with np.errstate(divide="ignore"):
            return found | {"to_right_end": 1 / found["to_right_end"]}


class InfiniteOnNaN(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return {name: np.where(np.isnan(values), np.inf, values) for name, values in found.items()}


class QuantitiesOfTheBatch(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return found | {"cell": found["cell"] - found["cell"][:1]}


class QuantitiesByChance(Renamed):
    rng = np.random.default_rng(0)

    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return found | {"cell": found["cell"] + self.rng.normal(size=len(observations))}


class QuantitiesChangeTheObservation(Corridor):
    def quantities(self, observations: Any) -> Any:
        observations *= -1
        return super().quantities(observations)


class NothingHasAValue(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return {name: np.full(len(observations), np.nan) for name in found}


class Relabelled(Renamed):
    """`cell` has another name or another entry in the legend."""

    name = "cell"
    entry: ClassVar[dict[str, Any]] = {}

    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return {self.name if name == "cell" else name: values for name, values in found.items()}

    @property
    def legend(self) -> Any:
        told = dict(super().legend)
        cell = replace(told.pop("cell"), **self.entry)
        return {self.name: cell, **told}


class NameOfTwoWords(Relabelled):
    name = "the cell"


class NameOfTheLanguage(Relabelled):
    name = "own"


class LegendWithoutMeaning(Relabelled):
    entry: ClassVar[dict[str, Any]] = {"meaning": " "}


class LegendWithoutUnit(Relabelled):
    entry: ClassVar[dict[str, Any]] = {"unit": ""}


class LegendWithControls(Relabelled):
    entry: ClassVar[dict[str, Any]] = {"meaning": "cell\x1b[31m"}


class LegendAtLength(Relabelled):
    entry: ClassVar[dict[str, Any]] = {"meaning": "cell " * 60}


class LegendWithoutSign(Relabelled):
    entry: ClassVar[dict[str, Any]] = {"sign": "", "low": -1}


class LegendUpsideDown(Relabelled):
    entry: ClassVar[dict[str, Any]] = {"low": 9, "high": 0}


class LegendWithoutEnd(Relabelled):
    entry: ClassVar[dict[str, Any]] = {"high": np.inf}


class LegendInAnotherUnit(Relabelled):
    entry: ClassVar[dict[str, Any]] = {"low": 0, "high": 0.08}


class LegendOfText(Corridor):
    @property
    def legend(self) -> Any:
        return dict.fromkeys(super().legend, "cells")


class DescribesOneCellOff(Corridor):
    def describe(self, observation: Any, info: Any) -> str:
        return str(super().describe(observation + 2 / (self.options.length - 1), info))


class DescribesWhatHasNoValue(Renamed):
    def change(self, found: dict[str, Any], observations: Any) -> dict[str, Any]:
        return found | {"cell": np.where(found["cell"] > 3, found["cell"], np.nan)}


class LegendOfNothing(Corridor):
    legend: ClassVar[dict[str, Any]] = {}  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (QuantitiesFailAtTheEdge, "outside the corridor"),
        (QuantitiesFailOnNaN, "quantities are ['cell']"),
        (QuantitiesFailOnNothing, "IndexError"),
        (QuantityForgotten, "the legend has ['cell', 'to_right_end']"),
        (QuantitiesInAnotherOrder, "quantities are ['to_right_end', 'cell']"),
        (QuantitiesAsColumns, "cell has shape"),
        (QuantitiesAsLists, "cell is list, not an array"),
        (QuantitiesInSingles, "cell is float32, not float64"),
        (InfiniteQuantity, "to_right_end is infinite"),
        (InfiniteOnNaN, "of an observation of nan are infinite"),
        (QuantitiesOfTheBatch, "depend on the others in the batch"),
        (QuantitiesByChance, "other quantities the second time"),
        (QuantitiesChangeTheObservation, "changes the observations"),
        (NothingHasAValue, "not a single quantity has a value"),
        (NameOfTwoWords, "'the cell', which cannot be written in a rule"),
        (NameOfTheLanguage, "'own', which cannot be written in a rule"),
        (LegendWithoutMeaning, "meaning is empty"),
        (LegendWithoutUnit, "unit is empty"),
        (LegendWithControls, "control characters"),
        (LegendAtLength, "300 characters"),
        (LegendWithoutSign, "what the sign means"),
        (LegendUpsideDown, "range of 9 to 0"),
        (LegendWithoutEnd, "range of 0 to inf"),
        (LegendInAnotherUnit, "usually 0 to 0.08 in the legend"),
        (LegendOfText, "is str, not a Quantity"),
        (DescribesOneCellOff, "where the quantity cell is"),
        (DescribesWhatHasNoValue, "where the quantity cell is nan"),
        (LegendOfNothing, "legend is empty"),
    ],
)
def test_each_promise_can_be_broken(cls: type[Corridor], says: str) -> None:
    report = check_environment(cls(CorridorOptions()))
    row = next(row for row in report.rows if row.check == "quantities")
    assert row.status == "failed"
    assert says in row.detail
    assert row.do
    assert [other.check for other in report.rows if other.status == "failed"] == ["quantities"]


def test_the_corridor_keeps_them() -> None:
    row = next(row for row in check_environment(Renamed(CorridorOptions())).rows if row.check == "quantities")
    assert (row.status, row.detail) == ("pass", "cell, to_right_end; describe() says 1 of them in numbers")


@pytest.mark.parametrize(
    ("text", "names", "numbers"),
    [
        ("I am in cell 4: 4 steps from the end.", ["cell"], [("cell", 4, 0.5, "")]),
        ("at (position -0.57), rolling left at 0.003", ["position", "velocity"], [("position", -0.57, 0.005, "")]),
        ("Cart Position 0.092, Pole Angle -0.1", ["cart_position", "pole_angle"],
         [("cart_position", 0.092, 0.0005, ""), ("pole_angle", -0.1, 0.05, "")]),
        ("back_hip -4° (-7°/s), elbow at 6° turning", ["hip", "back_hip", "elbow"],
         [("back_hip", -4, 0.5, "°"), ("elbow", 6, 0.5, "°")]),
        ("leaning 5° back, height of 3.5 m, arm: 12 cm", ["lean", "height", "arm"],
         [("height", 3.5, 0.05, "")]),
        ("Pole Angle 5.05e-05, x", ["pole_angle"], [("pole_angle", 5.05e-05, 5e-8, "")]),
        ("speed = 12 cm", ["speed"], [("speed", 12, 0.5, "cm")]),
    ],
)  # fmt: skip
def test_numbers_beside_names_are_found_in_words(text: str, names: list[str], numbers: list[Any]) -> None:
    assert [(one.name, one.value, pytest.approx(one.error), one.unit) for one in said(text, names)] == numbers


def test_units_of_words_are_turned_into_those_of_the_legend() -> None:
    legend = {"hip": Quantity("rad", "angle", "forward", -4, 4)}
    found = {"hip": np.array([np.pi / 2, -np.pi + 0.001])}
    assert check_described(["hip 90°", "hip at 180°"], found, legend) == 1
    with pytest.raises(Broken, match="says 'hip 91°' where the quantity hip is 90 °"):
        check_described(["hip 91°", ""], found, legend)
    with pytest.raises(Broken, match=r"says 'hip 90' where the quantity hip is 1\.57"):
        check_described(["hip 90", ""], found, legend)
