"""Pictures, sparklines, intervals, the timeline, the table: fixed input, fixed output."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.color import ColorType

from tests.ui.inspect.sample_view import BAD, GOOD, SampleSource, attempt, critical, run_view
from ultra_agents.records import (
    Critique,
    Explanation,
    Goal,
    GoalReached,
    JointVerdict,
    Plan,
    Searched,
    Segment,
    TestResult,
)
from ultra_agents.ui.inspect.details import details
from ultra_agents.ui.inspect.glyphs import arrow, interval, spark
from ultra_agents.ui.inspect.plain import lines, to_json
from ultra_agents.ui.inspect.run_view import RunView
from ultra_agents.ui.inspect.search import search
from ultra_agents.ui.inspect.timeline import draw
from ultra_agents.ui.picture import _PALETTE, Depth, fit, picture

BROWN, WHITE, GREEN, ORANGE = (144, 72, 17), (236, 236, 236), (92, 186, 92), (213, 130, 74)


def court() -> np.ndarray:
    """A frame like Pong's: walls, two paddles, a ball of 2 x 4 pixels."""
    frame = np.full((210, 160, 3), BROWN, np.uint8)
    frame[24:34] = frame[194:] = WHITE
    frame[100:116, 140:144], frame[80:96, 16:20] = GREEN, ORANGE
    frame[150:154, 77:79] = WHITE
    return frame


@pytest.mark.parametrize("columns", [10, 17, 33, 60])
def test_a_ball_thinner_than_a_cell_stays(columns: int) -> None:
    pixels = fit(court(), columns, 1000)
    field = pixels[int(len(pixels) * 0.3) : int(len(pixels) * 0.88)]
    for colour in (WHITE, GREEN, ORANGE):
        assert (field == colour).all(axis=-1).any(), colour
    assert pixels.shape[1] == columns
    assert abs(pixels.shape[0] / columns - 210 / 160) < 0.15


def test_a_thin_line_on_a_shaded_ground_stays() -> None:
    ramp = np.linspace(100, 120, 300 * 300).reshape(300, 300, 1)
    frame = np.clip(ramp + np.array([0, 5, 9]), 0, 255).astype(np.uint8)
    frame[:, 150] = 250
    small = fit(frame, 30, 30)
    assert small[:, 15].mean() > small[:, 5].mean() + 40


def test_small_frames_grow_by_whole_pixels() -> None:
    frame = np.zeros((2, 2, 3), np.uint8)
    frame[0, 1] = 255
    big = fit(frame, 8, 8)
    assert big.shape == (8, 8, 3)
    assert (big[:4, 4:] == 255).all()
    assert (big[4:] == 0).all()


@pytest.mark.parametrize("depth", ["truecolor", "256", "standard", "none"])
def test_pictures_keep_to_the_room_and_the_colours_of_the_terminal(depth: Depth) -> None:
    text = picture(court(), 30, 20, depth)
    drawn = text.split("\n")
    assert len(drawn) <= 20
    assert all(line.cell_len <= 30 for line in drawn)
    kinds = {span.style.color.type for span in text.spans if not isinstance(span.style, str) and span.style.color}
    assert (
        kinds
        == {
            "truecolor": {ColorType.TRUECOLOR},
            "256": {ColorType.TRUECOLOR},  # the console maps these
            "standard": {ColorType.STANDARD},
            "none": set(),
        }[depth]
    )


def test_without_colours_the_ball_is_a_mark_on_empty_ground() -> None:
    frame = np.full((8, 8, 3), BROWN, np.uint8)
    frame[2, 3] = WHITE
    assert picture(frame, 8, 4, "none").plain.split("\n") == [" " * 8, "   ▀    ", " " * 8, " " * 8]


def test_sixteen_colours_tell_everything_from_the_ground() -> None:
    frame = np.full((4, 8, 3), (10, 10, 10), np.uint8)
    frame[0, 0], frame[0, 1] = (70, 70, 70), WHITE
    text = picture(frame, 8, 2, "standard")
    colours = [span.style.color.number for span in text.spans if not isinstance(span.style, str) and span.style.color]
    assert len(set(colours[:3])) == 3
    assert len(_PALETTE) == 16


def test_sparklines() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert spark([0, 0, 7, 7], 2) == "▁█"
    assert spark([3, 3, 3], 3) == "▃▃▃"
    assert spark([1, float("nan"), 2], 3) == "▁ █"
    assert spark([], 4) == "    "
    assert len(spark(np.arange(7), 50)) == 50


def test_intervals_show_zero_and_the_gain() -> None:

    good, bad = interval(GOOD, 24).plain, interval(BAD, 24).plain
    assert good.index("│") < good.index("├") < good.index("●") < good.index("┤")
    assert bad.index("├") < bad.index("●") < bad.index("┼") < bad.index("┤")
    assert len(good) == 24


@pytest.mark.parametrize(
    ("name", "sign"), [("UP", "↑"), ("PUSH LEFT", "←"), ("move_right", "→"), ("STAY", ""), ("UP-LEFT", "")]
)
def test_arrows(name: str, sign: str) -> None:
    assert arrow(name) == sign


def test_the_timeline_at_a_fixed_width() -> None:
    run = run_view()
    assert draw(run, 0, 0, 20, 4, run.critical, 49).plain.split("\n") == [
        "value   ▁▁▁▁▁▁▂▂▂▂▃▃▃▃▃▃▄▄▄▄▅▅▅▅▆▆▆▆▆▆▇▇▇▇██████",
        "events  ─────────◆─────◇───+─────◇─────────────-",
        "step    0        ▲ 4                          19",
    ]


def test_the_table_is_stable() -> None:
    assert list(lines(run_view())) == [
        "run sample: pong, proposer llm, finished; 2 episodes, 3 segments, 4 critical states: "
        "2 accepted, 1 rejected, 1 dropped",
        "method ultra-ra before=-6.40 after=3.25",
        "episode 0 steps=20 return=0.00 terminated",
        "episode 1 steps=20 return=0.00 truncated",
        "segment 0:0-10 critical=2 point won",
        "segment 0:10-20 critical=1 point lost",
        "segment 1:0-20 critical=1 rally",
        "#        episode:step  fate      taken  suggested    gain     low    high  pairs  stopped   critic  why",
        "critical 0:4           accepted  DOWN   UP×3       +0.500  +0.250  +0.750      6  good      accept  -",
        "critical 0:7           rejected  DOWN   UP×3       -0.300  -0.600  +0.100      3  hopeless  accept  "
        "no gain in simulation",
        "critical 0:12          dropped   DOWN   -               -       -       -      -  -         -       "
        "malformed reply",
        "critical 1:5           accepted  DOWN   DOWN×2     +0.500  +0.250  +0.750      6  good      accept  -",
    ]


def test_the_json_holds_every_suggestion() -> None:
    value = json.loads(to_json(run_view()))
    assert [one["fate"] for one in value["critical"]] == ["accepted", "rejected", "dropped", "accepted"]
    first = value["critical"][0]["suggestions"]
    assert [one["plan"] for one in first] == ["STAY for 1 step", "UP for 3 steps"]
    assert first[1]["test"]["gain"] == 0.5
    assert value["episodes"][1] == {"episode": 1, "steps": 20, "return": 0.0, "ending": "truncated"}


def test_a_search_shows_where_it_found_what() -> None:
    hits = search(run_view(), SampleSource(), "serve 7")
    assert [(hit.episode, hit.step) for hit in hits] == [(0, 7)]
    assert "the serve at 7" in hits[0].line.plain
    assert search(run_view(), SampleSource(), "  ") == []


def shown(run: RunView, step: int) -> str:
    return details(run, SampleSource().step(0, step), 60).plain


UNDECIDED = TestResult(0.2, -0.1, 0.5, 8, 300, False, "pairs", 5, 3)


@pytest.mark.parametrize(
    ("joint", "words"),
    [
        (JointVerdict(True, 0.4, 0.1, 0.7, 12), "tested together: holds  +0.40 per episode, interval +0.10 to +0.70"),
        (JointVerdict(False, 0.4, -0.1, 0.7, 12), "tested together: undecided  +0.40 per episode"),
        (JointVerdict(False, -0.4, -0.7, -0.1, 12), "tested together: loses  -0.40 per episode"),
        (JointVerdict(False, 0.0, 0.0, 0.0, 0), "tested together: no budget for a single pair"),
    ],
)
def test_a_set_is_called_what_its_test_found(joint: JointVerdict, words: str) -> None:
    state = critical(4, "accepted", attempt(UNDECIDED, "STAY"), attempt(BAD), joint=joint)
    told = shown(run_view(explanations=(Explanation(Segment(0, 0, 10, "x"), (state,)),)), 4)
    assert words in told
    assert "suggestion 1 of 2, used" in told
    assert "suggestion 2 of 2  ↑ UP for 3 steps" in told


def test_the_attempt_that_became_advice_is_the_one_that_is_shown() -> None:
    state = critical(
        4, "accepted", attempt(UNDECIDED, "STAY"), attempt(BAD), joint=JointVerdict(False, 0.4, -0.1, 0.7, 12)
    )
    run = run_view(explanations=(Explanation(Segment(0, 0, 10, "x"), (state,)),))
    (found,) = json.loads(to_json(run))["critical"]
    assert [(one["moves"], one["chosen"]) for one in found["suggestions"]] == [
        ([["STAY", 3]], True),
        ([["UP", 3]], False),
    ]
    assert found["joint"] == {
        "kept": False, "gain": 0.4, "low": -0.1, "high": 0.7, "pairs": 12, "stopped": "", "verdict": "undecided",
    }  # fmt: skip
    (line,) = [line.split() for line in lines(run) if line.startswith("critical ")]
    assert line[2:6] == ["accepted", "DOWN", "STAY×3", "+0.200"]


def test_both_readings_of_the_critic_are_told() -> None:
    second = Critique("reject", -0.25, 0.5, "on reflection no")
    told = shown(
        run_view(
            explanations=(
                Explanation(Segment(0, 0, 10, "x"), (critical(4, "rejected", attempt(GOOD, reflection=second)),)),
            )
        ),
        4,
    )
    assert (
        told.index("critic accept  reward +0.75") < told.index("test gain +0.50") < told.index("critic again reject")
    )
    assert "reward -0.25, action taken +0.50" in told


def test_the_rewards_of_a_control_are_not_a_critics() -> None:
    run = run_view(proposer="random")
    told = shown(run, 4)
    assert "implicit reward +0.75, action taken -0.50" in told
    assert "critic accept" not in told
    assert {one["verdict"] for case in json.loads(to_json(run))["critical"] for one in case["suggestions"]} == {None}


def test_what_was_written_and_what_a_search_made_of_it_stand_side_by_side() -> None:
    wrote, better = Plan((("UP", 2),)), Plan((("UP", 3),))
    states = (
        critical(4, "accepted", attempt(GOOD, search=Searched(better, wrote, 0.7, 12, 400))),
        critical(5, "accepted", attempt(GOOD, search=Searched(better, None, 0.7, 12, 400))),
        critical(
            6, "accepted", attempt(GOOD, search=Searched(better, better, reason="search budget below one rollout"))
        ),
    )
    run = run_view(explanations=(Explanation(Segment(0, 0, 10, "x"), states),))
    assert "search UP×2 as written, +0.70 there, best of 12 plans; 400 steps" in shown(run, 4)
    assert "search +0.70 there, best of 12 plans; 400 steps" in shown(run, 5)
    assert "search as written, search budget below one rollout" in shown(run, 6)
    rows = [one["suggestions"][0] for one in json.loads(to_json(run))["critical"]]
    assert [row["written"] for row in rows] == ["UP for 2 steps", "UP for 3 steps", "UP for 3 steps"]
    told = {"gain": 0.7, "tried": 12, "env_steps": 400, "reason": "", "changed": True, "goal": None}
    assert rows[0]["search"] == told
    assert [hit.step for hit in search(run, SampleSource(), "UP for 2 steps")] == [4]


def test_a_goal_and_how_far_it_was_reached_are_shown() -> None:
    toward = GoalReached(Goal("cell", "at least", 8, low=3), 3.5, 1.0, True, 8, 8)
    away = replace(toward, value=1.0, reached=False)
    plan = Plan((("UP", 3),))
    states = (
        critical(4, "accepted", attempt(GOOD, search=Searched(plan, None, 0.7, 12, 400, toward=toward))),
        critical(5, "dropped", attempt(None, search=Searched(plan, None, -0.1, 48, 900, "came no nearer", away))),
    )
    run = run_view(explanations=(Explanation(Segment(0, 0, 10, "x"), states),))
    told = " ".join(shown(run, 4).split())
    assert "goal cell at least 3, on average over 8 steps came to 3.5, the policy alone to 1: reached" in told
    assert "search +0.70 there, best of 12 plans; 400 steps" in told
    assert "best of 48 plans; 900 steps; came no nearer" in " ".join(shown(run, 5).split())
    row = json.loads(to_json(run))["critical"][0]["suggestions"][0]["search"]["goal"]
    assert (row["goal"], row["value"]) == ("cell at least 3, on average over 8 steps", 3.5)
    assert [hit.step for hit in search(run, SampleSource(), "cell at least")] == [4, 5]
