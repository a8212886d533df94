"""Where to look: what is told, that it is right where the answer is known, and what it costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ultra_agents.config import NarrationConfig
from ultra_agents.contracts import Policy
from ultra_agents.narration import narrate
from ultra_agents.narration.prescreen import Evidence, by_simulator, by_value, reserve, with_evidence
from ultra_agents.records import Segment
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions

ENVIRONMENT = Corridor(CorridorOptions(length=9, max_steps=40, lure=0.2))


class Left(Policy):
    """Always LEFT; every state is worth nothing."""

    def act(self, observations, rng=None, deterministic=False):
        return np.zeros(len(observations), np.int64)

    def value(self, observations):
        return np.zeros(len(observations))

    def act_with_uniforms(self, observations, uniforms):
        return np.zeros(len(observations), np.int64)

    def state(self):
        return {}, {}


class Sims:
    """Corridors that restore."""

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.envs = ENVIRONMENT.make(num_envs)
        self.steps = 0

    def reset(self, *, seed=None):
        return self.envs.reset(seed=seed)

    def restore(self, indices, snapshots):
        return ENVIRONMENT.restore(self.envs, indices, snapshots)

    def step(self, actions):
        self.steps += 1
        return self.envs.step(actions)


@pytest.fixture
def walk(episode):
    """Three steps from the middle to the right, then back: cells 4 5 6 7 6 5 4 3."""

    def make():
        envs = ENVIRONMENT.make(1)
        seen, _ = envs.reset(seed=[0])
        observations, states, rewards = [], [], []
        actions = [1, 1, 1, 0, 0, 0, 0, 0]
        for action in actions:
            observations.append(seen[0].copy())
            states.append(ENVIRONMENT.snapshot(envs, [0])[0])
            seen, reward, *_ = envs.step(np.array([action]))
            rewards.append(float(reward[0]))
        return replace(
            episode(rewards, values=[0.0, 0.1, 0.3, 0.9, 0.2, 0.2, 0.1, 0.1]),
            observations=np.array(observations), actions=np.array(actions), snapshots=tuple(states),
            infos=tuple({"cell": cell} for cell in (4, 5, 6, 7, 6, 5, 4, 3)),
        )  # fmt: skip

    return make


def told(trajectory, **config):
    settings = NarrationConfig(stride=1, **config)
    return narrate(trajectory, Segment(trajectory.episode, 0, 8, "whole"), ENVIRONMENT, settings), settings


def test_values_name_the_steps_of_the_largest_change(walk):
    trajectory = walk()
    narration, config = told(trajectory, prescreen_steps=2)
    found = by_value(trajectory, narration, config)
    assert found.lines == (
        "Evidence: the policy's own estimate of what is to come changed most after step 3 (-0.7), step 2 (+0.6).",
    )
    assert found.env_steps == 0
    assert found.steps == (3, 2)


def test_values_that_never_change_are_no_evidence(walk):
    trajectory = replace(walk(), values=np.zeros(8))
    narration, config = told(trajectory)
    assert by_value(trajectory, narration, config) == Evidence()


def look(trajectory, width, won=(), **changes):
    narration, config = told(trajectory, **{"prescreen_states": 8, "prescreen_horizon": 12, **changes})
    narration = replace(narration, won=won)
    sims = Sims(width)
    found = by_simulator(
        trajectory, narration, config, environment=ENVIRONMENT, policy=Left(), simulators=sims, streams=Streams(0),
        hold=3, discount=1.0,
    )  # fmt: skip
    return found, sims


def test_steps_of_a_point_won_are_not_pointed_at(walk):
    trajectory = walk()
    narration, config = told(trajectory, prescreen_steps=2)
    assert 3 in narration.candidates
    won = replace(narration, won=(2, 3))
    found = by_value(trajectory, won, config)
    assert found.steps
    assert not {2, 3} & set(found.steps)
    more = with_evidence(won, found)
    assert more.candidates == won.candidates
    assert by_value(trajectory, replace(narration, won=narration.steps), config) == Evidence()


def test_the_simulator_tries_candidates_alone(walk):
    found, _ = look(walk(), 16, won=(0, 2, 3, 4, 6, 7))
    assert found.steps == (1,) or found.steps == (5,)
    assert "in short simulations of 2 of these steps" in found.lines[0]
    found, sims = look(walk(), 16, won=tuple(range(8)))
    assert (found, sims.steps) == (Evidence(), 0)


def test_the_simulator_finds_the_steps_from_which_the_goal_can_be_reached(walk):
    found, _ = look(walk(), 16, prescreen_steps=3)
    (line,) = found.lines
    # RIGHT held 3 steps arrives from cells 5, 6 and 7 only: steps 1, 2, 3, 4 and 5.
    named = [int(word) for word in line.replace("(", " ").split() if word.isdigit()][1:]
    assert named == [3, 2, 4] == list(found.steps)
    assert "in short simulations of 8 of these steps" in line


@pytest.mark.parametrize("width", [1, 3, 16])
def test_the_finding_does_not_depend_on_how_many_play_at_once(walk, width):
    assert look(walk(), width)[0] == look(walk(), 5)[0]


def test_the_cost_is_counted_and_bounded(walk):
    found, sims = look(walk(), 4, prescreen_states=2, prescreen_horizon=5)
    assert 0 < found.env_steps <= 2 * 2 * 5
    assert sims.steps <= 5


def test_without_states_there_is_no_evidence(walk):
    assert look(replace(walk(), snapshots=None), 4)[0] == Evidence()


def test_evidence_stands_at_the_end_of_the_narration(walk):
    narration, _ = told(walk())
    more = with_evidence(narration, Evidence(("Evidence: look.",), 7))
    assert more.text == narration.text + "\nEvidence: look."
    assert more.tokens > narration.tokens
    assert more.steps == narration.steps
    assert (narration.env_steps, more.env_steps) == (0, 7)
    assert with_evidence(narration, Evidence()) == narration
    silent = with_evidence(narration, Evidence((), 7))
    assert silent == replace(narration, env_steps=7), "looking in vain is charged, too"


def test_evidence_fits_the_token_budget(walk):
    trajectory = walk()
    config = NarrationConfig(stride=1, token_budget=230, prescreen="value")
    narration = narrate(trajectory, Segment(trajectory.episode, 0, 8, "whole"), ENVIRONMENT, reserve(config))
    assert with_evidence(narration, by_value(trajectory, narration, config)).tokens <= 230
