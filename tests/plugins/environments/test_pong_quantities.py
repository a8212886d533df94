"""Pong's named numbers: what the observation says in pixels, and arrivals held against what then happened."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from ultra_agents.registry import create_environment

GAMES, STEPS, SKIP = 8, 500, 4


@cache
def played(name: str, games: int = GAMES, steps: int = STEPS) -> tuple[Any, Any]:
    """Quantities by name and positions in pixels beside them, `(steps, games)` each, of a strong and erring player."""
    pong, expert = create_environment(name), create_environment("pong").expert()
    envs, shadow = pong.make(games), create_environment("pong").make(games)
    rng = np.random.default_rng(0)
    observations, info = envs.reset(seed=list(range(games)))
    seen, _ = shadow.reset(seed=list(range(games)))
    quantities, positions = [], []
    for _ in range(steps):
        quantities.append(pong.quantities(observations))
        positions.append({key: info[key].astype(float) for key in ("ball_x", "ball_y", "own_y", "opponent_y")})
        actions = np.where(rng.random(games) < 0.15, rng.integers(0, 3, games), expert(seen))
        observations, _, _, _, info = envs.step(actions)
        seen = shadow.step(actions)[0]
    stacked = {key: np.stack([row[key] for row in quantities]) for key in quantities[0]}
    return stacked, {key: np.stack([row[key] for row in positions]) for key in positions[0]}


def flights(positions: Any) -> list[tuple[int, int, int, float]]:
    """Game, first and last step and y at the paddle's column of every flight towards it that got there.

    The ball goes straight on from the last step before the column, or off a wall.
    """
    found = []
    x, y = positions["ball_x"], positions["ball_y"]
    for game in range(x.shape[1]):
        first = None
        for step in range(1, len(x)):
            coming = x[step, game] - x[step - 1, game] == SKIP and x[step - 1, game] >= 0
            if coming and first is None:
                first = step
            if first is not None and not coming:
                first = None
            if coming and first is not None and 140 - SKIP < x[step, game] <= 140:
                back = y[step, game] - y[step - 1, game]
                if back % SKIP == 0 and 45 < y[step, game] < 182:
                    found.append((game, first, step, y[step, game] + back * (140 - x[step, game]) / SKIP))
                first = None
    return found


def test_the_arrival_is_right_in_every_step_of_a_flight_bounces_included() -> None:
    quantities, positions = played("pong")
    off, late, bounced = [], [], []
    for game, first, last, where in flights(positions):
        for step in range(first, last + 1):
            moved = positions["ball_y"][step, game] - positions["ball_y"][step - 1, game]
            off.append(abs(quantities["arrival_y"][step, game] - where))
            late.append(abs(quantities["arrival_steps"][step, game] - (last - step)))
            bounced.append(moved % SKIP != 0)
    assert sum(bounced) > 30
    assert max(off) < 0.01
    assert max(late) <= 1


def test_in_the_step_in_which_the_opponent_returns_the_ball_only_the_time_is_known() -> None:
    quantities, positions = played("pong")
    x = positions["ball_x"]
    turned = (x[1:] < 30) & (x[:-1] >= 0) & (x[1:] >= 0) & (np.abs(x[1:] - x[:-1]) < SKIP)
    steps = quantities["arrival_steps"][1:][turned]
    assert turned.sum() > 20
    assert np.allclose(steps, (140 - x[1:][turned]) / SKIP)
    assert np.isnan(quantities["arrival_y"][1:][turned]).all()


def test_what_flies_away_or_is_not_there_does_not_arrive() -> None:
    quantities, positions = played("pong")
    x = positions["ball_x"]
    away = (x[1:] - x[:-1] == -SKIP) & (x[1:] >= 0) | (x[1:] < 0)
    for name in ("arrival_steps", "arrival_y"):
        assert np.isnan(quantities[name][1:][away]).all()
    for name in ("ball_x", "ball_y", "ball_vx", "ball_vy"):
        assert np.array_equal(np.isnan(quantities[name]), x < 0)


def test_quantities_are_the_pixels_beside_the_observation() -> None:
    quantities, positions = played("pong")
    there = positions["ball_x"] >= 0
    assert np.array_equal(quantities["in_play"], there * 1.0)
    for name in ("ball_x", "ball_y"):
        np.testing.assert_allclose(quantities[name][there], positions[name][there], atol=1e-4)
    for name, velocity in (("own_y", "own_v"), ("opponent_y", "opponent_v")):
        np.testing.assert_allclose(quantities[name], positions[name], atol=1e-4)
        np.testing.assert_allclose(
            quantities[velocity][1:], np.clip(np.diff(positions[name], axis=0), -48, 48), atol=1e-4
        )
    assert all(column.dtype == np.float64 for column in quantities.values())


def test_the_arrival_is_where_the_ball_is_frame_by_frame() -> None:
    quantities, _ = played("pong")
    x, y, vx, vy = (quantities[f"ball_{name}"] for name in ("x", "y", "vx", "vy"))
    plain = (vx == SKIP) & (np.abs(vy - SKIP * np.rint(vy / SKIP)) < 1e-3) & (x <= 140)
    np.testing.assert_allclose(quantities["arrival_steps"][plain], (140 - x[plain]) / SKIP, atol=1e-4)
    states = (values[plain].tolist() for values in (x, y, vy, quantities["arrival_y"]))
    for across, down, moved, told in zip(*states, strict=True):
        place, speed = round(down), round(moved / SKIP)
        for _ in range(round(140 - across)):
            if (place <= 33 and speed < 0) or (place >= 194 and speed > 0):
                place, speed = place - speed - int(np.sign(speed)), -speed
            else:
                place += speed
        assert told == pytest.approx(place, abs=1e-3)


def test_the_words_tell_the_same_arrival() -> None:
    pong = create_environment("pong")
    state = np.array([(60 - 80) / 80, (191 - 113.5) / 80, 1, 5 / 8, 0, 0, 0, 0, 1], np.float32)  # 186 -> wall -> 191
    assert pong.quantities(state[None])["arrival_y"][0] == pytest.approx(36 + 26 * 3)
    assert "rising 12 px/step; it arrives in 20 steps" in pong.describe(state, {})
    turning = np.array([(23 - 80) / 80, 0, 0.5, -7 / 8, 0, 0, 0, 0, 1], np.float32)
    assert "just returned by the opponent; it arrives in 29.25 steps" in pong.describe(turning, {})
    assert "arrives in 58" not in pong.describe(turning, {})


def test_from_the_screen_the_same_is_read() -> None:
    quantities, positions = played("pong-pixels", 2, 400)
    x, y = positions["ball_x"], positions["ball_y"]
    open_court = (x > 30) & (x < 130) & (y > 45) & (y < 182)
    for name, apart in (("ball_x", 2), ("ball_y", 5), ("own_y", 25), ("opponent_y", 25)):
        assert np.nanmax(np.abs(quantities[name] - positions[name])[open_court]) < apart
    assert open_court.sum() > 50
    off = []
    for game, first, last, where in flights(positions):
        steps = range(first + 1, last)
        off += [abs(quantities["arrival_y"][step, game] - where) for step in steps if open_court[step, game]]
    assert len(off) > 30
    assert np.median(off) < 6
