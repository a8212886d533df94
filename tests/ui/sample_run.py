"""A made-up run: the events of Pong up to the middle of its second refinement."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterator

from ultra_agents.events import (
    AdviceDecided,
    AgentAsked,
    AgentSpoke,
    Dropped,
    Evaluated,
    Event,
    RunStarted,
    StageFinished,
    StageProgress,
    StageStarted,
    StateShown,
    StepsSpent,
    TrainingProgress,
    Warned,
)
from ultra_agents.ui.run_state import RunState, reduce

STAGES = (
    ("policy", 0.02), ("collect", 0.03), ("explain", 0.5), ("tabulate", 0.01), ("imitate", 0.03),
    ("refine ultra-ra", 0.2), ("refine continue", 0.2), ("evaluate", 0.1), ("report", 0.02),
)  # fmt: skip

_SAID = (
    ("identifier", '{"rationale": "At step 41 the ball is 30 above the paddle and falling towards it, yet the policy '
     'moves up; by step 47 it cannot return.", "steps": [41, 47]}'),
    ("advisor", '{"rationale": "Moving down for three steps meets the ball with the paddle\'s middle.", '
     '"action": "DOWN", "hold": 3}'),
    ("critic", "The suggestion follows the ball. Held three steps it does not overshoot; reward 0.6, accepted."),
)  # fmt: skip


def events() -> Iterator[tuple[float, Event]]:
    """The run, up to the middle of its second refinement: `(seconds since the start, event)`."""
    yield 0.0, RunStarted("demo-pong", "runs/demo-pong", "1a2b3c4d5e6f", False, STAGES)
    yield 0.0, StageStarted("policy", "Read the starting policy")
    yield 0.6, StageFinished("policy", 0.6, "ppo after 100,000 steps")
    yield 0.6, StageStarted("collect", "Play 4 episodes", 4, "episodes")
    for episode in range(4):
        yield 1.0 + episode, StageProgress("collect", episode + 1, 4, f"episode {episode}: return -14")
        yield 1.0 + episode, StepsSpent("collect", 1302)
    yield 5.0, StageFinished("collect", 4.4, "mean return -13.75, 5,210 steps")
    yield 5.0, StageStarted("explain", "Ask where the episodes were decided", 12, "segments")
    at = 5.0
    for index in range(12):
        segment = f"{index // 3}:{60 * index}-{60 * index + 60}"
        for agent, text in _SAID:
            at += 1.5
            yield at - 1.5, AgentAsked(agent, segment, "SmolLM2-135M-Instruct")
            yield at, AgentSpoke(agent, segment, "SmolLM2-135M-Instruct", text, index == 4, 812, 64, 1.5, "ok", 0.0002)
        if index % 3 == 1:
            yield at, Dropped("identify", "step not shown", segment, "step 999")
        good = index % 2 == 0
        gain = None if index == 5 else 0.52 - 0.03 * index if good else -0.02 * index
        low, high = (None, None) if gain is None else (gain - 0.21, gain + 0.21)
        step, action = 60 * index + 41, "DOWN" if index % 3 else "UP"
        yield at, StepsSpent("test", 640)
        yield at, AdviceDecided(
            segment, step, action, 3, "accept" if good else "reject",
            "gain is positive" if good else "no gain in the simulator", gain, low, high, 8 if gain else 0,
        )  # fmt: skip
        if index % 3 == 0:
            yield at, StateShown(segment, step, "UP", *court(index))
        yield at, StageProgress("explain", index + 1, 12)
    yield at, StageFinished("explain", at - 5, "12 segments, 36 suggestions, 6 kept")
    yield at, StageStarted("tabulate", "Build the advice table")
    yield at, Warned("one segment was left out: the episode was cut by the time limit")
    yield at, StageFinished("tabulate", 0.2, "6 entries")
    yield at, StageStarted("imitate", "Replay the advice, learn to do the same, test that")
    yield at, StageFinished(
        "imitate", 3.1, "used: +0.42 [+0.1, +0.74] in 16 pairs, 6 plans, 18 demonstrated steps",
    )  # fmt: skip
    yield at, StepsSpent("imitate", 4018)
    yield at, Evaluated("none", 0, "before", (-14.0, -12.0, -13.0, -15.0))
    for method, upto, rise in (("ultra-ra", 25, 11.0), ("continue", 15, 7.5)):
        yield at, StageStarted(f"refine {method}", f"Refine the policy: {method}", 50_000, "steps")
        for update in range(upto + 1):
            at += 0.8
            level = -13.5 + rise * (1 - math.exp(-update / 10))
            steps = update * 2000
            yield at, TrainingProgress(method, steps, 50_000, {"return_mean": level + 1.4 * math.sin(update * 2.3)})
            if update % 5 == 0:
                yield at, Evaluated(method, steps, "curve", (level - 1, level + 1, level + 0.3))
        if method == "ultra-ra":
            yield at, StageFinished(f"refine {method}", 20.8, "50,000 steps, return -3.40 on the selection seeds")


def court(index: int) -> tuple[int, int, str]:
    """Width, height and pixels of a table-tennis court of 160 x 210 pixels, as `StateShown` has them."""
    colours = bytes((144, 72, 17, 236, 236, 236, 92, 186, 92, 213, 130, 74))
    rows = [bytearray(160) for _ in range(210)]

    def block(left: int, top: int, width: int, height: int, colour: int) -> None:
        for row in rows[top : top + height]:
            row[left : left + width] = bytes([colour]) * width

    for top in (24, 194):
        block(0, top, 160, 10, 1)
    block(16, 90, 4, 16, 3)
    block(140, 60 + 5 * index, 4, 16, 2)
    block(118, 110 + 4 * index, 2, 4, 1)
    data = bytes([3]) + colours + b"".join(rows)
    return 160, 210, base64.b64encode(zlib.compress(data)).decode("ascii")


def state() -> tuple[RunState, float]:
    """The view at that moment, and its time."""
    view, now = RunState(), 100.0
    for seconds, event in events():
        now = 100.0 + seconds
        view = reduce(view, event, now)
    return view, now
