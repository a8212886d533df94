"""A comparison in pieces: which cells a choice names, what they wait for, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.errors import ConfigError
from ultra_agents.experiments import load_experiment
from ultra_agents.experiments.cells import CellResult
from ultra_agents.experiments.choice import Choice, controls_missing, forecast, part_of
from ultra_agents.experiments.drive import drive
from ultra_agents.experiments.engines import LocalEngine
from ultra_agents.experiments.spec import Cell, cells_of
from ultra_agents.records import MethodResult, Returns

from .conftest import TASK

METHODS = ["continue", "ultra-ra", "ultra-a"]


def chosen(cells: list[Cell], choice: Choice, *finished: str) -> dict[str, tuple[str, ...]]:
    return {cell.name: cell.waits_for for cell in part_of(cells, choice, finished)}


def test_cells_are_chosen_by_task_method_and_seed(small: Any) -> None:
    _, cells, _ = small(tasks={"a": TASK, "b": TASK}, methods=METHODS)
    assert list(chosen(cells, Choice(tasks=("b",), methods=("continue",)))) == ["b-continue-0", "b-continue-1"]
    assert list(chosen(cells, Choice(seeds=(1,), methods=("ultra-a", "continue")))) == [
        "a-continue-1", "a-ultra-a-1", "b-continue-1", "b-ultra-a-1",
    ]  # fmt: skip
    assert part_of(cells, Choice(), ()) == cells
    assert not Choice()


def test_chosen_cells_wait_for_nothing_that_will_not_be_there(small: Any) -> None:
    _, cells, _ = small(seeds=1, methods=METHODS)
    leader, follower = "corridor-ultra-ra-0", "corridor-ultra-a-0"
    assert chosen(cells, Choice()) == {
        "corridor-continue-0": (), leader: ("corridor-continue-0",), follower: ("corridor-continue-0", leader),
    }  # fmt: skip
    assert chosen(cells, Choice(methods=("ultra-a",))) == {follower: ()}
    assert chosen(cells, Choice(methods=("ultra-a", "ultra-ra"))) == {leader: (), follower: (leader,)}
    # what is finished is taken over, and shown beside the rest
    assert chosen(cells, Choice(methods=("ultra-a",)), leader) == {
        leader: ("corridor-continue-0",),
        follower: (leader,),
    }


def test_finished_cells_of_other_tasks_are_not_part_of_it(small: Any) -> None:
    _, cells, _ = small(seeds=1, tasks={"a": TASK, "b": TASK})
    assert list(chosen(cells, Choice(tasks=("a",), methods=("ultra-ra",)), "a-continue-0", "b-continue-0")) == [
        "a-continue-0", "a-ultra-ra-0",
    ]  # fmt: skip


def test_the_control_is_named_where_it_is_missing(small: Any) -> None:
    experiment, cells, _ = small()
    only = Choice(methods=("ultra-ra",))
    assert controls_missing(experiment, cells, part_of(cells, only, ("corridor-continue-1",))) == [
        "corridor-continue-0"
    ]
    assert controls_missing(experiment, cells, part_of(cells, Choice(seeds=(1,)), ())) == []


@pytest.mark.parametrize(
    ("choice", "says", "expected"),
    [
        (Choice(tasks=("corridr",)), "no task 'corridr'", "some of: corridor, b"),
        (Choice(methods=("rice", "jsrl")), "no method 'rice', 'jsrl'", "some of: continue, ultra-ra"),
        (Choice(seeds=(0, 7)), "no seed '7'", "some of: 0, 1, 5"),
        (Choice(tasks=("b",), seeds=(0,)), "no cell that is all of this together", "b with seeds 5 and continue"),
        (Choice(tasks=("b",), methods=("ultra-ra",)), "no cell that is all of this", "b with seeds 5 and continue"),
    ],
)
def test_what_the_file_does_not_have_is_one_message(
    choice: Choice, says: str, expected: str, write: Callable[..., Path]
) -> None:
    other = {**TASK, "seeds": [5], "without": ["ultra-ra"]}
    experiment = load_experiment(write(tasks={"corridor": TASK, "b": other}))
    with pytest.raises(ConfigError) as caught:
        choice.check(experiment)
    assert says in caught.value.problem
    assert caught.value.expected == expected
    assert caught.value.exit_code == 2


def test_only_what_is_chosen_is_asked_what_its_environment_offers(write: Callable[..., Path], tmp_path: Path) -> None:
    lacking = {"environment": {"name": "gymnasium:CartPole-v1"}, "policy": {"train_steps": 256}}
    experiment = load_experiment(write(methods=["continue", "oracle"], tasks={"cart": lacking, "ok": TASK}))
    assert len(cells_of(experiment, tmp_path, runs=Choice(tasks=("ok",)).includes)) == 8
    assert len(cells_of(experiment, tmp_path, runs=Choice(methods=("continue",)).includes)) == 8
    with pytest.raises(ConfigError, match="asks environments"):
        cells_of(experiment, tmp_path, runs=Choice(tasks=("cart",), seeds=(1,)).includes)


def test_what_is_to_do_is_told_with_the_time_it_takes(small: Any) -> None:
    _, cells, _ = small(tasks={"a": TASK, "b": TASK})
    none = Returns((), (), ())
    method = MethodResult("continue", none, none, none, 0, {}, (), {}, 0.0)
    done = {"a-continue-0": CellResult(cells[0], method, None, seconds=60.0)}
    assert forecast(cells, done, 1) == (
        "7 cells to do (a 3, b 4), at least 3 min, nothing of b (4 cells) being timed yet"
    )
    assert forecast(cells[:4], done, 2) == "3 cells to do (a 3), about 2 min"
    assert forecast(cells[:1], done, 2) == "nothing to do: every cell is finished"


def test_a_piece_ends_with_the_numbers_of_the_whole(small: Any) -> None:
    _, cells, root = small(seeds=1, methods=["continue", "ultra-ra", "ultra-a"])
    only = part_of(cells, Choice(methods=("ultra-a",)), ())
    pieces, lost = drive(only, root, LocalEngine(1), lambda: False, lambda _: None)
    whole = [replace(cell, config=_elsewhere(cell, root)) for cell in cells]
    together, also = drive(whole, root.parent / "whole", LocalEngine(2), lambda: False, lambda _: None)
    assert (list(pieces), lost, len(together), also) == (["corridor-ultra-a-0"], {}, 3, {})
    one, other = pieces["corridor-ultra-a-0"], together["corridor-ultra-a-0"]
    assert one.method.last == other.method.last
    assert one.method.env_steps == other.method.env_steps
    assert one.seconds is not None
    assert one.seconds > 0


def _elsewhere(cell: Cell, root: Path) -> Any:
    gateway = cell.config.gateway.model_copy(update={"cache": root.parent / "whole" / "answers.sqlite"})
    return cell.config.model_copy(update={"gateway": gateway})
