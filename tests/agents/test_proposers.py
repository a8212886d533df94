from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from gymnasium.spaces import Discrete

from ultra_agents.agents.controls import ExpertRollout, Oracle, Proposal, Random, Value
from ultra_agents.agents.proposer import control_proposer
from ultra_agents.config import AgentsConfig, VerificationConfig
from ultra_agents.contracts import DiscreteActions, Environment
from ultra_agents.errors import EnvironmentFault, Interrupted, PluginError
from ultra_agents.records import CriticalState, Plan, Segment
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions


@pytest.fixture
def control():
    def make(
        kind="random",
        tester=None,
        seed=0,
        environment=None,
        emit=lambda event: None,
        checkpoint=None,
        verification=None,
        play=None,
        **agents,
    ):
        streams, numbers = Streams(seed).child("proposer"), AgentsConfig(**agents)
        world = environment or Corridor(CorridorOptions())
        made = (
            Oracle(streams, world, play, numbers.expert_steps)
            if kind == "oracle"
            else {"random": Random, "value": Value}[kind](streams)
        )
        return control_proposer(
            control=made,
            environment=world,
            agents=numbers,
            tester=tester,
            emit=emit,
            checkpoint=checkpoint,
            verification=verification,
        )

    return make


class Playing:
    """Lets an expert play on in the corridor of 9 cells, as a simulator would."""

    def __init__(self):
        self.asked = []

    def __call__(self, trajectory, step, length, expert):
        self.asked.append((trajectory.episode, step))
        cell, actions = trajectory.infos[step]["cell"], []
        while len(actions) < length and 0 < cell < 8:
            actions.append(int(expert(np.array([[2 * cell / 8 - 1]], dtype=np.float32))[0]))
            cell += 2 * actions[-1] - 1
        return ExpertRollout(np.array(actions), len(actions))


def episodes(item, count=8):
    return [item(episode=number) for number in range(count)]


def test_random_proposes_as_many_as_an_identifier_may(control, item):
    made = control(max_critical=3, min_hold=2, max_hold=5).explain(episodes(item))
    for explanation in made:
        steps = [state.step for state in explanation.states]
        assert len(set(steps)) == len(steps) == len(explanation.attempts) == len(explanation.advice) == 3
        assert all(0 <= step < 8 for step in steps)
    rows = [row for explanation in made for row in explanation.advice]
    assert any(row.plan.actions == row.taken_action for row in rows), "the action taken may be held, too"
    assert {row.plan.steps for row in rows} == {2, 3, 4, 5}
    assert {row.step for row in rows} == set(range(8))
    assert {(row.reward, row.taken_reward, row.source, row.test) for row in rows} == {(1.0, -1.0, "random", None)}


def test_any_other_action_is_drawn(control, item):
    class Four(Corridor):
        @property
        def action_space(self):
            return Discrete(4)

        @property
        def actions(self):
            return DiscreteActions(("LEFT", "RIGHT", "JUMP", "SIT"))

    items = [item(episode=number, actions="RLRLRLRL") for number in range(12)]
    made = control(environment=Four(CorridorOptions())).explain(items)
    assert {row.plan.actions for explanation in made for row in explanation.advice} == {"LEFT", "RIGHT", "JUMP", "SIT"}


def test_equal_seeds_propose_alike_whatever_the_concurrency(control, item):
    one, two = (control(seed=3).explain(episodes(item), number) for number in (1, 4))
    assert one == two
    backwards = control(seed=3).explain(episodes(item)[::-1])
    assert backwards[::-1] == one
    assert control(seed=4).explain(episodes(item)) != one


def test_a_short_segment_gives_fewer(control, item):
    (made,) = control(max_critical=9).explain([item(actions="RL")])
    assert len(made.attempts) == 2


def test_where_there_is_no_other_action_nothing_is_proposed(control, item):
    class Only(Corridor):
        @property
        def actions(self):
            return DiscreteActions(("LEFT",))

    (made,) = control(environment=Only(CorridorOptions())).explain([item(actions="LLLL")])
    assert len(made.attempts) == 0
    assert {drop.reason for drop in made.drops} == {"no other action"}


@pytest.mark.parametrize("kind", ["random", "oracle"])
def test_the_same_test_decides_and_nothing_is_revised(control, item, says, kind):
    events = []
    tester = says.tester([-0.5, 0.5])
    (made,) = control(kind, tester, emit=events.append, max_revisions=5).explain([item()])
    assert len(made.attempts) == len(tester.tested) == 3
    assert [drop.reason for drop in made.drops] == ["no gain in simulation"]
    assert [row.test.gain for row in made.advice] == [0.5, 0.5]
    assert made.env_steps == 300
    decided = [event.decision for event in events if type(event).__name__ == "AdviceDecided"]
    assert decided == ["reject", "accept", "accept"]


def test_the_oracle_proposes_what_the_expert_would_have_done(control, item):
    play = Playing()
    oracle = control("oracle", play=play, max_critical=8, max_moves=1, max_hold=3)
    (made,) = oracle.explain([item(actions="RLRLLLLL")])
    assert [(row.step, row.plan.moves) for row in made.advice] == [  # to the goal, from cells 5, 5, 4, 3, 2, 1
        (1, (("RIGHT", 3),)), (3, (("RIGHT", 3),)), (4, (("RIGHT", 4),)), (5, (("RIGHT", 5),)),
        (6, (("RIGHT", 6),)), (7, (("RIGHT", 7),)),
    ], "the upper bound is not bound to the advisor's numbers"  # fmt: skip
    assert play.asked == [(0, step) for step in (1, 3, 4, 5, 6, 7)]
    assert made.env_steps == 3 + 3 + 4 + 5 + 6 + 7
    assert {row.source for row in made.advice} == {"oracle"}


class Picky(Corridor):
    """Its expert turns round beyond cell 4."""

    def expert(self):
        return lambda observations: np.where(observations[:, 0] > 0.2, 0, 1)


def test_the_oracle_follows_its_own_states_where_it_can_and_the_policys_where_not(control, item):
    def plan_at_0(play):
        oracle = control("oracle", environment=Picky(CorridorOptions()), play=play, max_critical=8, expert_steps=6)
        (made,) = oracle.explain([item(actions="LRRRRR")])
        return made.advice[0].plan.moves, made.env_steps / len(made.attempts)

    turning = tuple((name, 1) for name in ("RIGHT", "LEFT") * 3)  # cells 4, 5, 4, 5, 4, 5
    assert plan_at_0(Playing()) == (turning, 6)
    assert plan_at_0(None) == ((("RIGHT", 3), ("LEFT", 3)), 0)  # cells 4, 3, 4, 5, 6, 7 of the episode


def test_the_oracles_steps_are_charged_once_even_after_an_interrupt(control, item, says, tmp_path):
    agents = {"max_critical": 3, "expert_steps": 5}
    whole, cut, tester = Playing(), Playing(), says.tester([0.5])
    expected = control("oracle", says.tester([0.5]), play=whole, **agents).explain(episodes(item, 4))
    checkpoint = tmp_path / "control.sqlite"
    with pytest.raises(Interrupted):
        control("oracle", tester, play=cut, checkpoint=checkpoint, **agents).explain(
            episodes(item, 4), 1, lambda: len(tester.tested) >= 5
        )
    made = control("oracle", tester, play=cut, checkpoint=checkpoint, **agents).explain(episodes(item, 4))
    assert made == expected
    assert cut.asked == whole.asked, "no plan is looked for twice"
    tests = sum(attempt.test.env_steps for one in made for attempt in one.attempts if attempt.test)
    plans = sum(row.plan.steps for one in made for row in one.advice)
    assert sum(one.env_steps for one in made) == tests + plans
    assert plans > 0


def test_the_oracle_holds_only_while_the_expert_would(control, item):
    environment = Picky(CorridorOptions())
    (made,) = control("oracle", environment=environment, max_critical=8).explain([item(actions="LRRRRR")])
    held = {row.step: row.plan.moves[0] for row in made.advice}
    assert held[0] == ("RIGHT", 3)  # cells 4, 3, 4, then 5: there it would go LEFT
    assert 1 not in held


def test_an_expert_that_agrees_everywhere_has_nothing_to_propose(control, item):
    (made,) = control("oracle").explain([item(actions="RRRR", reward=0.99)])
    assert (made.states, made.attempts, made.advice) == ((), (), ())


def test_an_oracle_needs_an_expert(control):
    class Ignorant(Corridor):
        expert = Environment.expert

    with pytest.raises(PluginError, match=r"Ignorant .*knows no expert"):
        control("oracle", environment=Ignorant(CorridorOptions()))


def test_an_expert_that_fails_is_named(control, item):
    class Failing(Corridor):
        def expert(self):
            return lambda observations: 1 / 0

    with pytest.raises(EnvironmentFault, match=r"Failing .*failed at expert"):
        control("oracle", environment=Failing(CorridorOptions())).explain([item()])


def test_a_stopped_control_goes_on_without_testing_twice(control, item, says, tmp_path):
    tester = says.tester([0.5])
    checkpoint = tmp_path / "control.sqlite"
    with pytest.raises(Interrupted):
        control(tester=tester, checkpoint=checkpoint).explain(episodes(item, 4), 1, lambda: len(tester.tested) >= 5)
    assert len(tester.tested) == 5
    made = control(tester=tester, checkpoint=checkpoint).explain(episodes(item, 4), 2)
    assert len(tester.tested) == 12
    assert made == control(tester=says.tester([0.5])).explain(episodes(item, 4), 2)


def test_another_seed_does_not_take_up_the_checkpoint(control, item, tmp_path):
    checkpoint = tmp_path / "control.sqlite"
    first = control(seed=1, checkpoint=checkpoint).explain(episodes(item))
    assert control(seed=2, checkpoint=checkpoint).explain(episodes(item)) != first


def test_random_never_repeats_the_action_taken_for_one_step(control, item):
    made = control(max_critical=8, max_hold=1).explain(episodes(item))
    rows = [row for explanation in made for row in explanation.advice]
    assert len(rows) == 64
    assert {len(row.plan.moves) for row in rows} == {1}
    assert all(row.plan.actions != row.taken_action for row in rows)


def test_random_plans_have_every_length_and_no_two_equal_moves_in_a_row(control, item):
    made = control(max_critical=8, max_moves=3, max_hold=2).explain(episodes(item))
    plans = [row.plan.moves for explanation in made for row in explanation.advice]
    assert {len(plan) for plan in plans} == {1, 2, 3}
    assert all(first[0] != second[0] for plan in plans for first, second in pairwise(plan))


def test_value_looks_where_the_estimate_fell_most(control, item):
    trajectory, narration = item()
    values = np.array([0.0, 0.5, 0.4, 0.9, 0.1, 0.2, 0.0, 3.0])
    made = control("value", max_critical=2).explain([(replace(trajectory, values=values), narration)])
    assert [(state.step, state.importance) for state in made[0].states] == [(3, 1.0), (5, pytest.approx(0.25))]
    assert {row.source for row in made[0].advice} == {"value"}


def test_value_without_estimates_proposes_nothing(control, item):
    (made,) = control("value").explain([item()])
    assert (made.states, made.attempts) == ((), ())


def test_value_looks_at_its_segment_only(control, item):
    trajectory, narration = item()
    values = np.linspace(1, 0, 8) ** 3  # falls most at step 0
    part = replace(narration, segment=Segment(0, 2, 6, "part"), steps=(2, 3, 4, 5))
    (made,) = control("value", max_critical=1).explain([(replace(trajectory, values=values), part)])
    assert [state.step for state in made.states] == [2]


def test_the_oracle_plans_as_the_expert_acts_along_the_episode(control, item):
    environment = Picky(CorridorOptions())
    (made,) = control("oracle", environment=environment, max_critical=8, max_moves=2, max_hold=8).explain(
        [item(actions="LRRRRR")]
    )
    plans = {row.step: row.plan.moves for row in made.advice}
    assert plans[0] == (("RIGHT", 3), ("LEFT", 3))  # cells 4, 3, 4, then 5 and on: there it would go LEFT


@pytest.mark.parametrize("closed", [True, False])
def test_the_oracles_plan_takes_expert_steps_at_most(control, item, closed):
    play = Playing() if closed else None
    oracle = control("oracle", play=play, max_critical=8, max_moves=1, max_hold=1, expert_steps=4)
    (made,) = oracle.explain([item(actions="RLRLRLRL")])
    lengths = {row.step: row.plan.steps for row in made.advice}
    if closed:  # every second step in cell 5, three steps from the goal
        assert lengths == {1: 3, 3: 3, 5: 3, 7: 3}
    else:  # the episode has no more states than these
        assert lengths == {1: 4, 3: 4, 5: 3, 7: 1}
    assert made.env_steps == (12 if closed else 0)


def test_the_oracles_plan_is_cut_at_expert_steps_in_the_simulator(control, item):
    (made,) = control("oracle", play=Playing(), max_critical=8, expert_steps=4).explain([item()])
    lengths = {row.step: row.plan.steps for row in made.advice}
    assert lengths == {1: 3, 3: 3, 4: 4, 5: 4, 6: 4, 7: 4}
    assert made.env_steps == 22


def test_illegal_proposals_are_dropped_and_counted(control, item, says, monkeypatch):
    tester = says.tester([0.5])
    moves = iter([("JUMP", 1), ("LEFT", 0), ("RIGHT", 2)])
    monkeypatch.setattr(Random, "propose", lambda *_: Proposal(Plan((next(moves),))))
    (made,) = control(tester=tester).explain([item()])
    assert [drop.reason for drop in made.drops] == ["invalid: illegal action", "invalid: hold below 1"]
    assert len([one for one in made.attempts if one.test]) == len(tester.tested) == 1


@pytest.mark.parametrize(("step", "reason"), [(8, "terminal step"), (9, "step outside the episode")])
def test_steps_without_an_action_are_dropped_and_counted(control, item, monkeypatch, step, reason):
    monkeypatch.setattr(Random, "critical_states", lambda *_: [CriticalState(step, "x", 1.0)])
    monkeypatch.setattr(Random, "propose", lambda *_: Proposal(Plan((("RIGHT", 2),))))
    (made,) = control().explain([item()])
    assert [drop.reason for drop in made.drops] == [f"invalid: {reason}"]
    assert made.advice == ()


def test_a_changed_test_is_run_again(control, item, says, tmp_path):
    checkpoint = tmp_path / "control.sqlite"
    tester = says.tester([0.5])
    for horizon in (60, 60, 90):
        rule = VerificationConfig(horizon=horizon)
        control(tester=tester, checkpoint=checkpoint, verification=rule).explain([item()])
    assert len(tester.tested) == 6
