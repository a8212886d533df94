"""What the screen of a comparison knows: cells, choices, curves over seeds, time left, logs read as they grow."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ui.compare.sample_comparison import comparison
from ultra_agents.events import AgentSpoke, Evaluated, Event, RunFinished, RunStarted, StageStarted, StateShown
from ultra_agents.ui.compare.cell_table import CellStatus
from ultra_agents.ui.compare.logs import CellLogs
from ultra_agents.ui.compare.state import (
    CellProgress,
    ComparisonState,
    followed,
    method_curves,
    moved,
    next_running,
    other_task,
    start_of,
)
from ultra_agents.ui.compare.time_left import TimeLeft, time_left
from ultra_agents.ui.run_state import RunState, reduce


def cell(method: str, seed: int, curve: dict[int, float], status: str = "running", task: str = "a") -> CellProgress:
    state = RunState()
    for step, value in curve.items():
        state = reduce(state, Evaluated(method, step, "curve", (value, value)), 0.0)
    return CellProgress(CellStatus(task, method, seed, status), state)


def test_a_curve_is_the_mean_over_seeds_as_far_as_all_have_come() -> None:
    cells = [cell("m", 0, {0: 1.0, 10: 3.0, 20: 9.0}), cell("m", 1, {0: 1.0, 10: 5.0}), cell("m", 2, {}, "waiting")]
    found = method_curves(cells, "a")["m"]
    assert [(step, mean) for step, mean, _ in found.complete] == [(0, 1.0), (10, 4.0)]
    assert math.isnan(found.complete[1][2]), "two seeds are no interval"
    three = method_curves([*cells[:2], cell("m", 2, {0: 1.0, 10: 4.0})], "a")["m"]
    assert three.complete[1][2] == pytest.approx(4.30 / math.sqrt(3)), "Student's t for three seeds"
    assert [(step, mean) for step, mean, _ in found.partial] == [(20, 9.0)]
    assert (found.seeds, found.score) == (2, 4.0)
    assert method_curves(cells, "b") == {}


def test_seeds_that_were_scored_at_other_steps_are_averaged_between_their_points() -> None:
    cells = [cell("m", 0, {0: 0.0, 10: 10.0, 20: 20.0}), cell("m", 1, {4: 0.0, 14: 20.0})]
    found = method_curves(cells, "a")["m"]
    assert [(step, pytest.approx(mean)) for step, mean, _ in found.complete] == [(4, 2.0), (10, 11.0), (14, 17.0)]
    assert [(step, mean) for step, mean, _ in found.partial] == [(20, 20.0)]


def test_the_starting_policy_alone_is_no_curve() -> None:
    one = cell("none", 0, {0: 1.0})
    last = reduce(one.state, Evaluated("none", 0, "last", (2.0, 4.0)), 0.0)
    last = reduce(last, Evaluated("none", 0, "before", (5.0, 7.0)), 0.0)
    cells = [replace(one, state=last)]
    found = method_curves(cells, "a")["none"]
    assert (found.complete, found.partial, found.score) == ((), (), 3.0)
    assert [end.mean for end in last.ends] == [3.0]
    ruled = [replace(one, state=reduce(last, Evaluated("none", 0, "with rules", (8.0, 8.0)), 0.0))]
    assert method_curves(ruled, "a")["none"].score == 8.0, "its rules in force are what acts"
    assert start_of(cells, "a") == 6.0
    assert start_of(cells, "b") is None


def test_arrows_choose_among_methods_and_seeds_and_stop_at_the_edges() -> None:
    start, _ = comparison()
    what = lambda one: (one.cell.reported.task, one.cell.reported.method, one.cell.reported.seed)  # noqa: E731
    assert what(start) == ("pong", "ultra-ra", 2)
    assert what(moved(start, rows=1)) == ("pong", "rice", 2)
    assert what(moved(start, rows=2)) == ("hopper", "none", 2)
    assert what(moved(start, rows=99)) == ("hopper", "rice", 2)
    assert what(moved(start, seeds=-1)) == ("pong", "ultra-ra", 1)
    assert what(moved(start, seeds=9)) == ("pong", "ultra-ra", 2)
    assert not moved(start, rows=1).follow
    assert what(other_task(start, 1)) == ("hopper", "ultra-ra", 2)
    assert what(other_task(other_task(start, 1), 1)) == ("pong", "ultra-ra", 2)
    assert what(next_running(start)) == ("pong", "rice", 0)
    assert what(next_running(next_running(start))) == ("pong", "ultra-ra", 2)


def test_the_work_is_followed_until_somebody_chooses() -> None:
    start, _ = comparison()
    assert followed(start) is start
    first = replace(start, selected=0)
    assert followed(first).selected == 8
    assert followed(replace(first, follow=False)).selected == 0


def timed(task: str, method: str, seed: int, seconds: float | None = None) -> CellStatus:
    return CellStatus(task, method, seed, "waiting" if seconds is None else "finished", seconds=seconds)


def test_time_left_goes_by_the_finished_cells_of_the_same_task() -> None:
    cells = [timed("a", "m", 0, 10.0), timed("a", "m", 1, 14.0), timed("a", "n", 0, 60.0), timed("a", "m", 2)]
    assert time_left(cells) == TimeLeft(12.0, {}), "the method's own cells first"
    other = [*cells, timed("a", "x", 0), timed("a", "x", 1)]
    assert time_left(other).seconds == pytest.approx(12.0 + 2 * 28.0), "a method without any takes the task's mean"
    assert time_left(other, workers=2).seconds == pytest.approx(34.0)
    assert time_left(other, workers=9).seconds == pytest.approx(28.0), "no sooner than the longest one"
    assert str(time_left(cells)) == time_left(cells).told == "about 15 s"


def test_cells_of_a_task_that_nobody_has_timed_are_said_to_be_left_out() -> None:
    cells = [timed("a", "m", 0, 120.0), timed("a", "m", 1), timed("b", "m", 0), timed("b", "m", 1)]
    found = time_left(cells)
    assert found == TimeLeft(120.0, {"b": 2})
    assert (str(found), found.told) == ("at least 2 min", "at least 2 min, nothing of b (2 cells) being timed yet")
    nothing = time_left(cells[2:])
    assert (str(nothing), nothing.told) == ("", "nothing of b (2 cells) being timed yet")
    assert time_left(cells[:1]) == TimeLeft(None, {}), "all have ended"


def test_a_running_cell_counts_with_what_is_left_of_it() -> None:
    cells = [timed("a", "m", 0, 100.0), replace(timed("a", "m", 1), status="running")]
    assert time_left(cells, 1, {("a", "m", 1): (30.0, 500.0)}).seconds == pytest.approx(70.0)
    assert time_left(cells, 1, {("a", "m", 1): (130.0, 20.0)}).seconds == 0.0
    assert time_left(cells[1:], 1, {("a", "m", 1): (30.0, 500.0)}).seconds == 500.0, "what it expects itself"
    assert time_left(cells[1:], 1, {("a", "m", 1): (1.0, None)}) == TimeLeft(None, {"a": 1})


def test_the_time_left_stands_still_in_a_pause_and_ends_with_the_cells() -> None:
    done = CellProgress(timed("a", "m", 0, 50.0))
    begun = reduce(RunState(), RunStarted("m", "", "0", False, (("explain", 0.5), ("refine m", 0.5))), 100.0)
    running = CellProgress(replace(timed("a", "m", 1), status="running"), begun)
    one = ComparisonState("x", "", (done, running, CellProgress(timed("a", "m", 2))), started=100.0)
    assert one.left(120.0) == TimeLeft(80.0, {})
    assert replace(one, paused=120.0).left(500.0) == TimeLeft(80.0, {})
    assert replace(one, ended=130.0).left(140.0) is None


def row(event: Event, when: float) -> str:
    return json.dumps({**event.to_json(), "time": when}) + "\n"


def test_logs_are_read_as_they_grow_little_of_all_everything_of_one(tmp_path: Path) -> None:
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    begun = RunStarted("one", "", "0", False, (("explain", 0.5), ("refine m", 0.5)))
    said = AgentSpoke("critic", "0:1", "model", "words", False, 1, 1, 0.1, "ok")
    shown = StateShown("0:1", 3, "UP")
    paths[0].write_text(
        row(begun, 5.0) + row(StageStarted("explain", "Explain"), 6.0) + row(said, 7.0) + row(shown, 8.0)
    )
    logs = CellLogs(paths)
    states = [CellStatus("a", "m", 0, "running"), CellStatus("a", "m", 1, "waiting")]
    first = logs.cells(states, "a")
    assert first[0].state.current is not None
    assert first[0].state.current.name == "explain"
    assert first[0].state.messages == first[0].state.shown == ()
    live = logs.run_state(0, "running")
    assert (live.messages, live.shown) == ((said,), (shown,))
    again = logs.cells(states, "a")
    assert again[0] is first[0]
    assert logs.run_state(0, "running") is live

    with paths[0].open("a") as file:
        file.write(row(Evaluated("m", 10, "curve", (1.0, 2.0)), 9.0))
    ended = [replace(states[0], status="stopped"), states[1]]
    after = logs.cells(ended, "a")
    assert after[0].state.curves["m"][0][:2] == (10, 1.5)
    assert after[0].state.current is None, "a cell that was stopped does not go on"
    assert after[0].state.ended == 9.0
    assert logs.run_state(1, "waiting") == RunState()
    assert logs.run_state(0, "stopped").messages == (said,)


def test_a_cell_of_another_task_is_read_when_its_task_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(row(Evaluated("m", 0, "last", (1.0,)), 1.0) + row(RunFinished("finished", 1.0, ""), 2.0))
    logs = CellLogs([path])
    state = [CellStatus("b", "m", 0, "finished", "1")]
    assert logs.cells(state, "a")[0].state.scores == {}
    assert logs.cells(state, "b")[0].state.scores["m"]["last"].mean == 1.0
