"""Events to state: the pure reducer."""

from __future__ import annotations

import gc
import math
import tracemalloc
from dataclasses import FrozenInstanceError
from unittest.mock import ANY

import pytest

from ultra_agents.events import (
    AdviceDecided,
    AgentAsked,
    AgentSpoke,
    Dropped,
    Evaluated,
    Event,
    RunContinued,
    RunFinished,
    RunPaused,
    RunStarted,
    StageFinished,
    StageProgress,
    StageStarted,
    StateShown,
    StepsSpent,
    TrainingProgress,
    Warned,
)
from ultra_agents.ui import run_state
from ultra_agents.ui.run_state import RunState, reduce

STARTED = RunStarted("demo", "runs/demo", "abc", False, (("policy", 0.2), ("explain", 0.6), ("report", 0.2)))


def after(*events: tuple[float, Event], state: RunState | None = None) -> RunState:
    state = state or RunState()
    for now, event in events:
        state = reduce(state, event, now)
    return state


def spoke(cached: bool = False, text: str = "hello") -> AgentSpoke:
    return AgentSpoke("critic", "0:0-9", "m", text, cached, 100, 10, 2.0, "ok")


def test_a_run_that_ends_before_it_started_has_no_past() -> None:
    state = after((15_793, RunFinished("failed", 0.5, "no expert")))
    assert (state.status, state.elapsed(16_000)) == ("failed", 0.0)


def test_stages_wait_run_and_finish() -> None:
    state = after(
        (0, STARTED),
        (0, StageStarted("policy", "Read")),
        (2, StageFinished("policy", 2.0, "ppo")),
        (2, StageStarted("explain", "Ask", 4, "segments")),
        (6, StageProgress("explain", 1, 4, "first")),
    )
    policy, explain, report = state.stages
    assert [s.status for s in state.stages] == ["done", "running", "waiting"]
    assert (policy.seconds, policy.summary) == (2.0, "ppo")
    assert (explain.done, explain.total, explain.unit, explain.note) == (1, 4, "segments", "first")
    assert state.current == explain
    assert explain.left(6) == pytest.approx(12.0), "a quarter took 4 s"
    assert report.left(6) is None


def test_time_left_is_elapsed_over_share_done() -> None:
    state = after((100, STARTED), (100, StageStarted("policy", "")), (110, StageFinished("policy", 10.0, "")))
    assert state.elapsed(110) == 10
    assert state.left(110) == pytest.approx(40.0), "a fifth took 10 s"
    assert after((0, STARTED)).left(50) is None, "nothing is done yet"


def test_stages_kept_from_before_do_not_count_as_fast_work() -> None:
    state = after(
        (0, STARTED),
        (0, StageStarted("policy", "")),
        (0, StageFinished("policy", 0.0, "already done")),
        (0, StageStarted("explain", "", 2)),
        (6, StageProgress("explain", 1, 2)),
    )
    assert state.stages[0].status == "kept"
    assert state.left(6) == pytest.approx(6 * (0.8 - 0.3) / 0.3)


def test_a_stage_that_was_not_announced_is_added() -> None:
    assert after((0, STARTED), (0, StageStarted("extra", "More"))).stages[-1].name == "extra"


def test_training_moves_the_stage_of_its_method() -> None:
    started = RunStarted("demo", "r", "c", False, (("refine ultra-ra", 1.0),))
    state = after(
        (0, started),
        (0, StageStarted("refine ultra-ra", "")),
        (1, TrainingProgress("ultra-ra", 500, 1000, {"return_mean": -3.0})),
        (2, TrainingProgress("ultra-ra", 600, 1000, {"return_mean": math.nan})),
    )
    assert state.stages[0].fraction == 0.6
    assert state.steps == {"ultra-ra": (600, 1000)}
    assert state.training == {"ultra-ra": ((500, -3.0),)}


def test_evaluations_make_scores_and_curves() -> None:
    state = after(
        (0, Evaluated("none", 0, "before", (1.0, 3.0))),
        (0, Evaluated("x", 0, "curve", (1.0,))),
        (0, Evaluated("x", 50, "curve", (2.0,))),
        (0, Evaluated("x", 50, "curve", (5.0,))),
        (0, Evaluated("x", 90, "last", (4.0, 4.0, math.nan))),
        (0, Evaluated("y", 1, "last", (math.nan,))),
    )
    assert state.before is not None
    assert (state.before.mean, state.before.error, state.before.episodes) == (2.0, 1.0, 2)
    assert state.curves == {"x": ((0, 1.0, ANY), (50, 5.0, ANY))}, "a resumed run repeats a point"
    assert (state.scores["x"]["last"].mean, state.scores["x"]["last"].episodes) == (4.0, 2)
    assert "y" not in state.scores


def test_cached_answers_cost_nothing() -> None:
    usage = after((0, spoke()), (0, spoke(cached=True))).usage
    assert (usage.calls, usage.cached, usage.prompt_tokens, usage.completion_tokens, usage.seconds) == (
        1,
        1,
        100,
        10,
        2,
    )


def test_decisions_and_drops_are_counted() -> None:
    decided = AdviceDecided("0:0-9", 3, "UP", 2, "accept", "gain", 0.5)
    drop = Dropped("identify", "malformed reply", "0:0-9")
    state = after((0, decided), (0, decided), (0, drop), (0, Warned("careful")))
    assert state.decisions == {"accept": 2}
    assert state.drops == {"identify: malformed reply": 1}
    assert state.warnings == ("careful",)
    assert state.advice == (decided, decided)


def test_the_end_stops_the_clock_and_what_ran() -> None:
    state = after(
        (0, STARTED), (0, StageStarted("policy", "")), (9, RunFinished("interrupted", 9.0, "stopped", "report.html"))
    )
    assert state.elapsed(1000) == 9
    assert state.left(1000) is None
    assert (state.status, state.summary, state.report) == ("interrupted", "stopped", "report.html")
    assert state.stages[0].status == "stopped"


def test_a_state_is_never_changed() -> None:
    state = after((0, STARTED), (0, Evaluated("x", 0, "curve", (1.0,))))
    before = repr(state)
    for event in (spoke(), Dropped("a", "b", "c"), Evaluated("x", 5, "curve", (2.0,)), TrainingProgress("x", 1, 2)):
        reduce(state, event, 1)
    assert repr(state) == before
    with pytest.raises(FrozenInstanceError):
        state.name = "other"  # type: ignore[misc]


def test_memory_is_bounded_whatever_is_sent() -> None:
    state = RunState()
    for step in range(3000):
        for event in (
            spoke(text="x" * 10_000),
            AdviceDecided("0:0-9", step, "UP", 1, f"decision {step}", "y" * 10_000),
            Dropped("stage", f"reason {step}", "0:0-9"),
            Evaluated("x", step, "curve", (float(step),)),
            Evaluated(f"method {step}", 0, "last", (1.0,)),
            TrainingProgress("x", step, 3000, {"return_mean": 1.0}),
            StageStarted(f"stage {step}", ""),
            Warned("z" * 10_000),
        ):
            state = reduce(state, event, float(step))
    assert len(state.messages) == run_state.MESSAGES
    assert len(state.advice) == run_state.ADVICE
    assert len(state.warnings) == run_state.WARNINGS
    assert max(len(state.decisions), len(state.drops)) <= run_state.KEYS + 1
    assert sum(state.drops.values()) == 3000
    assert len(state.scores) <= run_state.KEYS
    assert len(state.stages) <= run_state.KEYS
    assert len(state.curves["x"]) <= run_state.POINTS
    assert state.curves["x"][-1][:2] == (2999, 2999.0)
    assert state.curves["x"][0][:2] == (0, 0.0)
    assert max(len(state.messages[0].text), len(state.advice[0].reason), len(state.warnings[0])) <= run_state.TEXT


def test_an_unknown_event_changes_nothing() -> None:
    state = RunState()
    assert reduce(state, Event(), 5) is state


def test_fifty_thousand_events_take_no_more_room_than_five_thousand() -> None:
    frame = "x" * 4000

    def feed(state: RunState, first: int, last: int) -> RunState:
        for number in range(first, last):
            segment = f"{number}:0-60"
            event: Event = (
                AgentAsked("advisor", segment, "m"),
                AgentSpoke("advisor", segment, "m", f"{number} " + "words " * 500, False, 9, 9, 0.1, "ok"),
                AdviceDecided(segment, number, f"UP {number}", 3, "accept", "because " * 50, 0.1, 0.0, 0.2, 8),
                StateShown(segment, number, "UP", 9, 9, f"{number}{frame}"),
                StepsSpent(f"purpose {number}", 10),
                Dropped("advise", f"reason {number}", segment, "detail " * 50),
                TrainingProgress(f"method {number % 3}", number, 50_000, {"return_mean": float(number)}),
                Evaluated(f"method {number % 3}", number, "curve", (float(number), 1.0)),
                StageProgress(f"stage {number}", 1, 2, "note " * 50),
                Warned(f"warning {number}"),
            )[number % 10]
            state = reduce(state, event, float(number))
        return state

    tracemalloc.start()
    try:
        state = feed(RunState(), 0, 10_000)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        state = feed(state, 10_000, 50_000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert state.usage.calls == 5000
    assert after - before < 200_000, f"{before:,} bytes grew to {after:,}"
    assert after < 3_000_000


def test_a_pause_stops_every_clock() -> None:
    state = after(
        (0, STARTED),
        (0, StageStarted("policy", "Read", 100)),
        (10, StageProgress("policy", 50, 100)),
        (10, AgentAsked("critic", "0:0-9", "m")),
        (20, RunPaused()),
        (30, RunPaused()),
    )
    assert state.elapsed(500) == 20
    assert state.moment(500) == 20
    state = after((520, RunContinued()), state=state)
    assert state.paused is None
    assert state.elapsed(530) == 30
    assert state.current is not None
    assert state.current.left(530) == 30
    assert state.pending[0].since == 510
    assert after((540, RunContinued()), state=state) == state
    ended = after((20, RunPaused()), (60, RunFinished("interrupted", 60.0, "")), state=after((0, STARTED)))
    assert ended.elapsed(99) == 20
    assert ended.paused is None


def test_questions_wait_until_their_answer_and_steps_add_up_by_purpose() -> None:
    asked = AgentAsked("critic", "0:0-9", "m"), AgentAsked("advisor", "0:0-9", "m")
    state = after((1, asked[0]), (2, asked[1]), (3, spoke()))
    assert [(one.agent, one.since) for one in state.pending] == [("advisor", 2)]
    state = after((4, StepsSpent("test", 7)), (5, StepsSpent("test", 3)), (5, StepsSpent("joint", 1)), state=state)
    assert state.spent == {"test": 10, "joint": 1}
    assert after((9, RunFinished("finished", 9.0, "")), state=state).pending == ()


def test_a_point_of_a_curve_has_the_interval_of_its_mean() -> None:
    state = after((0, Evaluated("x", 5, "curve", (1.0, 2.0, 3.0))), (0, Evaluated("x", 9, "curve", (4.0,))))
    (steps, mean, half), single = state.curves["x"]
    assert (steps, mean) == (5, 2.0)
    assert half == pytest.approx(4.30 / math.sqrt(3))
    assert math.isnan(single[2])
