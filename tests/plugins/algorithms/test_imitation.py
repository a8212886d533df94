"""Cloning a few demonstrations into a policy, without forgetting the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from scipy import stats
from ultra_agents_plugins.algorithms._networks import PPOPolicy
from ultra_agents_plugins.algorithms.ppo import PPO
from ultra_agents_plugins.algorithms.ppo.imitation import executed_log_prob
from ultra_agents_plugins.algorithms.sac import SAC

from ultra_agents.contracts import Demonstrations, agreed
from ultra_agents.errors import PluginError
from ultra_agents.records import Array
from ultra_agents.seeding import Streams

SEEN = Box(-5, 5, (3,), np.float32)
SPACES = {"discrete": Discrete(4), "continuous": Box(-1, 1, (2,), np.float32)}
KINDS = pytest.mark.parametrize("kind", SPACES)
RNG = np.random.default_rng(0)
SHOWN, ELSEWHERE = (RNG.normal(centre, 0.3, (200, 3)).astype(np.float32) for centre in (1.5, -1.5))


def ppo(**options: Any) -> PPO:
    return PPO(PPO.Options(**{"hidden": (16, 16), "clone_steps": 400, "clone_learning_rate": 5e-3, **options}))


def start(kind: str) -> PPOPolicy:
    """A policy with opinions of its own, and observation statistics that are not the identity."""
    policy = ppo().create_policy(SEEN, SPACES[kind], 3)
    policy.update_normalizer(np.random.default_rng(1).normal(0.5, 2.0, (500, 3)).astype(np.float32))
    noise = torch.Generator().manual_seed(0)
    for parameter in policy.actor.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=noise)
    return policy


def demonstrated(kind: str, **changes: Any) -> Demonstrations:
    wanted = np.full(len(SHOWN), 2) if kind == "discrete" else np.tile(np.float32([0.7, -0.7]), (len(SHOWN), 1))
    given = {"observations": SHOWN, "actions": wanted, "weights": np.ones(len(SHOWN)), "visited": ELSEWHERE}
    return Demonstrations(**{**given, **changes})


def outputs(policy: PPOPolicy, observations: Array) -> Array:
    """Action chances, or means of continuous actions."""
    raw = torch.from_numpy(np.asarray(policy.actor_outputs(policy.normalize(observations))))
    return np.asarray(torch.softmax(raw, 1) if policy.discrete else raw)


def likelihood(policy: PPOPolicy, made: Demonstrations) -> float:
    """Mean log-probability of what was demonstrated."""
    raw = policy.actor_outputs(policy.normalize(made.observations))
    return float(np.mean(policy.log_prob(raw, made.actions)))


def same(left: PPOPolicy, right: PPOPolicy) -> bool:
    a, b = left.state()[0], right.state()[0]
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@KINDS
def test_demonstrated_actions_become_likely(kind: str) -> None:
    policy, made = start(kind), demonstrated(kind)
    copy = ppo().imitate(policy, made, Streams(0))
    assert likelihood(copy, made) > likelihood(policy, made) + 0.3
    if kind == "discrete":
        assert outputs(policy, SHOWN)[:, 2].mean() < 0.6
        assert outputs(copy, SHOWN)[:, 2].min() > 0.9
    else:
        assert np.abs(outputs(copy, SHOWN) - [0.7, -0.7]).mean() < 0.05


@KINDS
def test_elsewhere_the_distribution_is_kept(kind: str) -> None:
    policy, made = start(kind), demonstrated(kind)

    def moved(anchor: float) -> float:
        copy = ppo(clone_anchor=anchor).imitate(policy, made, Streams(0))
        return float(np.abs(outputs(copy, ELSEWHERE) - outputs(policy, ELSEWHERE)).mean())

    anchored, loose = moved(1.0), moved(0.0)
    assert anchored < 0.03
    assert loose > 3 * anchored, "without the anchor the demonstrations spill over"


@KINDS
def test_only_the_actor_moves(kind: str) -> None:
    policy = start(kind)
    copy = ppo(clone_steps=50).imitate(policy, demonstrated(kind), Streams(0))
    assert not same(copy, policy)
    assert np.array_equal(copy.value(SHOWN), policy.value(SHOWN))
    assert np.array_equal(copy.normalize(SHOWN), policy.normalize(SHOWN))
    if kind == "continuous":
        assert policy.log_std is not None
        assert copy.log_std is not None
        assert torch.equal(copy.log_std, policy.log_std)


@KINDS
def test_the_policy_given_is_left_alone_and_the_same_seed_gives_the_same_copy(kind: str) -> None:
    policy, made = start(kind), demonstrated(kind)
    first, second, other = (ppo(clone_steps=50).imitate(policy, made, Streams(seed)) for seed in (4, 4, 5))
    assert same(policy, start(kind))
    assert same(first, second)
    assert not same(first, other)
    assert not same(first, policy)


def test_weights_say_what_counts() -> None:
    half = len(SHOWN) // 2
    split = np.where(np.arange(len(SHOWN)) < half, 1, 2)
    copied = {
        heavy: ppo().imitate(
            start("discrete"),
            demonstrated("discrete", actions=split, weights=np.where(split == heavy, 1.9, 0.1)),
            Streams(0),
        )
        for heavy in (1, 2)
    }
    for heavy, light in ((1, 2), (2, 1)):
        chances = outputs(copied[heavy], SHOWN).mean(axis=0)
        assert chances[heavy] > 0.7 > 0.3 > chances[light], "the same states were shown with both actions"


@KINDS
def test_nowhere_visited_is_no_anchor(kind: str) -> None:
    policy, made = start(kind), demonstrated(kind, visited=ELSEWHERE[:0])
    free = ppo(clone_anchor=0.0).imitate(policy, demonstrated(kind), Streams(0))
    assert same(ppo().imitate(policy, made, Streams(0)), free)


def test_a_loss_that_is_no_number_is_an_error_with_advice() -> None:
    with pytest.raises(PluginError, match="learning from demonstrations diverged") as caught:
        ppo(clone_steps=3).imitate(
            start("discrete"), demonstrated("discrete", weights=np.full(len(SHOWN), np.nan)), Streams(0)
        )
    assert "clone_learning_rate" in str(caught.value.hint)


def test_another_algorithms_policy_is_refused() -> None:
    stranger: Any = object()
    with pytest.raises(PluginError, match="ppo trains its own policies only"):
        ppo().imitate(stranger, demonstrated("discrete"), Streams(0))


def halves(kind: str) -> tuple[Demonstrations, Demonstrations]:
    """A rule over the whole space, on states to learn from and on others."""
    rng = np.random.default_rng(7)

    def labelled(n: int) -> Demonstrations:
        rows = rng.uniform(-3, 3, (n, 3)).astype(np.float32)
        bent = np.abs(rows[:, 0]) - rows[:, 1] * rows[:, 2] / 3
        actions = np.digitize(bent, [0.5, 1.5, 2.5]) if kind == "discrete" else np.tanh(np.c_[bent, -rows[:, 0]])
        return Demonstrations(
            rows, actions.astype(np.int64 if kind == "discrete" else np.float32), np.ones(n), rows[:0]
        )

    return labelled(1500), labelled(500)


def learner(name: str, **options: Any) -> Any:
    cls: Any = {"ppo": PPO, "sac": SAC}[name]
    return cls(cls.Options(**{"hidden": (16, 16), "clone_steps": 200, **options}))


CASES = pytest.mark.parametrize(("name", "kind"), [("ppo", "discrete"), ("ppo", "continuous"), ("sac", "continuous")])


@CASES
def test_with_steps_held_out_it_learns_until_they_agree_no_better(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultra_agents_plugins.algorithms._imitation.CHUNK", 100)
    looks: list[float] = []
    monkeypatch.setattr(
        "ultra_agents_plugins.algorithms._imitation.agreed",
        lambda made, wanted: looks.append(agreed(made, wanted)) or looks[-1],  # type: ignore[func-returns-value]
    )
    lesson, others = halves(kind)
    algorithm = learner(name, clone_learning_rate=3e-3)
    policy = algorithm.create_policy(SEEN, SPACES[kind], 3)
    longer = replace(lesson, held_out=others)

    def agreement(one: Any) -> float:
        return agreed(one.act(others.observations, deterministic=True), others.actions)

    fixed, copy, again = (algorithm.imitate(policy, made, Streams(0)) for made in (lesson, longer, longer))
    assert agreement(copy) > agreement(fixed) + 0.05 > agreement(policy)
    assert agreement(copy) == max(looks), "the best of all looks is kept, the start included"
    assert all(np.array_equal(array, again.state()[0][key]) for key, array in copy.state()[0].items())
    looks = looks[: len(looks) // 2]
    assert len(looks) > 4, "it learnt longer than 200 minibatches"
    risen, without = looks[0], []
    for found in looks[1:]:
        risen, idle = (found, 0) if found >= risen + 0.002 else (risen, without[-1] + 1 if without else 1)
        without.append(idle)
    assert without.index(3) == len(without) - 1, "it ends after three looks without a rise, and not before"


@CASES
def test_a_lesson_that_only_harms_is_not_taken(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultra_agents_plugins.algorithms._imitation.CHUNK", 20)
    lesson, others = halves(kind)
    algorithm = learner(name)
    policy = algorithm.imitate(algorithm.create_policy(SEEN, SPACES[kind], 3), lesson, Streams(0))
    already = replace(others, actions=policy.act(others.observations, deterministic=True))
    wrong = replace(lesson, actions=lesson.actions[::-1].copy(), held_out=already)
    copy = algorithm.imitate(policy, wrong, Streams(0))
    assert all(np.array_equal(array, policy.state()[0][key]) for key, array in copy.state()[0].items())


@CASES
def test_it_ends_at_the_most_minibatches_allowed(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultra_agents_plugins.algorithms._imitation.CHUNK", 10)
    lesson, others = halves(kind)
    drawn = []

    class Counting(np.random.Generator):
        def integers(self, *args: Any, **kwargs: Any) -> Any:
            drawn.append(args)
            return super().integers(*args, **kwargs)

    class Counted(Streams):
        def generator(self, *address: Any) -> Any:
            return Counting(np.random.PCG64(0))

    algorithm = learner(name, clone_steps_max=25)
    policy = algorithm.create_policy(SEEN, SPACES[kind], 3)
    algorithm.imitate(policy, replace(lesson, held_out=others), Counted(0))
    assert len(drawn) == 25
    drawn.clear()
    algorithm.imitate(policy, replace(lesson, held_out=replace(others, actions=others.actions[:0])), Counted(0))
    assert len(drawn) == 200, "nothing held out is as if it were not asked for"


@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_a_lesson_that_goes_on_may_keep_to_another_policy_elsewhere(name: str) -> None:
    algorithm, kind = learner(name, clone_anchor=1.0, clone_steps=400), "continuous"
    first = algorithm.create_policy(SEEN, SPACES[kind], 3)
    bent = algorithm.imitate(first, demonstrated(kind, observations=ELSEWHERE, visited=SHOWN[:0]), Streams(0))

    def apart(one: Any, other: Any) -> float:
        mine, theirs = (policy.act(ELSEWHERE, deterministic=True) for policy in (one, other))
        return float(np.abs(mine - theirs).mean())

    kept = algorithm.imitate(bent, demonstrated(kind), Streams(0))
    back = algorithm.imitate(bent, demonstrated(kind, anchor=first), Streams(0))
    assert apart(kept, bent) < 0.1 < 0.4 < apart(bent, first)
    assert apart(back, first) < 0.1
    with pytest.raises(PluginError, match="its own policies only"):
        algorithm.imitate(bent, demonstrated(kind, anchor=object()), Streams(0))


BEYOND = np.float32([1.6, -2.5])
"""Means of a policy whose samples the space clips mostly."""


def clipped(count: int = 2000) -> Demonstrations:
    """What such a policy of the spread of `start` executes, in the states `SHOWN`."""
    policy, rng = start("continuous"), np.random.default_rng(2)
    assert policy.log_std is not None
    sampled = rng.normal(BEYOND, np.exp(policy.log_std.detach().numpy()), (count, 2))
    seen = SHOWN[np.arange(count) % len(SHOWN)]
    return demonstrated(
        "continuous",
        observations=seen,
        actions=np.clip(sampled, -1, 1).astype(np.float32),
        weights=np.ones(count),
        visited=ELSEWHERE[:0],
    )


def test_what_was_clipped_is_learnt_as_a_sample_at_the_bound_or_beyond() -> None:
    made = clipped()
    assert np.abs(made.actions).mean(axis=0).max() < 1.0
    means = outputs(ppo(clone_steps=1500).imitate(start("continuous"), made, Streams(0)), SHOWN).mean(axis=0)
    assert means[0] == pytest.approx(BEYOND[0], abs=0.2)
    assert means[1] < -2.0, "nearly every sample is at the bound: how far beyond it the mean is hardly matters"


def test_the_likelihood_of_what_is_executed_is_a_density_within_and_a_chance_at_the_bounds() -> None:
    policy = start("continuous")
    assert policy.log_std is not None
    spread = np.exp(policy.log_std.detach().numpy().astype(np.float64))
    means = np.array([[0.4, -0.2], [1.7, -30.0], [-40.0, 0.9]])
    done = np.float32([[0.1, 0.3], [1.0, -1.0], [1.0, -1.0]])
    found = executed_log_prob(policy, torch.from_numpy(means).float(), torch.from_numpy(done)).detach().numpy()
    inside = stats.norm.logpdf(done[0], means[0], spread).sum()
    sure = stats.norm.logsf(1.0, means[1, 0], spread[0]) + stats.norm.logcdf(-1.0, means[1, 1], spread[1])
    odd = stats.norm.logsf(1.0, means[2, 0], spread[0]) + stats.norm.logcdf(-1.0, means[2, 1], spread[1])
    assert found == pytest.approx([inside, sure, odd], rel=1e-4)
    far = torch.from_numpy(means).float().requires_grad_()
    executed_log_prob(policy, far, torch.from_numpy(done)).sum().backward()  # type: ignore[no-untyped-call,unused-ignore]
    assert far.grad is not None
    assert torch.isfinite(far.grad).all(), "however unlikely"


def test_the_spread_is_learnt_where_that_is_asked_for_and_no_lower_than_its_floor() -> None:
    policy, made = start("continuous"), demonstrated("continuous", visited=ELSEWHERE[:0])
    assert policy.log_std is not None
    narrow = ppo(clone_spread=True, log_std_floor=-9.0).imitate(policy, made, Streams(0))
    floored = ppo(clone_spread=True, log_std_floor=-1.0).imitate(policy, made, Streams(0))
    assert narrow.log_std is not None
    assert floored.log_std is not None
    assert (narrow.log_std < policy.log_std - 1.0).all(), "one action, always the same"
    assert floored.log_std.detach().numpy() == pytest.approx(-1.0)
    held = ppo(clone_spread=True, clone_anchor=100.0).imitate(policy, demonstrated("continuous"), Streams(0))
    assert held.log_std is not None
    assert torch.allclose(held.log_std, policy.log_std, atol=0.1), "elsewhere it is kept, the spread included"


@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_weights_say_what_counts_of_continuous_actions(name: str) -> None:
    half = len(SHOWN) // 2
    early = np.arange(len(SHOWN)) < half
    split = np.where(early[:, None], np.float32([0.5, 0.5]), np.float32([-0.5, -0.5]))
    policy = learner(name).create_policy(SEEN, SPACES["continuous"], 3)
    where = {}
    for heavy in (True, False):
        weights = np.where(early == heavy, 1.9, 0.1)
        made = demonstrated("continuous", actions=split, weights=weights, visited=ELSEWHERE[:0])
        copy = learner(name, clone_steps=600).imitate(policy, made, Streams(0))
        where[heavy] = float(copy.act(SHOWN, deterministic=True).mean())
    assert where[True] > 0.3 > -0.3 > where[False], "the same states were shown with both actions"
