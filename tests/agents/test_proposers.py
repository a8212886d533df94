from __future__ import annotations

import numpy as np
import pytest

from ultra_agents.agents.proposers import ControlProposer
from ultra_agents.config import AgentsConfig
from ultra_agents.contracts import DiscreteActions, Environment
from ultra_agents.errors import EnvironmentFault, Interrupted, PluginError
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions


@pytest.fixture
def control():
    def make(kind="random", tester=None, seed=0, environment=None, emit=lambda event: None, checkpoint=None, **agents):
        return ControlProposer(
            kind=kind,
            environment=environment or Corridor(CorridorOptions()),
            agents=AgentsConfig(**agents),
            tester=tester,
            streams=Streams(seed).child("proposer"),
            emit=emit,
            checkpoint=checkpoint,
        )

    return make


def episodes(item, count=8):
    return [item(episode=number) for number in range(count)]


def never():
    return False


def test_random_proposes_as_many_as_an_identifier_may(control, item):
    made = control(max_critical=3, min_hold=2, max_hold=5).explain_all(episodes(item), 1, never)
    for explanation in made:
        steps = [state.step for state in explanation.critical]
        assert len(set(steps)) == len(steps) == explanation.proposed == len(explanation.advice) == 3
        assert all(0 <= step < 8 for step in steps)
    rows = [row for explanation in made for row in explanation.advice]
    assert all(row.action != row.taken_action for row in rows)
    assert {row.hold for row in rows} == {2, 3, 4, 5}
    assert {row.step for row in rows} == set(range(8))
    assert {(row.reward, row.taken_reward, row.source, row.test) for row in rows} == {(1.0, -1.0, "random", None)}


def test_any_other_action_is_drawn(control, item):
    class Four(Corridor):
        @property
        def actions(self):
            return DiscreteActions(("LEFT", "RIGHT", "JUMP", "SIT"))

    items = [item(episode=number, actions="RLRLRLRL") for number in range(12)]
    made = control(environment=Four(CorridorOptions())).explain_all(items, 1, never)
    assert {row.action for explanation in made for row in explanation.advice} == {"LEFT", "RIGHT", "JUMP", "SIT"}


def test_equal_seeds_propose_alike_whatever_the_concurrency(control, item):
    one, two = (control(seed=3).explain_all(episodes(item), number, never) for number in (1, 4))
    assert one == two
    backwards = control(seed=3).explain_all(episodes(item)[::-1], 1, never)
    assert backwards[::-1] == one
    assert control(seed=4).explain_all(episodes(item), 1, never) != one


def test_a_short_segment_gives_fewer(control, item):
    (made,) = control(max_critical=9).explain_all([item(actions="RL")], 1, never)
    assert made.proposed == 2


def test_where_there_is_no_other_action_nothing_is_proposed(control, item):
    class Only(Corridor):
        @property
        def actions(self):
            return DiscreteActions(("LEFT",))

    (made,) = control(environment=Only(CorridorOptions())).explain_all([item(actions="LLLL")], 1, never)
    assert made.proposed == 0
    assert {drop.reason for drop in made.drops} == {"no other action"}


@pytest.mark.parametrize("kind", ["random", "oracle"])
def test_the_same_test_decides_and_nothing_is_revised(control, item, says, kind):
    events = []
    tester = says.tester([-0.5, 0.5])
    (made,) = control(kind, tester, emit=events.append, max_revisions=5).explain_all([item()], 1, never)
    assert made.proposed == len(tester.tested) == 3
    assert [drop.reason for drop in made.drops] == ["no gain in simulation"]
    assert [row.test.gain for row in made.advice] == [0.5, 0.5]
    assert made.env_steps == 300
    decided = [event.decision for event in events if type(event).__name__ == "AdviceDecided"]
    assert decided == ["reject", "accept", "accept"]


def test_the_oracle_proposes_what_the_expert_would_have_done(control, item):
    (made,) = control("oracle", max_critical=8, max_hold=3).explain_all([item(actions="RLRLLLLL")], 1, never)
    assert [(row.step, row.action, row.hold) for row in made.advice] == [
        (1, "RIGHT", 3), (3, "RIGHT", 3), (4, "RIGHT", 3), (5, "RIGHT", 3), (6, "RIGHT", 2), (7, "RIGHT", 1),
    ]  # fmt: skip
    assert {row.source for row in made.advice} == {"oracle"}


def test_the_oracle_holds_only_while_the_expert_would(control, item):
    class Picky(Corridor):
        def expert(self):
            return lambda observations: np.where(observations[:, 0] > 0.2, 0, 1)

    environment = Picky(CorridorOptions())
    (made,) = control("oracle", environment=environment, max_critical=8).explain_all(
        [item(actions="LRRRRR")], 1, never
    )
    held = {row.step: (row.action, row.hold) for row in made.advice}
    assert held[0] == ("RIGHT", 3)  # cells 4, 3, 4, then 5: there it would go LEFT
    assert 1 not in held


def test_an_expert_that_agrees_everywhere_has_nothing_to_propose(control, item):
    (made,) = control("oracle").explain_all([item(actions="RRRR", reward=0.99)], 1, never)
    assert (made.critical, made.proposed, made.advice) == ((), 0, ())


def test_an_oracle_needs_an_expert(control):
    class Ignorant(Corridor):
        expert = Environment.expert

    with pytest.raises(PluginError, match="Ignorant knows no expert"):
        control("oracle", environment=Ignorant(CorridorOptions()))


def test_an_expert_that_fails_is_named(control, item):
    class Failing(Corridor):
        def expert(self):
            return lambda observations: 1 / 0

    with pytest.raises(EnvironmentFault, match="Failing failed at expert"):
        control("oracle", environment=Failing(CorridorOptions())).explain_all([item()], 1, never)


def test_a_stopped_control_goes_on_without_testing_twice(control, item, says, tmp_path):
    tester = says.tester([0.5])
    checkpoint = tmp_path / "control.sqlite"
    with pytest.raises(Interrupted):
        control(tester=tester, checkpoint=checkpoint).explain_all(
            episodes(item, 4), 1, lambda: len(tester.tested) >= 5
        )
    assert len(tester.tested) == 5
    made = control(tester=tester, checkpoint=checkpoint).explain_all(episodes(item, 4), 2, never)
    assert len(tester.tested) == 12
    assert made == control(tester=says.tester([0.5])).explain_all(episodes(item, 4), 2, never)


def test_another_seed_does_not_take_up_the_checkpoint(control, item, tmp_path):
    checkpoint = tmp_path / "control.sqlite"
    first = control(seed=1, checkpoint=checkpoint).explain_all(episodes(item), 1, never)
    assert control(seed=2, checkpoint=checkpoint).explain_all(episodes(item), 1, never) != first
