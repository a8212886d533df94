"""Identification fidelity, where the answer is known: a corridor in which only some steps decide anything."""

from __future__ import annotations

import numpy as np
import pytest

from ultra_agents.contracts import Policy
from ultra_agents.errors import ConfigError
from ultra_agents.records import CriticalState, Explanation, Segment, Trajectory
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.verification.fidelity import critical_window, measure_fidelity

LENGTH = 41
ENVIRONMENT = Corridor(CorridorOptions(length=LENGTH, max_steps=60, lure=-1.0, goal=1.0, step_cost=0.0))


class Drift(Policy):
    """Away from the middle: RIGHT on the right half, LEFT on the left one."""

    def act(self, observations, rng=None, deterministic=False):
        return (observations[:, 0] >= 0).astype(np.int64)

    def value(self, observations):
        return np.zeros(len(observations))

    def act_with_uniforms(self, observations, uniforms):
        return self.act(observations)

    def state(self):
        return {}, {}


def episode(number=0):
    """From the middle to the goal: only at the first few steps can random actions turn it round."""
    envs = ENVIRONMENT.make(1)
    seen, _ = envs.reset(seed=[number])
    observations, states, rewards, ended = [], [], [], False
    while not ended:
        observations.append(seen[0].copy())
        states.append(ENVIRONMENT.snapshot(envs, [0])[0])
        seen, reward, terminated, truncated, _ = envs.step(np.array([1]))
        rewards.append(float(reward[0]))
        ended = bool(terminated[0] or truncated[0])
    count = len(rewards)
    return Trajectory(
        number, number, np.array(observations), np.ones(count, np.int64), np.array(rewards), np.zeros(count),
        tuple({} for _ in range(count)), True, False, tuple(states),
    )  # fmt: skip


def explained(trajectory, *steps):
    segment = Segment(trajectory.episode, 0, len(trajectory), "whole")
    critical = tuple(CriticalState(step, "x", 1.0) for step in steps)
    return Explanation(segment, critical)


def measure(steps, episodes=6, width=16, **more):
    trajectories = [episode(number) for number in range(episodes)]
    with make_simulators(ENVIRONMENT, width) as simulators:
        return measure_fidelity(
            [explained(trajectory, *steps) for trajectory in trajectories], trajectories, environment=ENVIRONMENT,
            policy=Drift(), simulators=simulators, streams=Streams(0), horizon=60, discount=1.0, **more,
        )  # fmt: skip


def test_steps_that_decide_score_above_random_ones_and_the_others_below():
    good, bad = measure([0]), measure([18])
    first = good.scores[0]
    assert first.d_critical > first.d_random
    wide = measure([0], repeats=16, shares=(0.4,)).scores[0]
    assert wide.difference == pytest.approx(wide.critical - wide.random)
    assert wide.difference > 0
    assert bad.scores[0].critical is None, "nothing that happens at the end changes the return"
    assert bad.scores[0].d_critical == 0
    assert [score.share for score in good.scores] == [0.1, 0.2, 0.3, 0.4]


def test_the_score_is_the_formula():
    found = measure([0], shares=(0.25,))
    (score,) = found.scores
    length = len(episode())
    ratio = round(0.25 * length) / length
    assert score.critical == pytest.approx(np.log(score.d_critical / found.d_max) - np.log(ratio))
    assert score.d_critical <= found.d_max <= 2.0


def test_steps_are_counted_and_bounded():
    found = measure([0], episodes=2, repeats=2, shares=(0.1,))
    assert found.windows == 2 * 2 * 2
    assert 0 < found.env_steps <= found.windows * 2 * (2 + 60)


@pytest.mark.parametrize("width", [2, 5, 64])
def test_the_measurement_does_not_depend_on_how_many_play_at_once(width):
    assert measure([0], 3, width, repeats=2) == measure([0], 3, 16, repeats=2)


def test_the_interval_needs_three_stretches():
    many = {"repeats": 16, "shares": (0.4,)}
    assert measure([0], 2, **many).scores[0].low is None
    (score,) = measure([0], 6, **many).scores
    assert score.low <= score.difference <= score.high


def test_without_critical_steps_there_is_nothing_to_measure():
    assert measure([]) is None


def test_one_simulator_makes_no_pair():
    with pytest.raises(ConfigError, match="in pairs"):
        measure([0], 1, 1)


def at(*weights):
    """Critical states with (step, importance)."""
    return [CriticalState(step, "x", importance) for step, importance in weights]


@pytest.mark.parametrize(
    ("critical", "length", "start"),
    [
        (at((105, 1.0)), 1, 105),
        (at((105, 1.0)), 5, 103),  # in its middle
        (at((100, 1.0)), 5, 100),  # at the edge as near to the middle as it goes
        (at((119, 1.0)), 5, 115),
        (at((102, 0.2), (110, 0.9)), 3, 109),
        (at((102, 0.2), (110, 0.9), (104, 0.8)), 3, 102),  # 1.0 together
        (at((104, 0.0)), 3, 103),
    ],
)
def test_the_window_holds_the_most_importance(critical, length, start):
    assert critical_window(Segment(0, 100, 120, "x"), critical, length) == start


def test_agreement_of_a_panel_counts():
    states = [CriticalState(2, "x", 0.9, agreement=0.3), CriticalState(15, "x", 0.6, agreement=1.0)]
    assert critical_window(Segment(0, 0, 20, "x"), states, 3) == 14
