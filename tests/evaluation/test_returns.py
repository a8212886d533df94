"""Evaluation ends although an episode does not."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from ultra_agents.errors import Interrupted
from ultra_agents.evaluation.returns import POLL_STEPS, evaluate_returns
from ultra_agents.exchange import scoring
from ultra_agents.exchange.scoring import UniformPolicy
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams


class Endless(gymnasium.Env[Any, Any]):
    """Half of the episodes, by their seeds, end after five steps, the others never."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.left = 5 if self.np_random.random() < 0.5 else 10**9
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        return np.zeros(1, np.float32), 1.0, self.left == 0, False, {}


@pytest.fixture
def endless() -> Any:
    gymnasium.register("Odd/Endless-v0", entry_point=Endless)
    yield create_environment("gymnasium:Odd/Endless-v0")
    gymnasium.registry.pop("Odd/Endless-v0")


def test_an_episode_that_does_not_end_is_cut_and_told(endless: Any) -> None:
    notes: list[str] = []
    with make_simulators(endless, 3) as simulators:
        found = evaluate_returns(
            UniformPolicy(endless), endless, simulators, range(8), Streams(0), max_steps=40, on_note=notes.append
        )
    assert set(found.lengths) == {5, 40}
    assert found.values == tuple(map(float, found.lengths))
    (note,) = notes
    assert note.startswith(f"{found.lengths.count(40)} of 8 episodes had not ended after 40 steps")
    assert "environment.options.max_steps" in note


def test_environments_whose_episode_has_ended_are_not_stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation costs the steps of its episodes, not of the longest one times their number."""
    corridor, stepped = create_environment("corridor"), [0]
    with make_simulators(corridor, 6) as simulators:
        kind = type(simulators._envs)  # type: ignore[attr-defined]
        advance = kind._advance

        def counted(envs: Any, actions: Any) -> Any:
            stepped[0] += len(envs.active)
            return advance(envs, actions)

        monkeypatch.setattr(kind, "_advance", counted)
        policy = UniformPolicy(corridor)
        found = evaluate_returns(policy, corridor, simulators, range(15), Streams(0))
        assert len(set(found.lengths)) > 1, "episodes of different lengths"
        assert stepped[0] == sum(found.lengths)
        stepped[0] = 0
        episodes = collect(policy, corridor, simulators, range(15), Streams(0), 1000)
        assert stepped[0] == sum(map(len, episodes))
        assert tuple(map(len, episodes)) == found.lengths


def test_where_all_end_nothing_is_told() -> None:
    corridor = create_environment("corridor")
    with make_simulators(corridor, 2) as simulators:
        policy, notes = UniformPolicy(corridor), list[str]()
        whole = evaluate_returns(policy, corridor, simulators, range(4), Streams(0), on_note=notes.append)
        exact = evaluate_returns(
            policy, corridor, simulators, range(4), Streams(0), max_steps=max(whole.lengths), on_note=notes.append
        )
    assert whole == exact
    assert notes == []


def test_stop_ends_an_evaluation_and_a_collection_that_would_not_end(endless: Any) -> None:
    asked = 0

    def poll() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise Interrupted("stopped")

    with make_simulators(endless, 3) as simulators:
        policy = UniformPolicy(endless)
        with pytest.raises(Interrupted):
            evaluate_returns(policy, endless, simulators, range(3), Streams(0), max_steps=10 * POLL_STEPS, poll=poll)
        asked = 0
        with pytest.raises(Interrupted):
            collect(policy, endless, simulators, range(3), Streams(0), 10**9, poll=poll)


def test_a_score_says_that_episodes_were_cut(endless: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        scoring, "evaluate_returns", lambda *args, **rest: evaluate_returns(*args, **rest, max_steps=30)
    )
    found = scoring.score(UniformPolicy(endless), endless, 4, 0, said.append)
    assert max(found.sampled.lengths) == 30
    assert len(said) == 2
    assert "had not ended after 30 steps" in said[0]
