"""A small run as values: two episodes of 20 steps, three segments, a critical state of every fate but `open`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ultra_agents.records import (
    Array,
    Attempt,
    CriticalState,
    Critique,
    Explanation,
    FloatArray,
    MethodResult,
    Note,
    Plan,
    Returns,
    Segment,
    TestResult,
    Trajectory,
)
from ultra_agents.ui.inspect.run_view import ModelCall, RunView, StepView

GOOD = TestResult(0.5, 0.25, 0.75, 6, 240, True, "good", 5, 1)
BAD = TestResult(-0.3, -0.6, 0.1, 3, 90, False, "hopeless", 1, 2)


def attempt(test: TestResult | None, action: str = "UP", hold: int = 3, **more: Any) -> Attempt:
    critique = Critique("accept", 0.75, -0.5, "the critic agrees")
    return Attempt(Plan(((action, hold),)), f"{action} is nearer", critique, test, **more)


def critical(step: int, fate: Any, *attempts: Attempt, **more: Any) -> CriticalState:
    return CriticalState(step, f"the serve at {step}", 0.8, 1.0, "DOWN", attempts, fate, **more)


def episode(index: int, terminated: bool) -> Trajectory:
    rewards = np.zeros(20)
    rewards[[9, 19]] = 1.0, -1.0
    return Trajectory(
        index, 0, np.zeros((20, 1)), np.zeros(20, np.int64), rewards, np.linspace(-1, 1, 20), ({},) * 20, terminated,
        not terminated,
    )  # fmt: skip


def returns(value: float) -> Returns:
    return Returns((value,), (0,), (1,))


def run_view(**changes: Any) -> RunView:
    first = critical(4, "accepted", attempt(BAD, "STAY", 1), attempt(GOOD))
    second = critical(7, "rejected", attempt(BAD), stage="test", reason="no gain in simulation")
    third = critical(12, "dropped", stage="advise", reason="malformed reply")
    fourth = critical(5, "accepted", attempt(GOOD, "DOWN", 2))
    fields: dict[str, Any] = {
        "name": "sample",
        "folder": "runs/sample",
        "environment": "pong",
        "status": "finished",
        "proposer": "llm",
        "episodes": (episode(0, terminated=True), episode(1, terminated=False)),
        "explanations": (
            Explanation(Segment(0, 0, 10, "point won"), (first, second), (Note("identify", "step not shown"),), 330),
            Explanation(Segment(0, 10, 20, "point lost"), (third,)),
            Explanation(Segment(1, 0, 20, "rally"), (fourth,)),
        ),
        "methods": (MethodResult("ultra-ra", returns(-6.4), returns(1.0), returns(3.25), 500, {"refine": 900}),),
    }
    return RunView(**{**fields, **changes})


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

    def conversation(self, segment: str) -> tuple[ModelCall, ...]:
        if segment != "0:0-10":
            return ()
        ask = (("system", "Be brief."), ("user", "Step 4: the ball is near"))
        return (
            ModelCall("identifier", "tiny", None, "ok", "1k + 30 tokens, 2 s", ask, '{"cases": [{"step": 4}]}'),
            ModelCall("advisor", "tiny", 4, "ok", "1k + 30 tokens, 2 s", ask, '{"action": "UP", "hold": 3}'),
            ModelCall("critic", "tiny", 4, "wrong fields", "from the cache", ask, "lighthouse\x1b[2J"),
        )

    def read_policies(self) -> None:
        self.policies_read = True

    def close(self) -> None:
        self.closed = True
