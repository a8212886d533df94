from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ultra_agents_plugins.methods.jsrl import JSRL, JsrlOptions, JumpStart

from tests.methods.chain import CELLS, Chain, Right, settings
from ultra_agents.contracts import Modulated, Setting
from ultra_agents.records import Trajectory
from ultra_agents.registry import create_algorithm
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams

NEVER, ALWAYS = np.zeros(3, bool), np.ones(3, bool)
LEFT = np.zeros(3, np.int64)


def guide(**changes: Any) -> JumpStart:
    config = JsrlOptions(**{"stages": 5, "window": 4, "tolerance": 0.1, **changes})
    made = JumpStart(Right(), 10, 1.0, config, np.random.default_rng(0))
    made.begin(3)
    return made


def step(one: JumpStart, ended: np.ndarray = NEVER, reward: float = 0.0) -> Modulated:  # type: ignore[type-arg]
    observations = np.zeros((3, CELLS), np.float32)
    done = one.act(observations, LEFT)
    assert one.reward(np.full(3, reward), done, observations, ended).tolist() == [reward] * 3
    return done


def episode(one: JumpStart, returns: float) -> None:
    step(one, ALWAYS, returns)


def test_the_guide_acts_for_exactly_the_first_steps_of_an_episode() -> None:
    one = guide()
    assert one.horizon == 8
    rows = [step(one) for _ in range(12)]
    assert [row.followed.all() for row in rows] == [True] * 8 + [False] * 4
    assert [row.actions.tolist() for row in rows] == [[1, 1, 1]] * 8 + [[0, 0, 0]] * 4
    assert [row.probability.tolist() for row in rows] == [[1.0] * 3] * 8 + [[0.0] * 3] * 4
    step(one, np.array([False, True, False]))
    after = step(one)
    assert after.followed.tolist() == [False, True, False], "a new episode has begun there"
    assert after.actions.tolist() == [0, 1, 0]


def test_good_episodes_lower_the_horizon_and_poor_ones_do_not() -> None:
    one = guide()
    for _ in range(2):
        episode(one, 0.5)  # six episodes; below 0.9, the guide's 1.0 less a tenth
    assert one.horizon == 8
    episode(one, 1.0)
    assert one.horizon == 8, "the window still holds a poor one"
    episode(one, 1.0)
    assert one.horizon == 6


def test_an_episode_counts_for_the_stage_it_began_in() -> None:
    one = guide(window=3)
    episode(one, 1.0)
    assert one.horizon == 6
    one = guide(window=2)
    episode(one, 1.0)  # the third of these three episodes began under h = 8
    assert one.horizon == 6
    assert len(one._returns) == 0


def test_the_bar_rises_with_what_was_reached() -> None:
    one = guide(window=3)
    episode(one, 2.0)
    assert one.horizon == 6
    episode(one, 1.0)
    assert one.horizon == 6, "1.0 would do for the guide, not after 2.0"


def test_the_horizon_falls_at_least_linearly_and_is_0_in_time() -> None:
    one = guide(until=0.8)
    found = []
    for progress in (0.0, 0.15, 0.16, 0.35, 0.5, 0.64, 0.8, 1.0):
        one.set_progress(progress)
        found.append(one.horizon)
    assert found == [8, 8, 6, 4, 2, 0, 0, 0]


def test_a_linear_schedule_does_not_look_at_returns() -> None:
    one = guide(schedule="linear")
    for _ in range(10):
        episode(one, 100.0)
    assert one.horizon == 8
    one.set_progress(0.33)
    assert one.horizon == 4


def test_a_running_episode_keeps_its_horizon() -> None:
    one = guide()
    for _ in range(5):
        step(one)
    one.set_progress(0.64)
    assert one.horizon == 0
    assert step(one, ALWAYS).followed.all()
    assert not step(one).followed.any()


def test_state_is_exact_and_json() -> None:
    one, other = guide(), guide()
    for _ in range(3):
        episode(one, 1.0)
    step(one)
    other.load_state(json.loads(json.dumps(one.state())))
    assert other.state() == one.state()
    rows = [(step(one).followed.tolist(), step(other).followed.tolist()) for _ in range(12)]
    assert all(mine == its for mine, its in rows)
    assert rows[0][0] != rows[-1][0]


def test_metrics() -> None:
    one = guide()
    for _ in range(16):
        step(one)
    assert one.metrics() == {"override_rate": 0.5, "strength": 0.8, "guide_steps": 8.0}
    assert one.metrics()["override_rate"] == 0.0


def trajectory(length: int, reward: float) -> Trajectory:
    return Trajectory(
        0, 1, np.zeros((length, 1)), np.zeros(length, np.int64), np.full(length, reward), np.zeros(length),
        ({},) * length, True, False,
    )  # fmt: skip


@pytest.mark.parametrize("learner", ["copy", "fresh"])
def test_guide_length_return_and_charge_come_from_the_collected_episodes(
    setting: Callable[..., Setting], learner: str
) -> None:
    given = setting(
        config=settings(jsrl={"learner": learner}), trajectories=(trajectory(30, 0.1), trajectory(10, 0.1))
    )
    made = JSRL(JsrlOptions(learner=learner)).prepare(given)
    assert isinstance(made.modulation, JumpStart)
    assert made.modulation.horizon == 18
    assert made.modulation._best == pytest.approx(2.0)
    assert made.spent == {"collect": 40}
    assert made.fresh == (learner == "fresh")
    assert (made.start is given.start) == (learner == "copy")


def test_steps_of_the_guide_have_no_policy_loss(setting: Callable[..., Setting]) -> None:
    """Only the guide acts: the learner's actor moves no further than by the entropy bonus, which is off here."""
    environment = Chain(Chain.Options())
    algorithm = create_algorithm("ppo", {"hidden": [8], "num_steps": 12, "ent_coef": 0.0, "value_warmup_updates": 0})
    start = algorithm.create_policy(environment.observation_space, environment.action_space, 1)
    weights = {}
    for stages in (1000, 1):
        config = JsrlOptions(stages=stages, window=1000)
        one = JumpStart(Right(), 1000, 1.0, config, np.random.default_rng(0))
        with make_simulators(environment, 4) as simulators:
            trainer = algorithm.trainer(start, simulators, 480, Streams(1), one)
            trainer.update()
        weights[stages] = trainer.policy.state()[0]["actor.0.weight"]
    before = start.state()[0]["actor.0.weight"]
    assert np.array_equal(weights[1000], before)
    assert not np.array_equal(weights[1], before)


def test_an_algorithm_that_cannot_leave_steps_out_is_refused(setting: Callable[..., Setting]) -> None:
    given = setting()

    class Plain(type(given.terms.algorithm)):  # type: ignore[misc]
        learns = frozenset({"policy"})

    plain = dataclasses.replace(given.terms, algorithm=Plain(given.terms.algorithm.options))
    assert "`mask`" in JSRL(JsrlOptions()).missing(plain)[0]
    assert JSRL(JsrlOptions()).missing(given.terms) == []
