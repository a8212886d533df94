"""Rules in training: who acts, what is shown, what is given as a reward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ultra_agents.config import ModulationConfig
from ultra_agents.contracts import Learn
from ultra_agents.modulation.rules import RuleModulation, way_to_learn
from ultra_agents.records import Array
from ultra_agents.registry import create_algorithm
from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.rules.layer import RulePolicy
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
    ("name", "way"), [("ppo", "imitate"), ("sac", "imitate"), ("sb3-ppo", "mixture"), ("sb3-dqn", "mixture")]
)
def test_each_algorithm_learns_from_rules_as_well_as_it_can(name: str, way: Learn) -> None:
    assert way_to_learn(create_algorithm(name).learns) == way


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
