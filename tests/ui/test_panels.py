"""What panels do with the room they have: nothing with room elsewhere is cut, nothing stays empty."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import RenderableType

from tests.ui import sample_run
from tests.ui.drawing import drawn
from ultra_agents.events import AdviceDecided, AgentSpoke, Event, RulesDecided, RulesShown, RunStarted, StateShown
from ultra_agents.ui.panels.advice import advice
from ultra_agents.ui.panels.budget import budget
from ultra_agents.ui.panels.conversation import conversation
from ultra_agents.ui.panels.environment import environment
from ultra_agents.ui.panels.learning_curve import learning_curve
from ultra_agents.ui.run_state import RunState, StageState, reduce
from ultra_agents.ui.screen import regions


def inside(what: RenderableType, width: int, height: int) -> list[str]:
    """The lines of a panel without its frame."""
    return [line.strip("│╭╮╰╯─ ") for line in drawn(what, width, height).splitlines()]


def after(*events: Event) -> RunState:
    state = RunState()
    for event in events:
        state = reduce(state, event, 1.0)
    return state


def stages(*names: str) -> RunState:
    return after(RunStarted("x", "runs/x", "0", False, tuple((name, 0.1) for name in names)))


@pytest.mark.parametrize("panel", [advice, conversation, environment, learning_curve])
def test_what_an_empty_panel_says_is_wrapped(panel) -> None:
    lines = inside(panel(RunState(), 0.0, 24, 8), 24, 8)
    assert "…" not in "".join(lines)
    assert len([line for line in lines[1:] if line]) > 1


def test_an_interval_is_worth_more_than_a_piece_of_the_reason() -> None:
    state = after(AdviceDecided("0:0-9", 4, "UP", 3, "accept", "gain is positive", 0.5, 0.25, 0.75, 4))
    assert inside(advice(state, 0.0, 44, 4), 44, 4)[1] == "✔ 0:4  UP ×3  +0.50 [+0.25, +0.75]"
    assert inside(advice(state, 0.0, 60, 4), 60, 4)[1].endswith("[+0.25, +0.75]  gain is positive")
    assert inside(advice(state, 0.0, 37, 4), 37, 4)[1].startswith("✔ 0:4  UP ×3  +0.50  gain is")


def test_rules_are_told_in_full_where_they_have_room() -> None:
    rules = ("when pump >= 0: apply_1_torque_to_the_joint",)
    state = after(
        RulesDecided("0:rules", 1, 1, "accept", "", 9.0, 1.0, 17.0, 1),
        RulesShown("replay", 2, rules, "accepted", 9.0, 1.0, 17.0, 1),
    )
    panel = inside(advice(state, 0.0, 44, 12), 44, 12)
    assert panel[1].startswith("→ 0:#1  1 rule  +9.00"), "its writers let it pass: nothing was accepted yet"
    assert "1 put forward" in panel[-1]
    lines = [line for line in panel[2:-1] if line]
    verdict = "accepted: +9.00 [+1.00, +17.0] per episode in 1 pair, 1 rule by replay"
    assert " ".join(lines) == f"{verdict} {rules[0]}"
    assert [line[-1] for line in inside(advice(state, 0.0, 44, 5), 44, 5)[2:4]] == ["…", "…"], "a line each"


def test_the_newest_reply_takes_the_rows_that_are_left() -> None:
    text = " ".join(f"word{index}" for index in range(200))
    said = [AgentSpoke("critic", f"{index}:0-9", "m", text, False, 1, 1, 1.0, "ok") for index in range(3)]
    lines = inside(conversation(after(*said), 0.0, 60, 18), 60, 18)
    assert lines[1].startswith("▌critic m  1:0-9"), "both have four lines at least"
    assert all(lines[1:-1][:5]), "and one line between them"
    assert all(lines[7:-1]), "the newest goes on to the end of the panel"


def test_what_is_tried_is_told_once() -> None:
    shown = StateShown("0:0-60", 24, "DOWN", *sample_run.court(3))
    plan = "DOWN then UP then STAY"
    decided = AdviceDecided("0:0-60", 24, plan, 4, "accept", "", 0.61, 0.2, 1.01, 4)
    lines = inside(environment(after(decided, shown), 0.0, 38, 18), 38, 18)
    told = ["episode 0  step 24  took ↓ DOWN", f"try  {plan} ×4", "✔ accepted  +0.61", "[+0.20, +1.01] 4 pairs"]
    assert lines[-5:-1] == told


def test_how_much_was_cached_is_told_in_a_word_where_there_is_no_room_for_two() -> None:
    state, now = sample_run.state()
    assert inside(budget(state, now, 60, 6), 60, 6)[1].endswith("+ 3, 8% from the cache")
    assert inside(budget(state, now, 36, 6), 36, 6)[1].endswith("+ 3 cached")


@pytest.mark.parametrize(("width", "height"), [(140, 44), (120, 36), (80, 24)])
def test_only_runs_whose_advice_is_about_states_have_a_place_for_them(width: int, height: int) -> None:
    def names(state: RunState) -> set[str]:
        return {one.name for one in regions(width, height, state)}

    assert "environment" in names(stages("explain", "refine ultra-ra"))
    assert "environment" not in names(stages("rules", "refine ultra-ra"))
    assert "environment" not in names(stages("refine continue"))
    assert "learning_curve" in names(stages("rules", "refine ultra-ra"))


def test_before_there_are_curves_the_states_take_their_place() -> None:
    state = stages("explain", "refine ultra-ra")
    assert [one.width for one in regions(140, 44, state) if one.name == "environment"] == [87]
    learning = replace(state, training={"ultra-ra": ((0, 1.0),)})
    assert {one.name for one in regions(140, 44, learning)} >= {"environment", "learning_curve"}


def test_a_stage_with_all_its_work_done_has_no_time_left() -> None:
    stage = StageState("explain", status="running", done=6, total=6, started=0.0)
    assert stage.left(10.0) is None
    assert replace(stage, done=3).left(10.0) == 10.0
