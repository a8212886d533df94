"""What Pong's describer says, and when each sentence is so."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ultra_agents.testing.claims import Claim, Episode

OFFSET = r"(?:(\d+) px (above|below)|(level with))"
VERTICAL = r"(?:(falling|rising) (\d+) px/step|flying level)"
WHEN = r"arrives (?:in ([\d.]+) steps?|within this step)"
SKIP = 4


def px(episode: Episode, name: str, step: int) -> float:
    """A position from the information beside the observation: it is exact, whatever the policy sees."""
    return float(episode.infos[step].get(name, math.nan))


def next_point(episode: Episode, step: int) -> tuple[int, float] | None:
    """Step and reward of the point under way; of the one that was just decided while its ball still flies."""
    if step and episode.rewards[step - 1]:
        return step - 1, float(episode.rewards[step - 1])
    later = np.flatnonzero(episode.rewards[step:])
    return (step + int(later[0]), float(episode.rewards[step + later[0]])) if len(later) else None


def returned(episode: Episode, step: int) -> bool | None:
    """Whether my paddle returns the ball that is at it now."""
    for later in range(step + 1, min(step + 6, len(episode))):
        now, before = px(episode, "ball_x", later), px(episode, "ball_x", later - 1)
        if now < 0 or now > 150:
            return False
        if now < before:
            return True
    return None


def said_offset(match: re.Match[str], first: int = 1) -> float:
    """Pixels below, as said."""
    number, way = match[first], match[first + 1]
    return float(number) * (1 if way == "below" else -1) if number else 0.0


def claims(blur: float = 0.0) -> list[Claim]:
    """Every kind of sentence; `blur` is by how much positions read off a screen may be off, px.

    Of these a tenth may be wrong: a ball beside a paddle cannot be told from it.
    """

    def near(told: float, is_so: float, more: float = 0.51) -> bool:
        return abs(told - is_so) <= more + blur

    def apart(match: Any, episode: Episode, step: int) -> bool:
        return near(float(match[1]), max(140 - px(episode, "ball_x", step), 0))

    def coming(_: Any, episode: Episode, step: int) -> bool:
        x, then = px(episode, "ball_x", step), px(episode, "ball_x", step + 1)
        return then > x or x >= 140 - SKIP - blur

    def vertical(match: Any, episode: Episode, step: int) -> bool | None:
        told = float(match[2] or 0) * (1 if match[1] == "falling" else -1)
        x, y = px(episode, "ball_x", step), px(episode, "ball_y", step)
        then, to_wall = px(episode, "ball_y", step + 1), (y - 33 if told < 0 else 194 - y)
        turns = x >= 140 - SKIP - blur or x <= 20 + SKIP + blur or px(episode, "ball_x", step + 1) < 0
        if turns or to_wall < abs(told) + 1 + blur:
            return None
        return near(told, then - y, 0.51 + blur)

    def arrives(match: Any, episode: Episode, step: int) -> bool | None:
        """It is still coming after the whole steps, and there or turned one later."""
        steps = float(match[1]) if match[1] else 0.5
        before, after = step + math.floor(steps), step + math.floor(steps) + 1
        if after >= len(episode):
            return None
        if blur:
            before, after = before - 1, after + 1
        x = px(episode, "ball_x", step)
        still = px(episode, "ball_x", before) >= x and px(episode, "ball_x", before) <= 140 + blur
        then = px(episode, "ball_x", after)
        return still and (then >= 140 or then - px(episode, "ball_x", after - 1) < SKIP)

    def where(match: Any, episode: Episode, step: int) -> bool | None:
        """From the last state before the paddle's column straight on."""
        steps = float(match[1]) if match[1] else (140 - px(episode, "ball_x", step)) / SKIP
        last = step + math.floor(steps)
        if last >= len(episode) or last < 1:
            return None
        x, y = px(episode, "ball_x", last), px(episode, "ball_y", last)
        back = y - px(episode, "ball_y", last - 1)
        there = y + back * (140 - x) / SKIP
        if back % SKIP or not 36 < there < 191 or not 136 <= x <= 140:
            return None  # off a wall just then, or turned before
        return near(said_offset(match, 2) + px(episode, "own_y", step), there, 0.51 + 3 * blur)

    def just_returned(_: Any, episode: Episode, step: int) -> bool:
        before, now = px(episode, "ball_x", step - 1), px(episode, "ball_x", step)
        return before - now < SKIP and px(episode, "ball_x", step + 1) > now and now < 80

    def shows(_: Any, episode: Episode, step: int) -> bool:
        return px(episode, "ball_x", step + 1) - px(episode, "ball_x", step) == SKIP

    def served(_: Any, episode: Episode, step: int) -> bool:
        return any(px(episode, "ball_x", max(step - back, 0)) < 0 for back in (1, 2, 3)) or step < 3

    def away(_: Any, episode: Episode, step: int) -> bool:
        return px(episode, "ball_x", step + 1) < px(episode, "ball_x", step)

    def at_opponent(_: Any, episode: Episode, step: int) -> bool:
        x, then = px(episode, "ball_x", step), px(episode, "ball_x", step + 1)
        return x <= 20 + SKIP + 2 * blur and (then - x > -SKIP or then <= 20)

    def offsets(match: Any, episode: Episode, step: int) -> bool:
        y, own, other = (px(episode, name, step) for name in ("ball_y", "own_y", "opponent_y"))
        return near(said_offset(match), y - own, 0.51 + blur) and near(said_offset(match, 4), y - other, 0.51 + blur)

    def at_paddle(match: Any, episode: Episode, step: int) -> bool:
        off = px(episode, "ball_y", step) - px(episode, "own_y", step)
        return near(said_offset(match), off, 0.51 + blur) and px(episode, "ball_x", step) >= 140 - blur

    def lost(match: Any, episode: Episode, step: int) -> bool | None:
        point = next_point(episode, step)
        if point is None:
            return None
        xs = [px(episode, "ball_x", later) for later in range(step, min(point[0], len(episode)))]
        fell_back = any(0 <= b < a for a, b in pairwise(xs))
        return point[1] < 0 and not fell_back

    def won(_: Any, episode: Episode, step: int) -> bool | None:
        point = next_point(episode, step)
        return None if point is None else point[1] > 0 and point[0] - step < 20

    def no_ball(_: Any, episode: Episode, step: int) -> bool | None:
        if step + 40 >= len(episode):
            return None
        if blur and not 24 < px(episode, "ball_x", step) < 136:
            return True
        there = [px(episode, "ball_x", step + after) >= 0 for after in range(41)]
        return not there[0] and any(there)

    def paddle(match: Any, episode: Episode, step: int) -> bool | None:
        if step == 0:
            return None
        told = float(match[2] or 0) * (-1 if match[1] == "up" else 1)
        return near(told, px(episode, "own_y", step) - px(episode, "own_y", step - 1), 0.51 + 2 * blur)

    found = [
        Claim("distance", r"Ball (\d+) px from my paddle", apart),
        Claim("coming", r"coming at me", coming),
        Claim("vertical speed", VERTICAL, vertical),
        Claim("arrival time", rf"it {WHEN}", arrives),
        Claim("arrival place", rf"(?<=it ){WHEN}, {OFFSET} my paddle's centre", where),
        Claim("returned by the opponent", r"just returned by the opponent", just_returned),
        Claim("place shows", r"where shows in the next step", shows),
        Claim("served", r"just served", served),
        Claim("going away", r"going away", away),
        Claim("at the opponent's paddle", r"at the opponent's paddle", at_opponent),
        Claim(
            "near a paddle",
            r"near (?:my|the other) paddle(?=\.)",
            lambda match, one, step: not 32 < px(one, "ball_x", step) < 128,
        ),
        Claim("offsets", rf"(?:now )?{OFFSET} my paddle's centre and {OFFSET} the opponent's", offsets),
        Claim("at the paddle", rf"Ball at my paddle, {OFFSET} my paddle's centre", at_paddle),
        Claim("will be returned", r"probably returned", lambda _, one, step: returned(one, step), 0.9),
        Claim(
            "will be missed",
            r"probably missed",
            lambda _, one, step: None if (back := returned(one, step)) is None else not back,
            0.6,
        ),
        Claim("lost", rf"The ball has passed my paddle {OFFSET} its centre: this point is lost", lost),
        Claim("won", r"The ball has passed the opponent's paddle: this point is won", won),
        Claim(
            "no ball",
            "No ball to be seen: it is at a paddle, past one, or about to be served"
            if blur
            else "No ball in play, the next serve is coming",
            no_ball,
        ),
        Claim("paddle", r"My paddle is (?:still|moving (up|down) (\d+) px/step)", paddle),
    ]
    return [replace(one, least=min(one.least, 0.9)) for one in found] if blur else found
