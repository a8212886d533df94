from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from ultra_agents.agents.proposer import Proposer, model_proposer
from ultra_agents.config import AgentsConfig, NarrationConfig, VerificationConfig
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.narration import narrate
from ultra_agents.records import Narration, Segment, TestResult, Trajectory
from ultra_agents.testing.corridor import Corridor, CorridorOptions

Item = tuple[Trajectory, Narration]


def make_item(episode: int = 0, actions: str = "RLRLLLLL", reward: float = 0.19) -> Item:
    """An episode in the corridor of 9 cells, told in full."""
    cells = 4 + np.cumsum([0, *(1 if letter == "R" else -1 for letter in actions[:-1])])
    rewards = np.full(len(actions), -0.01)
    rewards[-1] = reward
    trajectory = Trajectory(
        episode=episode,
        seed=episode,
        observations=(2 * cells / 8 - 1).astype(np.float32)[:, None],
        actions=np.array([int(letter == "R") for letter in actions]),
        rewards=rewards,
        values=np.zeros(len(actions)),
        infos=tuple({"cell": int(cell)} for cell in cells),
        terminated=True,
        truncated=False,
    )
    segment = Segment(episode, 0, len(actions), "lured")
    return trajectory, narrate(trajectory, segment, Corridor(CorridorOptions()), NarrationConfig(stride=1))


@dataclass
class FakeAnswer:
    value: Any


@dataclass
class FakeGateway:
    """Answers from a function of agent, user message and how often this agent spoke about this segment before."""

    respond: Callable[[str, str, int], Any]
    asked: list[dict[str, Any]] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def ask(
        self, *, agent: str, segment: str, models: Any, messages: Any, reply: Any, step: int | None = None
    ) -> FakeAnswer:
        with self.lock:
            before = sum((row["agent"], row["segment"]) == (agent, segment) for row in self.asked)
            self.asked.append(
                {"agent": agent, "segment": segment, "models": models, "messages": messages, "step": step}
            )
        said = self.respond(agent, messages[-1][1], before)
        if isinstance(said, BaseException):
            raise said
        return FakeAnswer(reply.model_validate(said))

    def agents(self) -> list[str]:
        return [row["agent"] for row in self.asked]

    def said_to(self, agent: str, which: int = 0) -> str:
        text = [row["messages"][-1][1] for row in self.asked if row["agent"] == agent][which]
        assert isinstance(text, str)
        return text


def cases(*steps: int) -> dict[str, Any]:
    return {"cases": [{"case_analysis": f"case of {step}", "step": step, "importance": 0.5} for step in steps]}


def action(name: str = "RIGHT", hold: int = 4) -> dict[str, Any]:
    return {"reasoning": f"go {name}", "action": name, "hold": hold}


def verdict(word: str = "accept", reward: float = 0.8, taken: float = -0.4) -> dict[str, Any]:
    return {"reasoning": f"I say {word}", "reward": reward, "taken_reward": taken, "verdict": word}


@dataclass
class FakeTester:
    """Says for each call in turn whether the suggestion gains; the last answer is repeated; None: nothing is left."""

    gains: list[float | None]
    tested: list[Any] = field(default_factory=list)

    def __call__(self, trajectory: Trajectory, suggestion: Any, earlier: Any = ()) -> TestResult | None:
        gain = self.gains[min(len(self.tested), len(self.gains) - 1)]
        self.tested.append(suggestion)
        if gain is None:
            return None
        value = np.float64(gain)  # as the real tester computes
        return TestResult(value, value - 0.1, value + 0.1, 4, 100, np.bool_(value > 0.1), "good")  # type: ignore[arg-type]


@dataclass
class Bench:
    """A `model_proposer` with everything around it replaced."""

    folder: Any
    checkpoint: Any = None
    events: list[Any] = field(default_factory=list)

    def proposer(
        self,
        respond: Any,
        tester: Any = None,
        mode: str = "none",
        environment: Any = None,
        models: Any = None,
        **agents: Any,
    ) -> Proposer:
        self.gateway = respond if hasattr(respond, "ask") else FakeGateway(respond)
        return model_proposer(
            environment=environment or Corridor(CorridorOptions()),
            gateway=self.gateway,
            agents=AgentsConfig(**agents),
            verification=VerificationConfig(mode=mode),  # type: ignore[arg-type]
            tester=tester,
            checkpoint=self.checkpoint or self.folder / "agents.sqlite",
            emit=self.events.append,
            source="fake",
            models=models,
        )

    def events_of(self, kind: str) -> list[Any]:
        return [event for event in self.events if type(event).__name__ == kind]


@pytest.fixture
def bench(tmp_path: Any) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def item() -> Callable[..., Item]:
    return make_item


class Says:
    """Replies and fakes, for the tests to build their stories from."""

    cases = staticmethod(cases)
    action = staticmethod(action)
    verdict = staticmethod(verdict)
    gateway = FakeGateway
    tester = FakeTester
    dropped = ReplyDropped

    @staticmethod
    def story(**parts: Any) -> Callable[[str, str, int], Any]:
        """`identifier=..., advisor=[...], critic=[...]`; of a list the replies in turn, the last one repeated."""

        def respond(agent: str, message: str, before: int) -> Any:
            said = parts[agent]
            return said[min(before, len(said) - 1)] if isinstance(said, list) else said

        return respond


@pytest.fixture
def says() -> type[Says]:
    return Says
