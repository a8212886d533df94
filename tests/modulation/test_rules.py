"""Rules in training: who acts, what is shown, what is given as a reward."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from ultra_agents.config import ModulationConfig
from ultra_agents.contracts import Learn
from ultra_agents.modulation.rules import RuleModulation, way_to_learn
from ultra_agents.records import Array
from ultra_agents.registry import create_algorithm
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions

WORLD = Corridor(CorridorOptions())
FAR = "rules: [{when: cell > 4, do: RIGHT}]\n"


def seen(*cells: int) -> Array:
    return (2.0 * np.asarray(cells) / 8 - 1.0).astype(np.float32)[:, None]


def modulation(
    text: str = FAR, acts: bool = True, rewards: bool = False, learn: Learn = "imitate", **options: Any
) -> RuleModulation:
    algorithm = create_algorithm("ppo", {"hidden": [8]})
    policy = algorithm.create_policy(WORLD.observation_space, WORLD.action_space, seed=3)
    rules = parse_rules(text, interface_of(WORLD))
    layer = RulePolicy(policy, rules, WORLD) if rules.document.rules else None
    made = RuleModulation(
        layer, rules if rewards else None, WORLD.quantities, ModulationConfig(**options), acts=acts, learn=learn
    )
    made.begin(3)
    return made


def test_rules_act_where_they_cover_a_state() -> None:
    made = modulation().act(seen(2, 5, 8), np.array([0, 0, 0]))
    assert made.actions.tolist() == [0, 1, 1]
    assert made.followed.tolist() == made.matched.tolist() == [False, True, True]
    assert made.probability.tolist() == made.weight.tolist() == [0.0, 1.0, 1.0]


def test_rules_that_only_show_leave_the_actions_alone() -> None:
    made = modulation(acts=False).act(seen(2, 5, 8), np.array([0, 0, 0]))
    assert made.actions.tolist() == [0, 0, 0]
    assert made.suggested.tolist() == [0, 1, 1]
    assert made.matched.tolist() == [False, True, True]
    assert not made.followed.any()


def test_what_is_shown_falls_to_nothing_and_what_acts_does_not() -> None:
    for acts in (True, False):
        made = modulation(acts=acts, until=0.5)
        made.set_progress(0.25)
        assert made.act(seen(2, 5, 8), np.zeros(3, int)).weight.tolist() == [0.0, 0.5, 0.5]
        made.set_progress(0.75)
        late = made.act(seen(2, 5, 8), np.zeros(3, int))
        assert not late.weight.any()
        assert late.followed.any() == acts


def test_an_algorithm_that_corrects_by_probabilities_is_told_that_rules_were_certain() -> None:
    own = np.log([0.2, 0.3, 0.4])
    for learn, expected in (("mixture", [np.log(0.2), 0.0, 0.0]), ("mask", own)):
        made = modulation(learn=learn)
        acted = made.act(seen(2, 5, 8), np.zeros(3, int))
        np.testing.assert_allclose(made.behaviour_log_prob(own, acted), expected)
    shown = modulation(learn="mixture", acts=False)
    np.testing.assert_allclose(shown.behaviour_log_prob(own, shown.act(seen(2, 5, 8), np.zeros(3, int))), own)


@pytest.mark.parametrize(
    ("name", "way", "correcting"),
    [
        ("ppo", "imitate", "own"),
        ("sac", "imitate", "mixture"),
        ("sb3-ppo", "mixture", "mixture"),
        ("sb3-dqn", "mixture", "mixture"),
    ],
)
def test_each_algorithm_learns_from_rules_as_well_as_it_can(name: str, way: Learn, correcting: Learn) -> None:
    learns = create_algorithm(name).learns
    assert way_to_learn(learns, corrects=False) == way
    assert way_to_learn(learns, corrects=True) == correcting


def test_quantities_are_asked_once_for_the_states_before_a_step_and_once_for_those_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    quantities = WORLD.quantities
    monkeypatch.setattr(WORLD, "quantities", lambda seen: asked.append(len(seen)) or quantities(seen))
    made = modulation(FAR + "reward: next.cell - cell\n", rewards=True)
    acted = made.act(seen(2, 5, 8), np.zeros(3, int))
    made.reward(np.zeros(3), acted, seen(3, 6, 7), np.zeros(3, bool))
    assert asked == [3, 3]


def test_a_potential_of_no_quantity_has_a_value_everywhere() -> None:
    made = modulation("potential: 1 / 2\n", rewards=True, beta=1.0, discount=0.5)
    found = made.reward(np.zeros(3), made.act(seen(2, 5, 8), np.zeros(3, int)), seen(3, 4, 8), np.zeros(3, bool))
    np.testing.assert_allclose(found, [-0.25] * 3)


def test_the_critic_warms_up_only_where_rules_act() -> None:
    assert modulation(warmup_updates=7).warmup_updates == 7
    assert modulation(warmup_updates=7, acts=False).warmup_updates == 0


def test_a_potential_is_a_difference_and_nothing_follows_an_end() -> None:
    made = modulation("potential: cell / 10\n", rewards=True, beta=0.5, discount=0.9)
    acted = made.act(seen(2, 5, 8), np.zeros(3, int))
    assert not acted.matched.any()
    found = made.reward(np.zeros(3), acted, seen(3, 4, 8), np.array([False, False, True]))
    np.testing.assert_allclose(found, 0.5 * np.array([0.9 * 0.3 - 0.2, 0.9 * 0.4 - 0.5, -0.8]), atol=1e-6)


def test_a_reward_is_clipped_and_scaled_and_falls_to_nothing() -> None:
    made = modulation("reward: 5 * (next.cell - cell)\n", rewards=True, beta=0.2, until=0.5)
    acted = made.act(seen(2, 5, 8), np.zeros(3, int))
    found = made.reward(np.ones(3), acted, seen(3, 4, 8), np.zeros(3, bool))
    np.testing.assert_allclose(found, [1.2, 0.8, 1.0], atol=1e-6)
    assert made.metrics()["bonus_mean"] == pytest.approx(0.0, abs=1e-6)
    made.set_progress(0.6)
    assert made.reward(np.ones(3), acted, seen(3, 4, 8), np.zeros(3, bool)).tolist() == [1.0, 1.0, 1.0]


def test_steps_in_parts_come_out_as_whole_ones() -> None:
    text = FAR + "reward: next.cell - cell\n"
    whole, parts = (modulation(text, rewards=True) for _ in range(2))
    before, after, own, ended = seen(2, 5, 8), seen(3, 6, 7), np.zeros(3, int), np.zeros(3, bool)
    acted = whole.act(before, own)
    expected = whole.reward(np.zeros(3), acted, after, ended)
    for envs in (slice(0, 2), slice(2, 3)):
        part = parts.act(before[envs], own[envs], envs)
        assert part.actions.tolist() == acted.actions[envs].tolist()
        found = parts.reward(np.zeros(3)[envs], part, after[envs], ended[envs], envs)
        assert found.tolist() == expected[envs].tolist()
    assert whole.metrics() == parts.metrics()


def test_its_state_is_json_and_comes_back() -> None:
    made = modulation(until=0.5)
    made.set_progress(0.25)
    other = modulation(until=0.5)
    other.load_state(made.state())
    assert other.state() == made.state() == {"num_envs": 3, "progress": 0.25}
    assert other.metrics()["strength"] == 0.5


def test_a_potential_goes_on_beyond_a_time_limit_and_not_beyond_a_terminal_state() -> None:
    made = modulation("potential: cell / 10\n", rewards=True, beta=1.0, discount=0.9)
    acted = made.act(seen(2, 5, 8), np.zeros(3, int))
    ended, terminated = np.array([False, True, True]), np.array([False, False, True])
    found = made.reward(np.zeros(3), acted, seen(3, 4, 8), ended, terminated=terminated)
    np.testing.assert_allclose(found, [0.9 * 0.3 - 0.2, 0.9 * 0.4 - 0.5, -0.8], atol=1e-6)


TERMINAL = 8
"""The tiny world below: cells 0 to 8 in a row, the last is terminal; one in five moves goes the other way."""
MOVES = {
    (cell, move): [(0.8, max(0, cell + move)), (0.2, max(0, min(cell - move, 8)))]
    for cell in range(8)
    for move in (-1, 1)
}


def optimal(paid: Any, gamma: float) -> dict[tuple[int, int], float]:
    """Action values of the tiny world by value iteration; `paid(before, after)` is added to the step's reward."""
    values = {key: 0.0 for key in MOVES}
    for _ in range(400):
        best = {cell: max(values[cell, -1], values[cell, 1]) for cell in range(TERMINAL)} | {TERMINAL: 0.0}
        values = {
            key: sum(
                chance * ((after == TERMINAL) - 0.01 + paid(key[0], after) + gamma * best[after])
                for chance, after in outcomes
            )
            for key, outcomes in MOVES.items()
        }
    return values


@pytest.mark.parametrize("text", ["-cell / 4", "sin(3 * cell)", "cell / 8", "0.7"])
def test_any_potential_leaves_the_optimal_policy_alone_and_shifts_values_by_itself(text: str) -> None:
    gamma = 0.93
    made = modulation(f"potential: {text}\n", rewards=True, beta=0.6, discount=gamma)

    def phi(cell: int) -> float:
        values = made._reward.potential(WORLD.quantities(seen(cell)))  # type: ignore[union-attr]
        return 0.6 * float(np.clip(values, -1, 1)[0])

    def paid(before: int, after: int) -> float:
        made.begin(1)
        acted = made.act(seen(before), np.zeros(1, int))
        end = np.array([after == TERMINAL])
        return float(made.reward(np.zeros(1), acted, seen(after), end, terminated=end)[0])

    pairs = {(key[0], after): 0.0 for key, outcomes in MOVES.items() for _, after in outcomes}
    table = {pair: paid(*pair) for pair in pairs}
    alone = optimal(lambda before, after: 0.0, gamma)
    shaped = optimal(lambda before, after: table[before, after], gamma)
    for key in MOVES:
        assert shaped[key] == pytest.approx(alone[key] - phi(key[0]), abs=1e-6)
    for cell in range(TERMINAL):
        assert (shaped[cell, 1] > shaped[cell, -1]) == (alone[cell, 1] > alone[cell, -1])


def test_a_reward_that_is_no_potential_can_change_the_optimal_policy() -> None:
    made = modulation("reward: -(next.cell > 5)\n", rewards=True, beta=1.0)

    def paid(before: int, after: int) -> float:
        made.begin(1)
        acted = made.act(seen(before), np.zeros(1, int))
        return float(made.reward(np.zeros(1), acted, seen(after), np.array([after == 8]))[0])

    table = {(key[0], after): paid(key[0], after) for key, outcomes in MOVES.items() for _, after in outcomes}
    shaped = optimal(lambda before, after: table[before, after], 0.93)
    assert optimal(lambda before, after: 0.0, 0.93)[5, 1] > optimal(lambda before, after: 0.0, 0.93)[5, -1]
    assert shaped[5, 1] < shaped[5, -1]


def test_the_bonuses_of_an_episode_sum_to_a_difference_of_potentials_whatever_was_done() -> None:
    gamma, made = 0.95, modulation("potential: cell / 8\n", rewards=True, beta=0.5, discount=0.95)
    for cells in ([2, 3, 4, 5], [2, 1, 1, 5], [2, 7, 6, 5]):
        made.begin(1)
        total = 0.0
        for step, (before, after) in enumerate(pairwise(cells)):
            acted = made.act(seen(before), np.zeros(1, int))
            cut = np.array([step == 2])
            total += gamma**step * float(
                made.reward(np.zeros(1), acted, seen(after), cut, terminated=np.zeros(1, bool))[0]
            )
        assert total == pytest.approx(0.5 * (gamma**3 * 5 / 8 - 2 / 8), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "options"), [("ppo", {"hidden": [8], "num_steps": 64}), ("sb3-ppo", {"n_steps": 64, "batch_size": 64})]
)
def test_algorithms_tell_a_terminal_state_from_a_time_limit(name: str, options: dict[str, Any]) -> None:
    world = Corridor(CorridorOptions(length=5, max_steps=6, slip=0.3))
    algorithm = create_algorithm(name, options)
    policy = algorithm.create_policy(world.observation_space, world.action_space, seed=3)
    told: list[tuple[int, int]] = []

    class Watching(RuleModulation):
        def reward(self, *given: Any, terminated: Array | None = None, **more: Any) -> Any:
            assert terminated is not None
            assert not (terminated & ~given[3]).any(), "what is terminal has ended"
            told.append((int(terminated.sum()), int((given[3] & ~terminated).sum())))
            return super().reward(*given, terminated=terminated, **more)

    rules = parse_rules("potential: cell / 10\n", interface_of(world))
    made = Watching(None, rules, world.quantities, ModulationConfig(), acts=False, learn="policy")
    with make_simulators(world, 4) as simulators:
        algorithm.trainer(policy, simulators, 256, Streams(1), made).update()
    assert all(sum(column) > 0 for column in zip(*told, strict=True)), "both kinds of end were met"
