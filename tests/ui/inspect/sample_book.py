"""A small run as values: two episodes of 20 steps, three stretches, one critical state of every fate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ultra_agents.records import Array, FloatArray, Segment, TestResult
from ultra_agents.ui.inspect.book import Arm, Attempt, Book, Critical, Episode, Exchange, StepView, Stretch

GOOD = TestResult(0.5, 0.25, 0.75, 6, 240, True, "good", 5, 1)
BAD = TestResult(-0.3, -0.6, 0.1, 3, 90, False, "hopeless", 1, 2)


def attempt(test: TestResult | None, action: str = "UP", hold: int = 3, **more: Any) -> Attempt:
    return Attempt(((action, hold),), f"{action} is nearer", "accept", 0.75, -0.5, "the critic agrees", test, **more)


def critical(episode: int, step: int, segment: str, fate: Any, *attempts: Attempt, reason: str = "") -> Critical:
    return Critical(episode, step, segment, f"the serve at {step}", 0.8, 1.0, "DOWN", fate, reason, attempts=attempts)


def book(**changes: Any) -> Book:
    rewards = np.zeros(20)
    rewards[[9, 19]] = 1.0, -1.0
    values = np.linspace(-1, 1, 20)
    first = critical(0, 4, "0:0-10", "accepted", attempt(BAD, "STAY", 1), attempt(GOOD))
    second = critical(0, 7, "0:0-10", "refused", attempt(BAD), reason="no gain in simulation")
    third = critical(0, 12, "0:10-20", "dropped", reason="malformed reply")
    fourth = critical(1, 5, "1:0-20", "accepted", attempt(GOOD, "DOWN", 2))
    fields: dict[str, Any] = {
        "name": "sample",
        "folder": "runs/sample",
        "environment": "pong",
        "status": "finished",
        "proposer": "llm",
        "episodes": (Episode(0, rewards, values, "terminated"), Episode(1, rewards, values, "truncated")),
        "stretches": (
            Stretch(Segment(0, 0, 10, "point won"), (first, second), ("identify: step not shown",), 330),
            Stretch(Segment(0, 10, 20, "point lost"), (third,)),
            Stretch(Segment(1, 0, 20, "rally"), (fourth,)),
        ),
        "arms": (Arm("ultra-ra", -6.4, 3.25),),
    }
    return Book(**{**fields, **changes})


class SampleSource:
    """Steps with words, frames of a white ball on brown, two policies once read."""

    def __init__(self, pictures: bool = True) -> None:
        self.pictures = pictures
        self.policies_read = self.closed = False

    def step(self, episode: int, step: int) -> StepView:
        reward = {9: 1.0, 19: -1.0}.get(step, 0.0)
        choices = (("starting", "DOWN"), ("ultra-ra", "UP")) if self.policies_read else ()
        words = f"the ball is {step} px away"
        return StepView(episode, step, words, "DOWN" if step % 2 else "STAY", reward, -0.1, choices)

    def frame(self, episode: int, step: int) -> Array | str:
        if not self.pictures:
            return "this environment draws no pictures"
        frame = np.full((40, 60, 3), (144, 72, 17), np.uint8)
        frame[20, 2 * step : 2 * step + 1] = 236
        return frame

    def series(self, episode: int) -> Mapping[str, FloatArray]:
        return {"ball_x": np.arange(20.0), "speed": np.sin(np.arange(20.0))}

    def conversation(self, segment: str) -> tuple[Exchange, ...]:
        if segment != "0:0-10":
            return ()
        ask = (("system", "Be brief."), ("user", "Step 4: the ball is near"))
        return (
            Exchange("identifier", "tiny", None, "ok", "1k + 30 tokens, 2 s", ask, '{"cases": [{"step": 4}]}'),
            Exchange("advisor", "tiny", 4, "ok", "1k + 30 tokens, 2 s", ask, '{"action": "UP", "hold": 3}'),
            Exchange("critic", "tiny", 4, "wrong fields", "from the cache", ask, "lighthouse\x1b[2J"),
        )

    def read_policies(self) -> None:
        self.policies_read = True

    def close(self) -> None:
        self.closed = True
