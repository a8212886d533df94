"""How effects and events read."""

from __future__ import annotations

from typing import Any

import pytest

from ultra_agents.contracts import Quantity
from ultra_agents.effects import Effect, Effects, Event, effects_text
from ultra_agents.narration.describe import estimate_tokens

LEGEND = {
    "own_y": Quantity("px", "centre of my paddle", "downwards", 0, 200),
    "noise": Quantity("1", "of no use", "", 0, 1),
    "ball_x": Quantity("px", "the ball", "to the right", 0, 160),
}


def effect(action: str, held: int, typical: tuple[float | None, ...], **rest: Any) -> Effect:
    told = {"against": "idle", "quantity": "own_y", "low": -24.0, "high": -20.0, "size": 0.5, "surely": 3.0, **rest}
    return Effect(action=action, held=held, typical=typical, **told)


UP = (
    effect("UP", 1, (-10.0, -20.0, -23.0, -23.0, -23.0, -23.0, -23.0, -23.0)),
    effect("UP", 2, (-10.0, -30.0, -43.0, -46.0, -46.0, -46.0, -46.0, -46.0), low=-46.0, high=-46.0),
)
LOST = Event("point lost", 12, 4, "ball_x", (92.0, None, 140.0, 156.0), 78.0, 35.0, 2.2, 9.0)


def told(*effects: Effect, events: tuple[Event, ...] = (), tokens: int = 800, idle: str | None = "STAY") -> str:
    return effects_text(Effects(effects, 11, 999, idle), events, LEGEND, tokens)


def test_a_push_and_an_event_read_like_this() -> None:
    assert told(*UP, events=(LOST,)).splitlines() == [
        "What actions do by themselves (measured; x1: held for 1 step, then STAY; against STAY all along): typical "
        "difference after 1, 2, 3, 4, 8 steps, in brackets where 80% of 11 states are:",
        "UP: own_y [px, + downwards] x1 -10 -20 -23 and stays (-24 to -20); x2 -10 -30 -43 -46 -46",
        "What preceded events: mean 16, 8, 4, 0 steps before; in brackets mean and spread of all other steps:",
        "point lost (12 x): ball_x [px, + to the right] 92 ? 140 156 (other steps 78 +- 35)",
    ]


def test_an_action_that_does_the_opposite_is_named_beside_the_other() -> None:
    down = [effect("DOWN", one.held, tuple(-value for value in one.typical if value is not None)) for one in UP]
    lines = told(*UP, *down).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("UP (DOWN the opposite): own_y")
    half = [effect("DOWN", one.held, tuple(-value / 2 for value in one.typical if value is not None)) for one in UP]
    assert "opposite" not in told(*UP, *half)


def test_what_is_small_or_by_chance_is_not_told() -> None:
    assert told(*(effect("UP", 1, (-1.0,) * 8, size=0.01) for _ in range(1))) == ""
    assert told(effect("UP", 1, (-1.0,) * 8, surely=1.0)) == ""
    assert told(events=(Event("point lost", 12, 4, "noise", (0.5,) * 4, 0.5, 0.3, 0.1, 0.5),)) == ""
    assert effects_text(None, (), LEGEND, 800) == ""


def test_the_largest_come_first_where_not_all_fit() -> None:
    small = effect("UP", 1, (-0.1,) * 8, quantity="noise", size=0.2)
    everything = told(*UP, small, events=(LOST,))
    assert "noise" in everything
    room = estimate_tokens(told(*UP, events=(LOST,)))
    less = told(*UP, small, events=(LOST,), tokens=room)
    assert less == told(*UP, events=(LOST,))


@pytest.mark.parametrize("tokens", [50, 80, 120, 200, 400])
def test_the_budget_is_kept(tokens: int) -> None:
    many = [effect(f"A{index}", held, (float(index),) * 8, size=index / 9) for index in range(1, 9) for held in (1, 2)]
    text = told(*many, events=(LOST,), tokens=tokens)
    assert estimate_tokens(text) <= tokens
    assert bool(text) == (tokens >= 80)


def test_of_what_the_policy_answers_two_holds_are_told_unless_that_is_all_there_is() -> None:
    rows = [effect("UP", held, (-9.0,) * 8, against="policy") for held in (1, 2, 4, 8)]
    assert [part in told(*rows) for part in ("x1 ", "x2 ", "x4 ", "x8 ")] == [True, False, True, False]
    assert [part in told(*rows, idle=None) for part in ("x1 ", "x2 ", "x4 ", "x8 ")] == [True] * 4


def test_no_action_is_crowded_out_by_a_larger_one() -> None:
    large = [effect("UP", 1, (-9.0 - index,) * 8, quantity=name, size=9.0) for index, name in enumerate(LEGEND)]
    small = effect("DOWN", 1, (1.0,) * 8, size=0.2)
    room = estimate_tokens(told(large[0], small))
    assert "DOWN" in told(*large, small, tokens=room + 2)


def test_both_sides_of_a_fact_are_told_where_they_differ() -> None:
    pooled = effect("PUSH", 1, (1.0,) * 8)
    down, up = (
        effect("PUSH", 1, (value,) * 8, where=where) for value, where in ((4.0, "stance=1"), (0.5, "stance=0"))
    )
    divided = (("stance=1", 5), ("stance=0", 6))
    text = effects_text(Effects((pooled, down, up), 11, 999, "STAY", divided), (), LEGEND, 800)
    assert "stance=1: 5 of them, stance=0: 6 of them" in text
    assert [line.split(": ")[0] for line in text.splitlines()[1:]] == ["PUSH where stance=1", "PUSH where stance=0"]
    alike = effect("PUSH", 1, (3.5,) * 8, where="stance=0")
    text = effects_text(Effects((pooled, down, alike), 11, 999, "STAY", divided), (), LEGEND, 800)
    assert [line.split(": ")[0] for line in text.splitlines()[1:]] == ["PUSH"]
