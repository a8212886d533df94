"""The table of the second machine in `docs/results.md` is what its cells, committed beside it, say."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from ultra_agents.evaluation.statistics import t_interval
from ultra_agents.evaluation.wording import digits_for, interval

DOCS = Path(__file__).parents[2] / "docs"
ROWS = list(csv.DictReader((DOCS / "data" / "second_machine.csv").read_text(encoding="utf-8").splitlines()))
SECTION = (DOCS / "results.md").read_text(encoding="utf-8").split("### On another processor")[1].split("\n#")[0]
NAMED = {
    "Pong": ("pong", "recorded-rules"),
    "the same, learnt only": ("pong", "recorded-imitated"),
    "MountainCar": ("mountain-car", "recorded-rules"),
    "CartPole (ten seeds)": ("cartpole", "recorded-rules"),
    "Acrobot (ten seeds)": ("acrobot", "recorded-rules"),
    "LunarLander": ("lunar-lander", "recorded-rules"),
    "DoorKey": ("doorkey", "recorded-rules"),
    "HalfCheetah, sparse": ("half-cheetah-sparse", "recorded-rules"),
    "Hopper": ("hopper", "recorded-rules"),
}


def difference(task: str, method: str, column: str) -> dict[str, float | None]:
    """Paired by seed with `continue`, whose network is alone in either case."""
    of = {(row["task"], row["method"], row["seed"]): row for row in ROWS}
    mine = {seed: row for (its, name, seed), row in of.items() if (its, name) == (task, method)}
    apart = [
        float(row[column] or row["last"]) - float(of[task, "continue", seed]["last"]) for seed, row in mine.items()
    ]
    found = t_interval(apart)
    return {"value": found.value, "low": found.low, "high": found.high}


@pytest.mark.parametrize("name", NAMED)
def test_the_table_of_the_second_machine_is_what_its_cells_say(name: str) -> None:
    line = next(line for line in SECTION.splitlines() if line.startswith(f"| {name} |"))
    cell = line.split("|")[3].replace("*", "")
    said = dict(zip(("with_rules", "last"), re.split("; alone ", cell.strip()), strict=False))
    for column, text in said.items():
        found = difference(*NAMED[name], column)
        assert any(text == interval(found, digits) for digits in (digits_for([found]), 0, 1)), (column, found)
