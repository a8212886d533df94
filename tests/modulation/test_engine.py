from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from ultra_agents.advice import AdviceTable
from ultra_agents.config import ModulationConfig
from ultra_agents.contracts import Modulated
from ultra_agents.modulation import ModulationEngine
from ultra_agents.modulation.schedule import strength


def table(**changes: Any) -> AdviceTable:
    rows: dict[str, Any] = {
        "features": np.array([[0.0], [10.0]]),
        "scale": np.array([1.0]),
        "plans": np.array([[2, 2, 2], [1, 1, 1]]),
        "holds": np.array([1, 3]),
        "rewards": np.array([0.5, 1.0]),
        "taken_actions": np.array([0, 0]),
        "taken_rewards": np.array([-0.5, -1.0]),
        "weights": np.array([1.0, 0.25]),
        "radius": 0.5,
        "match": "nearest",
    }
    return AdviceTable(**{**rows, **changes})


def engine(
    variant: Any = "ra", rows: AdviceTable | None = None, continuous: bool = False, **config: Any
) -> ModulationEngine:
    settings = {"probability": 1.0, "schedule": "constant", "beta": 1.0, **config}
    made = ModulationEngine(
        table() if rows is None else rows,
        lambda observations: observations,
        variant,
        ModulationConfig(**settings),
        np.random.default_rng(0),
        continuous,
    )
    made.begin(4)
    return made


OBS = np.array([[0.1], [5.0], [10.2], [-0.6]])
OWN = np.array([0, 0, 0, 0])
GOES_ON = np.zeros(4, dtype=bool)


def test_overrides_exactly_the_matched_states() -> None:
    modulated = engine().act(OBS, OWN)
    assert modulated.matched.tolist() == [True, False, True, False]
    assert modulated.actions.tolist() == [2, 0, 1, 0]
    assert modulated.followed.tolist() == [True, False, True, False]
    assert modulated.weight.tolist() == [1.0, 0.0, 0.25, 0.0]
    assert OWN.tolist() == [0, 0, 0, 0], "the policy's own actions are left alone"


def test_variant_r_never_overrides_and_pays_what_the_policy_did() -> None:
    made = engine("r")
    modulated = made.act(OBS, np.array([2, 2, 0, 2]))
    assert modulated.actions.tolist() == [2, 2, 0, 2]
    assert not modulated.followed.any()
    assert made.reward(np.zeros(4), modulated, OBS, GOES_ON).tolist() == [0.5, 0.0, -1.0, 0.0]


def test_variant_a_pays_nothing() -> None:
    made = engine("a")
    rewards = np.array([1.0, 2.0, 3.0, 4.0])
    assert made.reward(rewards, made.act(OBS, OWN), OBS, GOES_ON).tolist() == rewards.tolist()


def test_hold_runs_for_its_steps_then_lets_go() -> None:
    made = engine("a")
    away = np.full((4, 1), 99.0)
    actions = [made.act(OBS, OWN).actions[2]]
    actions += [made.act(away, OWN).actions[2] for _ in range(3)]
    assert actions == [1, 1, 1, 0]


def test_hold_ends_with_the_episode_and_by_option() -> None:
    made, away = engine("a"), np.full((4, 1), 99.0)
    made.reward(np.zeros(4), made.act(OBS, OWN), OBS, np.ones(4, dtype=bool))
    assert made.act(away, OWN).actions.tolist() == [0, 0, 0, 0]
    single = engine("a", hold=False)
    single.act(OBS, OWN)
    assert single.act(away, OWN).actions.tolist() == [0, 0, 0, 0]


def plan_table(**changes: Any) -> AdviceTable:
    """At 0: 2, 2, 1, 0, 0 (five steps); at 10: 1, 2 (two steps, padded with its last action)."""
    return table(plans=np.array([[2, 2, 1, 0, 0], [1, 2, 2, 2, 2]]), holds=np.array([5, 2]), **changes)


def test_plans_are_followed_step_by_step_across_moves() -> None:
    made, own = engine("a", plan_table()), np.full(4, 7)
    steps = [made.act(OBS, own)] + [made.act(np.full((4, 1), 99.0), own) for _ in range(5)]
    assert [step.actions[0] for step in steps] == [2, 2, 1, 0, 0, 7]
    assert [step.actions[2] for step in steps] == [1, 2, 7, 7, 7, 7]
    assert [step.actions[1] for step in steps] == [7] * 6
    assert [step.followed[0] for step in steps] == [True] * 5 + [False]
    assert [step.suggested[0] for step in steps[:5]] == [2, 2, 1, 0, 0], "what was suggested at that step of the plan"


def test_a_plan_under_way_is_not_left_for_another_row() -> None:
    made, own = engine("a", plan_table()), np.full(4, 7)
    made.act(np.zeros((4, 1)), own)
    assert [made.act(np.full((4, 1), 10.0), own).actions[0] for _ in range(6)] == [2, 1, 0, 0, 1, 2]


def test_plans_begin_at_their_own_times() -> None:
    made, own = engine("a", plan_table()), np.full(4, 7)
    actions = []
    for time in range(5):
        seen = np.full((4, 1), 99.0)
        if time < 4:
            seen[time] = 0.0
        actions.append(made.act(seen, own).actions.tolist())
    assert actions == [[2, 7, 7, 7], [2, 2, 7, 7], [1, 2, 2, 7], [0, 1, 2, 2], [0, 0, 1, 2]]


def test_without_holding_only_the_first_action_of_a_plan_is_taken() -> None:
    made, own = engine("a", plan_table(), hold=False), np.full(4, 7)
    assert made.act(OBS, own).actions.tolist() == [2, 7, 1, 7]
    assert made.act(np.full((4, 1), 99.0), own).actions.tolist() == [7] * 4


def test_a_plan_under_way_resumes_where_it_was() -> None:
    first, own, away = engine("a", plan_table()), np.full(4, 7), np.full((4, 1), 99.0)
    first.act(OBS, own)
    first.act(away, own)
    second = engine("a", plan_table())
    second.load_state(first.state())
    assert [second.act(away, own).actions[0] for _ in range(4)] == [1, 0, 0, 7]


def test_continuous_plans_are_followed_step_by_step() -> None:
    plans = np.array([[[0.5, -0.5], [-1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    rows = table(plans=plans, taken_actions=np.zeros((2, 2)), holds=np.array([2, 1]))
    made = engine("a", rows, continuous=True, action_noise=1e-6)
    own = np.full((4, 2), 9.0)
    steps = [made.act(OBS, own).actions[0]] + [made.act(np.full((4, 1), 99.0), own).actions[0] for _ in range(2)]
    assert np.array(steps) == pytest.approx(np.array([[0.5, -0.5], [-1.0, 1.0], [9.0, 9.0]]), abs=1e-4)


def test_held_steps_pay_no_second_bonus() -> None:
    made, away = engine(), np.full((4, 1), 99.0)
    first = made.reward(np.zeros(4), made.act(OBS, OWN), OBS, GOES_ON)
    second = made.reward(np.zeros(4), made.act(away, OWN), OBS, GOES_ON)
    assert first.tolist() == [0.5, 0.0, 1.0, 0.0]
    assert second.tolist() == [0.0, 0.0, 0.0, 0.0]


def test_replace_touches_judged_steps_only() -> None:
    made = engine("r", reward="replace")
    rewards = np.full(4, 7.0)
    paid = made.reward(rewards, made.act(OBS, np.array([1, 2, 1, 0])), OBS, GOES_ON)
    assert paid.tolist() == [7.0, 7.0, 1.0, 7.0], "row 0: action 1 is neither suggested nor taken"


@pytest.mark.parametrize("hold", [1, 2, 3, 6])
def test_a_potential_telescopes_while_plans_are_held(hold: int) -> None:
    """Shaping sums to minus the potential of the first state, or the learner is paid for being overridden."""
    plans, one = np.ones((1, hold), int), np.ones(1)
    table = AdviceTable(
        np.zeros((1, 1)), one, plans, np.array([hold]), one, np.array([0]), -one, one, 100.0, "nearest"
    )
    config = ModulationConfig(probability=1.0, schedule="constant", reward="potential", discount=1.0, beta=0.2)
    made = ModulationEngine(table, lambda seen: np.reshape(seen, (-1, 1)), "ra", config, np.random.default_rng(0))
    made.begin(1)
    paid, steps = 0.0, 6
    for step in range(steps):
        modulated, ended = made.act(np.array([[float(step)]]), np.array([0])), np.array([step == steps - 1])
        paid += float(made.reward(np.zeros(1), modulated, np.array([[step + 1.0]]), ended, terminated=ended)[0])
    assert paid == pytest.approx(-0.2)


def test_potential_telescopes_to_nothing_over_a_closed_loop() -> None:
    made = engine("r", reward="potential", discount=1.0)
    path = [0.1, 5.0, 10.2, 0.1]
    total = 0.0
    for here, there in pairwise(path):
        states, following = np.full((4, 1), here), np.full((4, 1), there)
        total += made.reward(np.zeros(4), made.act(states, OWN), following, GOES_ON)[0]
    assert total == pytest.approx(0.0)


def test_mixture_is_the_density_that_really_acted() -> None:
    p, pi = 0.3, np.array([0.2, 0.5, 0.3])
    made = engine("a", probability=p)
    counts = np.zeros(3)
    rng = np.random.default_rng(1)
    for _ in range(5000):
        made.begin(4)
        own = rng.choice(3, size=4, p=pi)
        counts[made.act(np.full((4, 1), 0.0), own).actions[0]] += 1
    expected = (1 - p) * pi + p * np.array([0, 0, 1])
    assert counts / counts.sum() == pytest.approx(expected, abs=0.03)
    every = Modulated(
        actions=np.arange(3), matched=np.ones(3, bool), followed=np.zeros(3, bool), probability=np.full(3, p),
        suggested=np.full(3, 2), weight=np.ones(3),
    )  # fmt: skip
    assert np.exp(made.behaviour_log_prob(np.log(pi), every)) == pytest.approx(expected)


@pytest.mark.parametrize("learn", ["policy", "mask", "imitate"])
def test_other_ways_of_learning_keep_the_policys_log_prob(learn: str) -> None:
    made = engine("a", learn=learn)
    logs = np.log(np.array([0.2, 0.5, 0.3, 0.1]))
    assert made.behaviour_log_prob(logs, made.act(OBS, OWN)).tolist() == logs.tolist()


def test_held_step_is_certain_under_mixture() -> None:
    made, away = engine("a", probability=0.999), np.full((4, 1), 99.0)
    made.act(OBS, OWN)
    held = made.act(away, OWN)
    assert held.probability[2] == 1.0
    assert made.behaviour_log_prob(np.log(np.full(4, 0.2)), held)[2] == pytest.approx(0.0)


def test_continuous_suggestions_have_a_density() -> None:
    rows = table(plans=np.array([[[0.5, -0.5]], [[0.0, 0.0]]]), taken_actions=np.zeros((2, 2)), holds=np.array([1, 1]))
    made = engine("ra", rows, continuous=True, action_noise=0.1)
    modulated = made.act(OBS, np.zeros((4, 2)))
    assert np.abs(modulated.actions[0] - [0.5, -0.5]).max() < 0.6
    assert modulated.actions[1].tolist() == [0.0, 0.0]
    at_centre = Modulated(
        modulated.suggested, modulated.matched, modulated.followed, modulated.probability, modulated.suggested,
        modulated.weight,
    )  # fmt: skip
    density = made.behaviour_log_prob(np.full(4, -1.0), at_centre)[0]
    assert density == pytest.approx(-np.log(2 * np.pi * 0.1**2))


def test_empty_table_changes_nothing() -> None:
    rows = table(
        features=np.zeros((0, 1)), plans=np.zeros((0, 1), int), holds=np.zeros(0, int), rewards=np.zeros(0),
        taken_actions=np.zeros(0, int), taken_rewards=np.zeros(0), weights=np.zeros(0),
    )  # fmt: skip
    for reward in ("add", "replace", "potential"):
        made = engine("ra", rows, reward=reward)
        modulated = made.act(OBS, OWN)
        assert modulated.actions.tolist() == OWN.tolist()
        assert made.reward(np.ones(4), modulated, OBS, GOES_ON).tolist() == [1.0] * 4


def test_state_resumes_coins_and_holds_exactly() -> None:
    first = engine("ra", probability=0.5)
    first.act(OBS, OWN)
    second = engine("ra", probability=0.5)
    second.load_state(first.state())
    for _ in range(20):
        assert first.act(OBS, OWN).actions.tolist() == second.act(OBS, OWN).actions.tolist()


def test_radius_follows_the_states_that_are_visited() -> None:
    rng = np.random.default_rng(0)
    made = engine("r", table(target=0.3))
    for _ in range(3000):
        made.act(rng.uniform(-40, 40, (4, 1)), OWN)
    made.metrics()
    for _ in range(2000):
        made.act(rng.uniform(-40, 40, (4, 1)), OWN)
    assert made.metrics()["hit_rate"] == pytest.approx(0.3, abs=0.03)


def test_the_radius_never_grows_beyond_what_was_tested() -> None:
    made = engine("r", table(target=0.5, radius=0.05, reach=np.array([0.0, 0.05])))
    far = np.array([[5.0], [5.0], [5.0], [5.0]])
    for _ in range(200):
        made.act(far, OWN)
    assert made.metrics()["radius"] == 0.05
    near = np.array([[0.04], [10.04], [0.0], [10.06]])
    assert made.act(near, OWN).matched.tolist() == [False, True, True, False]
    for _ in range(400):
        made.act(np.array([[10.0]] * 4), OWN)
    assert made.metrics()["radius"] < 0.05, "it may shrink"


def test_a_small_share_is_followed_as_fast_as_a_large_one() -> None:
    """Relative to the share asked for: a table that acts rarely must not take a hundred times as long."""
    grown, shrunk = {}, {}
    for target in (0.01, 0.5):
        misses, hits = (engine("r", table(target=target, radius=radius)) for radius in (0.001, 1000.0))
        for _ in range(500):
            misses.act(np.full((4, 1), 5.0), OWN)
            hits.act(np.full((4, 1), 0.0), OWN)
        grown[target] = misses.metrics()["radius"] / 0.001
        shrunk[target] = hits.metrics()["radius"] / 1000.0
    assert grown[0.01] == pytest.approx(grown[0.5])
    assert grown[0.01] > 5
    assert shrunk[0.01] < shrunk[0.5] < 1
    assert shrunk[0.01] > np.exp(-0.005 * 500) * 0.99, "a burst of hits does not throw the radius away"


def test_radius_settles_at_a_small_share() -> None:
    rng = np.random.default_rng(0)
    made = engine("r", table(target=0.02, radius=20.0))
    made.begin(8)
    for _ in range(4000):
        made.act(rng.uniform(-40, 40, (8, 1)), np.zeros(8, dtype=np.int64))
    made.metrics()
    for _ in range(4000):
        made.act(rng.uniform(-40, 40, (8, 1)), np.zeros(8, dtype=np.int64))
    assert made.metrics()["hit_rate"] == pytest.approx(0.02, abs=0.005)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_strength_falls_to_nothing(schedule: Any) -> None:
    config = ModulationConfig(probability=0.4, schedule=schedule, until=0.5)
    values = [strength(config, progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert values[0] == 0.4
    assert values[1] == pytest.approx(0.2)
    assert values[2:] == [0.0, 0.0]


def test_metrics_count_states_since_the_last_call() -> None:
    made = engine("ra")
    made.reward(np.zeros(4), made.act(OBS, OWN), OBS, GOES_ON)
    assert made.metrics() == {
        "hit_rate": 0.5,
        "override_rate": 0.5,
        "bonus_mean": 1.5 / 4,
        "strength": 1.0,
        "radius": 0.5,
    }
    assert made.metrics()["hit_rate"] == 0.0


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("reward", ["add", "potential"])
def test_the_parts_of_a_vector_step_change_nothing(continuous: bool, reward: Any) -> None:
    rows = table(radius=4.0, target=0.4)
    if continuous:
        vectors = {name: np.stack([getattr(rows, name)] * 2, axis=-1) for name in ("plans", "taken_actions")}
        rows = table(radius=4.0, target=0.4, **{name: array.astype(np.float32) for name, array in vectors.items()})
    config = {"probability": 0.5, "reward": reward, "action_noise": 0.1}
    whole, parted = (engine("ra", rows, continuous, **config) for _ in range(2))
    rng, places, told = np.random.default_rng(3), [slice(0, 1), slice(1, 4)], []
    for _ in range(60):
        seen, after = rng.uniform(-5, 15, (2, 4, 1))
        own, ended = rng.integers(3, size=4), rng.random(4) < 0.1
        if continuous:
            own = rng.standard_normal((4, 2)).astype(np.float32)
        at_once = whole.act(seen, own)
        by_parts = [parted.act(seen[envs], own[envs], envs) for envs in places]
        for name, array in vars(at_once).items():
            assert np.array_equal(array, np.concatenate([getattr(part, name) for part in by_parts])), name
        earned = whole.reward(np.zeros(4), at_once, after, ended)
        parts = zip(by_parts, places, strict=True)
        assert np.array_equal(
            earned,
            np.concatenate([parted.reward(np.zeros(4)[e], part, after[e], ended[e], e) for part, e in parts]),
        )
        told.append((at_once.followed.sum(), at_once.matched.sum()))
    assert whole.state() == parted.state()
    assert whole.metrics() == parted.metrics()
    followed, matched = np.sum(told, axis=0)
    assert 0 < followed < matched < 240
    assert whole.state()["radius"] != 4.0
