"""A small world for those who write rules: a poor policy on MountainCar or in the corridor, and scripted answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultra_agents.agents.rules import most_trials, propose_rules
from ultra_agents.config import Config, NarrationConfig
from ultra_agents.contracts import Policy
from ultra_agents.narration import choose_segments, narrate
from ultra_agents.records import Array, FloatArray, Narration, RuleProposal, Trajectory
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.verification.trials import RuleTrials

GOOD = (Path(__file__).parents[3] / "examples" / "rules" / "mountain_car.yaml").read_text(encoding="utf-8")
HARMFUL = "rules:\n  - when: velocity > 0\n    do: PUSH_LEFT\n  - when: velocity <= 0\n    do: PUSH_RIGHT\n"
SITUATIONS = {
    "situations": [
        {"rationale": "It pushes against the motion.", "name": "turning", "examples": [{"episode": 0, "step": 3}]}
    ]
}


class Poor(Policy):
    """MountainCar: pushes along the motion in most steps. Corridor: walks right in every second step."""

    def __init__(self, share: float) -> None:
        self.share = share

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        sensible = uniforms[:, 0] < self.share
        if observations.shape[1] == 1:
            return sensible.astype(np.int64)
        forward = observations[:, 1] > 0
        return np.where(sensible == forward, 2, 0).astype(np.int64)

    def act(self, observations: Array, rng: Any = None, deterministic: bool = False) -> Array:
        return self.act_with_uniforms(observations, rng.random((len(observations), 1)))

    def value(self, observations: Array) -> FloatArray:
        return np.zeros(len(observations))

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        return {}, {}


SHARES = {"mountain-car": 0.85, "corridor": 0.5}


@cache
def world(name: str, episodes: int) -> tuple[Any, Policy, list[Trajectory], list[Narration]]:
    environment, policy = create_environment(name, {}), Poor(SHARES[name])
    with make_simulators(environment, episodes) as simulators:
        seeds = list(range(1, episodes + 1))
        trajectories = collect(policy, environment, simulators, seeds, Streams(3), 300)
    narration = NarrationConfig()
    told = [
        narrate(one, segment, environment, narration)
        for one in trajectories
        for segment in choose_segments(one, environment, narration, np.random.default_rng(0))
    ]
    return environment, policy, trajectories, told


@dataclass
class RulesBench:
    """`propose_rules` with scripted models, on a fixed world; `simulate` brings the real short test."""

    folder: Path
    says: Any
    name: str = "mountain-car"
    episodes: int = 1
    tune: bool = False
    events: list[Any] = field(default_factory=list)
    gateway: Any = None

    def config(self, mode: str = "simulate", **agents: Any) -> Config:
        settings = {
            "environment": {"name": self.name},
            "policy": {"train_steps": 1},
            "llms": {"default": {"provider": "scripted", "options": {"replies": ["{}"]}}},
            "verification": {"mode": mode, "rules": {"tune": self.tune}},
            "agents": {"rules": "text", **agents},
        }
        return Config.model_validate(settings)

    def trials(self, config: Config, **rules: Any) -> RuleTrials:
        environment, policy, *_ = world(self.name, self.episodes)
        terms = config.verification.rules.model_copy(update=rules)
        trials = most_trials(self.episodes, config.agents)
        return RuleTrials(environment, policy, terms, Streams(0).child("trials"), trials=trials)

    def propose(
        self, respond: Any, mode: str = "simulate", tester: Any = None, narrations: Any = None, **agents: Any
    ) -> tuple[RuleProposal, ...]:
        environment, policy, trajectories, told = world(self.name, self.episodes)
        config = self.config(mode, **agents)
        if tester is None and mode in ("simulate", "both"):
            tester = self.trials(config)
        self.gateway = respond if hasattr(respond, "ask") else self.says.gateway(respond)
        return propose_rules(
            environment=environment,
            policy=policy,
            config=config,
            trajectories=trajectories,
            narrations=told if narrations is None else narrations,
            gateway=self.gateway,
            tester=tester,
            checkpoint=self.folder / "agents.sqlite",
            emit=self.events.append,
            stop=lambda: False,
            source="scripted",
        )

    def events_of(self, kind: str) -> list[Any]:
        return [event for event in self.events if type(event).__name__ == kind]

    def asked(self, agent: str) -> list[str]:
        """The last message of each question to `agent`."""
        return [row["messages"][-1][1] for row in self.gateway.asked if row["agent"] == agent]


@pytest.fixture
def bench(tmp_path: Path, says: Any) -> RulesBench:
    return RulesBench(tmp_path, says)


class Tells:
    """Scripted answers about rules."""

    good, harmful, situations = GOOD, HARMFUL, SITUATIONS

    @staticmethod
    def rules(text: str = GOOD) -> dict[str, Any]:
        return {"reasoning": "Push along the motion.", "rules": text}

    @staticmethod
    def verdict(word: str = "accept", implicit: str = "none", expression: str = "") -> dict[str, Any]:
        return {"reasoning": f"I say {word}.", "implicit": implicit, "expression": expression, "verdict": word}

    @staticmethod
    def story(
        advisor: Any, critic: Any = None, identifier: Any = None, about: Sequence[str] = ()
    ) -> Callable[[str, str, int], Any]:
        """Answers in turn, for each agent on its own; the last one is repeated."""
        said: dict[str, int] = {}
        lists = {"identifier": identifier or SITUATIONS, "advisor": advisor, "critic": critic or Tells.verdict()}

        def respond(agent: str, message: str, before: int) -> Any:
            replies = lists[agent] if isinstance(lists[agent], list) else [lists[agent]]
            number, said[agent] = said.get(agent, 0), said.get(agent, 0) + 1
            return replies[min(number, len(replies) - 1)]

        return respond


@pytest.fixture
def tells() -> type[Tells]:
    return Tells
