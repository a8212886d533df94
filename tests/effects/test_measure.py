"""What actions do, against what is known of the worlds, and against stepping them directly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ultra_agents.contracts import DiscreteActions, Environment
from ultra_agents.effects import Effect, Effects, effects_text
from ultra_agents.effects.measure import AHEAD
from ultra_agents.policies import load_policy
from ultra_agents.records import Trajectory
from ultra_agents.registry import create_environment
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.testing.corridor import Corridor, CorridorOptions


def find(effects: Effects | None, action: str, held: int, quantity: str, against: str, where: str = "") -> Effect:
    assert effects is not None
    (one,) = [
        row for row in effects.effects
        if (row.action, row.held, row.quantity, row.against, row.where) == (action, held, quantity, against, where)
    ]  # fmt: skip
    return one


@pytest.fixture
def corridor() -> Corridor:
    """So long that nobody reaches an end."""
    return Corridor(CorridorOptions(length=201, max_steps=60))


def test_a_step_in_the_corridor_is_one_cell_and_undoes_the_policys(
    corridor: Corridor, always: Any, play: Any, measure: Any
) -> None:
    policy = always(corridor, "LEFT")
    found = measure(corridor, policy, play(corridor, policy))
    assert find(found, "RIGHT", 1, "cell", "policy").typical == (2,) * 8
    assert find(found, "RIGHT", 2, "cell", "policy").typical == (2,) + (4,) * 7
    assert find(found, "RIGHT", 4, "to_right_end", "policy").typical == (-2, -4, -6, -8, -8, -8, -8, -8)
    assert find(found, "RIGHT", 8, "cell", "policy").typical == (2, 4, 6, 8, 10, 12, 14, 16)
    assert found.idle is None
    assert {row.against for row in found.effects} == {"policy"}
    assert {row.action for row in found.effects} == {"RIGHT"}, "LEFT is what the policy does anyway"
    assert {row.quantity for row in found.effects} == {"cell", "to_right_end"}, "every step earns the same"


def test_the_return_counts_as_a_quantity_and_an_end_ends_the_comparison(always: Any, play: Any, measure: Any) -> None:
    corridor = Corridor(CorridorOptions(length=9, max_steps=30, goal=1.0, lure=0.1, step_cost=0.0))
    policy = always(corridor, "LEFT")
    found = measure(corridor, policy, play(corridor, policy))
    assert find(found, "RIGHT", 8, "return", "policy").typical[0] == pytest.approx(-0.1 / 4), (
        "one state of four is next to it"
    )
    cells = find(found, "RIGHT", 8, "cell", "policy").typical
    assert cells[:2] == (2, 4)
    assert cells[-1] is None, "the policy is at the end before that"


def test_pushes_of_the_mountain_car_are_what_the_physics_says(always: Any, play: Any, measure: Any) -> None:
    car = create_environment("mountain-car")
    policy = always(car, "PUSH_RIGHT", "PUSH_LEFT", 0.5)
    found = measure(car, policy, play(car, policy, steps=150))
    assert found is not None
    assert found.idle == "COAST"
    for held in (1, 2, 4, 8):
        for sign, name in ((-1, "PUSH_LEFT"), (1, "PUSH_RIGHT")):
            speed = find(found, name, held, "velocity", "idle")
            assert speed.typical[0] == pytest.approx(sign * 0.001, abs=1e-6)
            assert speed.typical[held - 1] == pytest.approx(sign * 0.001 * held, rel=0.1)
            assert find(found, name, held, "position", "idle").typical[0] == pytest.approx(sign * 0.001, abs=1e-6)
            assert speed.surely > 2
            assert speed.size > 0.01
    assert not [row for row in found.effects if row.action == "COAST" and row.against == "idle"]


def direct(environment: Environment, simulators: Simulators, state: bytes, actions: list[Any]) -> dict[str, Any]:
    """Quantities after each of the actions from a state, played in the first simulator alone."""
    simulators.restore([0], [state])
    met = []
    for action in actions:
        batch = np.zeros((simulators.num_envs, *np.shape(action)), environment.action_space.dtype)
        batch[0] = action
        met.append(np.array(simulators.step(batch)[0])[0])
    return dict(environment.quantities(np.stack(met)))


@pytest.mark.parametrize(
    ("name", "acts", "other", "push", "quantity"),
    [("pong", "STAY", "DOWN", "UP", "own_y"), ("hopper", "rest", "hip=1", "knee=-1", "knee_v")],
)
def test_the_table_is_what_stepping_directly_gives(
    name: str, acts: str, other: str, push: str, quantity: str, always: Any, play: Any, measure: Any
) -> None:
    world = create_environment(name)
    policy = always(world, acts, other, 0.3)
    episodes: list[Trajectory] = play(world, policy, episodes=2, steps=10)  # so few that every state is tried
    found = measure(world, policy, episodes, max_steps=10**6, width=5)
    assert found is not None
    assert found.states == sum(map(len, episodes)) == 20
    encode, rows = world.actions.encode, []
    with make_simulators(world, 2) as simulators:
        simulators.reset(seed=[0, 1])
        for state in [state for one in episodes for state in one.snapshots or ()]:
            pushed = direct(world, simulators, state, [*[encode(push)] * 2, *[encode(acts)] * 6])
            idle = direct(world, simulators, state, [encode(acts)] * 8)
            rows.append(pushed[quantity] - idle[quantity])
    told = find(found, push, 2, quantity, "idle")
    assert told.typical == pytest.approx(np.median(rows, axis=0).tolist())
    at = int(np.argmax(np.abs(np.median(rows, axis=0))))
    assert (told.low, told.high) == pytest.approx(np.quantile([row[at] for row in rows], [0.1, 0.9]).tolist())


def test_up_moves_pongs_paddle_by_what_is_known(always: Any, play: Any, measure: Any) -> None:
    """A push of one step from rest moves it 22 px in all; in half of the games 10 in the first step, else 5."""
    pong = create_environment("pong")
    policy = always(pong, "STAY")
    episodes = play(pong, policy, episodes=6, steps=60)
    up = find(measure(pong, policy, episodes, max_steps=6000), "UP", 1, "own_y", "idle")
    assert up.typical[0] is not None
    assert -12 <= up.typical[0] <= -4
    assert up.typical[7] is not None
    assert -25 <= up.typical[7] <= -20
    assert up.typical == find(measure(pong, policy, episodes, max_steps=6000), "UP", 1, "own_y", "policy").typical


def test_a_component_is_tried_alone_at_both_ends(always: Any, play: Any, measure: Any) -> None:
    hopper = create_environment("hopper")
    policy = always(hopper, "rest", "knee=1", 0.4)
    found = measure(hopper, policy, play(hopper, policy, episodes=3))
    assert found is not None
    assert {row.action for row in found.effects} == {
        f"{part}={end}" for part in ("hip", "knee", "ankle") for end in (1, -1)
    }
    for sign in (1, -1):
        torque = find(found, f"knee={sign}", 1, "knee_v", "idle").typical[0]
        assert torque is not None
        assert np.sign(torque) == sign


def test_what_an_ankle_does_on_the_ground_is_told_apart_from_flight(play: Any, measure: Any) -> None:
    hopper = create_environment("hopper")
    policy = load_policy(hopper.policies()["suboptimal"], "hopper", hopper).policy
    found = measure(hopper, policy, play(hopper, policy, episodes=6, steps=200))
    assert found is not None
    sides = dict(found.divided)
    assert set(sides) == {"stance=1", "stance=0"}
    assert min(sides.values()) >= 4
    assert sum(sides.values()) == found.states
    ground, flight = (find(found, "ankle=-1", 4, "ankle_v", "idle", where) for where in sides)
    assert ground.typical[3] != flight.typical[3]
    text = effects_text(found, (), hopper.legend, 800)
    for part in ("hip", "knee", "ankle"):
        for end in (1, -1):
            assert f"{part}={end}" in text
    assert "ankle=1 where stance=1" in text or "ankle=-1 where stance=1" in text


def test_steps_are_counted_capped_and_the_seed_decides_all(
    corridor: Corridor, always: Any, play: Any, measure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = always(corridor, "LEFT", "RIGHT", 0.5)
    episodes = play(corridor, policy)
    taken: list[int] = []
    step = Simulators.step

    def counting(self: Simulators, actions: Any) -> Any:
        taken.append(self.num_envs)
        return step(self, actions)

    monkeypatch.setattr(Simulators, "step", counting)
    found = measure(corridor, policy, episodes, max_steps=500, width=1)
    assert found is not None
    assert found.env_steps == sum(taken) == found.states * 9 * AHEAD
    assert found.env_steps <= 500
    assert measure(corridor, policy, episodes, max_steps=500, width=7) == found
    assert measure(corridor, policy, episodes, max_steps=500, width=7, seed=2) != found
    fewer = measure(corridor, policy, episodes, max_steps=180)
    assert fewer is not None
    assert {row.held for row in fewer.effects} == {1, 4}, "fewer holds, where all of them would leave too few states"
    assert measure(corridor, policy, episodes, max_steps=47) is None


def test_no_table_without_quantities_or_stored_states(
    corridor: Corridor, always: Any, play: Any, measure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = always(corridor, "LEFT")
    episodes = play(corridor, policy)
    assert measure(corridor, policy, episodes) is not None
    monkeypatch.setattr(Corridor, "absent", frozenset({"snapshot"}))
    assert measure(corridor, policy, play(corridor, policy)) is None
    monkeypatch.setattr(Corridor, "absent", frozenset({"quantities"}))
    assert measure(corridor, policy, episodes) is None


@pytest.mark.parametrize(
    ("names", "idle"),
    [
        (("STAY", "UP"), "STAY"),
        (("LEFT", "RIGHT"), None),
        (("apply -1 torque to the joint", "apply 0 torque to the joint"), "apply 0 torque to the joint"),
        (("fire", "do nothing"), "do nothing"),
        (("restore", "waiter"), None),
    ],
)
def test_the_action_that_does_nothing_is_found_by_its_words(names: tuple[str, ...], idle: str | None) -> None:
    assert DiscreteActions(names).idle == idle
