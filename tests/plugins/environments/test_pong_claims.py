"""Every sentence of Pong's describer against what then happened, and how the ball leaves the paddle."""

from __future__ import annotations

import numpy as np
import pytest
from ultra_agents_plugins.environments.pong import flight

from benchmarks.pong_hits import approaching, hits_of
from tests.plugins.environments.pong_claims import claims
from ultra_agents.policies import load_policy
from ultra_agents.records import Array
from ultra_agents.registry import create_environment
from ultra_agents.testing.claims import Act, check_claims, play_episodes, wrong_claims

LEAST = 20
"""Times each sentence must have been said, or the test has not seen it."""


def players() -> dict[str, Act]:
    """Who plays: nobody, the policy that ships, and a strong one that errs, for all that happens."""
    pong = create_environment("pong")
    policy, expert = load_policy(pong.policies()["suboptimal"], "pong", pong).policy, pong.expert()

    def erring(seen: Array, rng: np.random.Generator) -> Array:
        return np.where(rng.random(len(seen)) < 0.2, rng.integers(0, 3, len(seen)), expert(seen))

    return {"random": lambda seen, rng: rng.integers(0, 3, len(seen)), "suboptimal": policy.act, "erring": erring}


def test_every_sentence_is_true_of_what_then_happens() -> None:
    pong, kinds = create_environment("pong"), claims()
    episodes = [one for act in players().values() for one in play_episodes(pong, act, num_envs=4, steps=500)]
    tallies = check_claims(pong, episodes, kinds)
    assert sum(map(len, episodes)) == 6000
    assert wrong_claims(tallies, kinds) == {}
    rare = {"returned by the opponent", "place shows", "will be returned", "near a paddle"}
    assert {name for name, one in tallies.items() if one.said < LEAST} <= rare
    assert tallies["lost"].said > 100
    assert tallies["arrival time"].said > 1000


def test_what_was_said_before_is_found_wrong() -> None:
    """The checks can fail: of a ball at the paddle's column it used to be said that the point is lost."""
    pong, kinds = create_environment("pong"), claims()
    episodes = play_episodes(pong, players()["erring"], num_envs=2, steps=300)

    def as_before(observation: Array, info: object) -> str:
        text = pong.describe(observation, {})
        if text.startswith("Ball at my paddle"):
            return "The ball has passed my paddle 0 px above its centre: this point is lost."
        return text.replace("within this step", "in 0 steps")

    assert {"lost", "arrival time"} & set(wrong_claims(check_claims(pong, episodes, kinds, as_before), kinds))


@pytest.mark.parametrize("told", ["beside", "from the screen"])
def test_from_pixels_every_sentence_is_true_as_far_as_can_be_seen(told: str) -> None:
    pong, kinds = create_environment("pong-pixels"), claims(0.0 if told == "beside" else 3.0)

    def follow(seen: Array, rng: np.random.Generator) -> Array:
        found = pong.quantities(seen)
        wanted = np.where(np.isfinite(found["arrival_y"]), found["arrival_y"], found["ball_y"])
        off = np.nan_to_num(wanted - found["own_y"])
        good = np.where(off < -6, 1, np.where(off > 6, 2, 0))
        return np.where(rng.random(len(seen)) < 0.3, rng.integers(0, 3, len(seen)), good)

    episodes = play_episodes(pong, follow, num_envs=2, steps=400)
    describe = None if told == "beside" else lambda observation, _: pong.describe(observation, {})
    assert wrong_claims(check_claims(pong, episodes, kinds, describe), kinds) == {}


def test_balls_leave_my_paddle_as_the_brief_says() -> None:
    hits = hits_of(approaching(300), 10)
    right = [
        sum(count for speed, count in hits.speeds[off].items() if speed == told)
        for low, high, told in flight.RETURNS
        for off in range(low, high + 1)
    ]
    seen = sum(sum(speeds.values()) for speeds in hits.speeds.values())
    assert seen > 40
    assert sum(right) >= 0.98 * seen
    assert max(hits.behind) == flight.LATE
    low, high = (int(edge) for edge in flight.EDGES)
    assert all(set(hits.reached[off]) <= {"hit"} for off in range(low + 1, high))
    assert all("hit" not in reached for off, reached in hits.reached.items() if not low <= off <= high + 1)
    brief = create_environment("pong").brief.dynamics
    (_, _, _), (low, _, slow), (level, still, _), (slant, high, _), (steep, _, fast) = flight.RETURNS
    assert f"{-level} px above to {still} px below the centre level" in brief
    assert f"{1 - level} to {-low} px above or {slant} to {high} below rising or falling {-4 * slow} px/step" in brief
    assert steep == high + 1
    assert f"farther out steeply, {4 * fast} px/step" in brief


def test_the_paddle_answers_pushes_as_the_brief_says() -> None:
    """Its movement in a step, from what it did in the last one and the pushes of both: nine times in ten to 2 px."""
    pong, rng, games, steps = create_environment("pong"), np.random.default_rng(0), 8, 700
    envs = pong.make(games)
    _, info = envs.reset(seed=list(range(games)))
    pushes, hold, places, balls = np.zeros((steps, games)), np.zeros(games, int), [info["own_y"]], [info["ball_x"]]
    for step in range(steps):
        pushes[step] = np.where(hold > 0, pushes[step - 1], rng.integers(-1, 2, games))
        hold = np.where(hold > 0, hold - 1, rng.integers(1, 5, games))
        _, _, _, _, info = envs.step(np.where(pushes[step] < 0, 1, np.where(pushes[step] > 0, 2, 0)))
        places.append(info["own_y"])
        balls.append(info["ball_x"])
    envs.close()
    y, x = np.array(places, float), np.array(balls)
    before, moved = np.diff(y, axis=0)[:-1], np.diff(y, axis=0)[1:]
    clear = (np.abs(y - 115) < 55)[:-2] & (np.abs(y - 115) < 55)[1:-1] & (np.abs(y - 115) < 55)[2:]
    flying = (x > 24) & (x < 130)
    clear &= flying[:-2] & flying[1:-1] & flying[2:]
    starts = clear & (pushes[:-1] == 0) & (pushes[1:] != 0)
    odd = x[1:-1] % 2 == 1

    def missed(odd: Array, where: Array) -> float:
        own = np.where(odd, flight.own_push(True), flight.own_push(False))
        left = (
            before / 3
            + np.where(odd, *(flight.way_left(flight.own_push(first)) for first in (True, False))) * pushes[:-1]
        )
        return float(np.mean(np.abs(0.75 * left + own * pushes[1:] - moved)[where] > 2))

    assert missed(odd, clear) < 0.12
    assert missed(odd, starts) < 0.15 < 0.5 < missed(~odd, starts)
    brief = pong.brief.dynamics
    assert "10 in its own step and 9 in the next where ball_x is even" in brief
    assert "6 and 13 where it is odd" in brief
