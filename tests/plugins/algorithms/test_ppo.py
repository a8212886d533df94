"""PPO: what an update computes, resuming to the bit, modulated steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ultra_agents_plugins.algorithms._rollout import gae
from ultra_agents_plugins.algorithms.ppo import PPO

from tests.plugins.algorithms.sample_ppo import (
    CONTINUOUS,
    Fixed,
    Reach,
    corridor,
    same,
    trainer_on,
    weights,
)
from ultra_agents.errors import EnvironmentFault
from ultra_agents.seeding import Streams


def test_gae_by_hand():
    rollout = trainer_rollout()
    made = gae(rollout, 0.9, 0.8)
    # step 1 ended: nothing of step 2 reaches it or step 0 beyond it
    d = rollout.rewards + 0.9 * rollout.next_values - rollout.values
    np.testing.assert_allclose(made[2], d[2])
    np.testing.assert_allclose(made[1], d[1])
    np.testing.assert_allclose(made[0], d[0] + 0.72 * d[1])


def trainer_rollout():
    trainer = trainer_on(Reach(1), num_steps=3)
    trainer.episodes.start(0)
    rollout = trainer.rollout()
    dones = np.array([[False], [True], [False]])
    ones = np.ones((3, 1))
    return replace(rollout, dones=dones, rewards=ones, values=2 * ones, next_values=np.array([[2.0], [5.0], [7.0]]))


def test_truncation_bootstraps_from_the_final_observation_and_termination_from_nothing():
    modulation = Fixed("policy", action=0.0, chance=0.0)
    trainer = trainer_on(Reach(2), num_steps=8, modulation=modulation)
    trainer.episodes.start(0)
    rollout = trainer.rollout()
    last_obs, ended = modulation.next_observations[4]
    assert ended.all()
    assert rollout.dones[4].all()
    np.testing.assert_allclose(rollout.next_values[4], trainer.policy.value(last_obs), rtol=1e-6)
    assert not np.allclose(rollout.next_values[4], rollout.values[5])
    np.testing.assert_allclose(rollout.next_values[3], rollout.values[4])

    trainer = trainer_on(corridor(4, length=3), num_steps=8)  # every step from the middle enters an end
    trainer.policy.critic[-1].bias.data += 1
    trainer.episodes.start(0)
    rollout = trainer.rollout()
    assert rollout.dones.all()
    assert (rollout.next_values == 0).all()
    assert (rollout.values == 1).all()


def test_it_learns_the_corridor():
    envs = corridor(16)
    trainer = trainer_on(envs, total=30_000, num_steps=64, learning_rate=3e-3)
    metrics = {}
    while trainer.steps < 30_000:
        metrics = trainer.update()
    best = envs.environment.reference_returns.reference
    assert metrics["return_mean"] > best - 0.03


def test_it_learns_continuous_actions_and_executes_them_within_bounds():
    envs = Reach(8)
    trainer = trainer_on(envs, total=40_000, num_steps=64, learning_rate=3e-3, gamma=0.5, ent_coef=0.0)
    first = trainer.update()["return_mean"]
    while trainer.steps < 40_000:
        last = trainer.update()["return_mean"]
    assert last > first + 2.0
    assert (np.abs(np.concatenate(envs.seen)) <= CONTINUOUS.high).all()


def test_the_budget_is_met_within_one_vector_step_and_the_argument_left_alone():
    envs = corridor(8)
    algorithm = PPO(PPO.Options(num_steps=32))
    policy = algorithm.create_policy(envs.single_observation_space, envs.single_action_space, 0)
    before = policy.state()[0]
    trainer = algorithm.trainer(policy, envs, 1000, Streams(0), fresh=True)
    while trainer.steps < 1000:
        trainer.update()
    assert 1000 <= trainer.steps < 1008
    assert same(policy.state()[0], before)
    assert not same(weights(trainer), before)


def test_same_seed_same_weights_other_seed_other_weights():
    runs = []
    for seed in (0, 0, 1):
        trainer = trainer_on(corridor(8, slip=0.1), seed=seed)
        for _ in range(4):
            trainer.update()
        runs.append(weights(trainer))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


@pytest.mark.parametrize("envs", [lambda: corridor(8, slip=0.1), lambda: Reach(4)], ids=["discrete", "continuous"])
@pytest.mark.parametrize("learn", [None, "mixture"])
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("interrupted_at", [0, 1, 3])
def test_resume_is_exact(envs, learn, fresh, interrupted_at):
    modulation = (lambda: Fixed(learn, chance=0.3)) if learn else (lambda: None)
    if learn and envs().single_action_space.shape:
        modulation = lambda: Fixed("policy", action=0.1, chance=0.3)  # noqa: E731
    whole = trainer_on(envs(), modulation=modulation(), fresh=fresh)
    for _ in range(6):
        whole.update()
    first = trainer_on(envs(), modulation=modulation(), fresh=fresh)
    for _ in range(interrupted_at):
        first.update()
    arrays, rest = first.state()
    second = trainer_on(envs(), modulation=modulation(), fresh=fresh)
    second.load_state(arrays, rest)
    metrics = [second.update() for _ in range(6 - interrupted_at)]
    assert same(weights(whole), weights(second))
    assert whole.steps == second.steps
    assert metrics[-1]["learning_rate"] > 0


def test_without_snapshots_resume_goes_on_with_fresh_episodes():
    class Blind(Reach):
        can_snapshot = False

    first = trainer_on(Blind())
    first.update()
    arrays, rest = first.state()
    assert not any(name.startswith("snapshot/") for name in arrays)
    second = trainer_on(Blind())
    second.load_state(arrays, rest)
    assert same(weights(first), weights(second))
    assert np.isfinite(second.update()["return_mean"])


def test_refining_warms_the_critic_up_and_freezes_the_normalizer():
    trainer = trainer_on(corridor(8), fresh=False, value_warmup_updates=1)
    before = weights(trainer)
    trainer.update()
    after = weights(trainer)
    changed = {name.split(".")[0] for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"critic"}
    trainer.update()
    assert not np.array_equal(weights(trainer)["actor.0.weight"], before["actor.0.weight"])
    assert weights(trainer)["normalizer.count"] == 0

    thawed = trainer_on(corridor(8), fresh=False, freeze_normalizer=False)
    thawed.update()
    assert weights(thawed)["normalizer.count"] == 32 * 8


def test_by_default_only_a_critic_that_has_learnt_nothing_is_warmed_up():
    def moved_by_the_first_update(policy):
        trainer = trainer_on(corridor(8), fresh=False, policy=policy)
        before = weights(trainer)
        trainer.update()
        return {
            name.split(".")[0] for name, array in weights(trainer).items() if not np.array_equal(array, before[name])
        }

    untrained = trainer_on(corridor(8))
    distilled, beginning = untrained.policy.copy(), untrained.policy.copy()
    with torch.no_grad():  # learnt to act, say from somebody else's policy, but not to value
        distilled.actor[-1].bias += 0.1
    untrained.update()
    assert moved_by_the_first_update(beginning) == {"critic"}
    assert moved_by_the_first_update(distilled) == {"critic"}
    assert moved_by_the_first_update(untrained.policy) == {"actor", "critic"}


def test_target_kl_ends_an_update_early():
    eager = {"learning_rate": 0.05, "ent_coef": 0.0, "update_epochs": 10}
    assert trainer_on(corridor(8), target_kl=1e-6, **eager).update()["epochs"] == 1
    assert trainer_on(corridor(8), target_kl=None, **eager).update()["epochs"] == 10


def test_followed_steps_have_no_policy_loss_under_mask():
    quiet = {"ent_coef": 0.0, "target_kl": None}
    masked, naive = (trainer_on(corridor(8), modulation=Fixed(learn), **quiet) for learn in ("mask", "policy"))
    start = weights(masked)
    masked.update()
    naive.update()
    assert np.array_equal(weights(masked)["actor.0.weight"], start["actor.0.weight"])
    assert not np.array_equal(weights(masked)["critic.0.weight"], start["critic.0.weight"])
    assert not np.array_equal(weights(naive)["actor.0.weight"], start["actor.0.weight"])


def test_imitate_raises_the_probability_of_what_was_suggested():
    trainer = trainer_on(corridor(8), modulation=Fixed("imitate", action=0), imitate_coef=1.0, ent_coef=0.0)
    obs = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]

    def probability_left():
        outputs = trainer.policy.actor_outputs(trainer.policy.normalize(obs))
        return np.exp(trainer.policy.log_prob(outputs, np.zeros(8, np.int64))).mean()

    before = probability_left()
    for _ in range(5):
        metrics = trainer.update()
    assert probability_left() > before + 0.2
    assert 0 < metrics["imitate_loss"] < np.log(2)


def test_mixture_stores_the_behaviours_log_probability():
    trainer = trainer_on(corridor(8), modulation=Fixed("mixture", action=1, chance=0.5))
    trainer.episodes.start(0)
    rollout = trainer.rollout()
    pi = np.exp(rollout.logprobs)
    expected = np.log(0.5 * pi + 0.5 * (rollout.actions == 1))
    np.testing.assert_allclose(rollout.behaviour_logprobs, expected)
    assert not np.allclose(rollout.behaviour_logprobs, rollout.logprobs)
    assert 0.6 < (rollout.actions == 1).mean() < 0.9


def test_return_mean_is_unshaped_and_the_modulation_sees_every_step():
    plain = trainer_on(corridor(8, max_steps=1000))
    modulation = Fixed("policy", chance=0.0, bonus=100.0)
    paid = trainer_on(corridor(8, max_steps=1000), modulation=modulation)
    first, second = plain.update(), paid.update()
    assert first["return_mean"] == second["return_mean"]
    assert first["episodes"] == second["episodes"] > 0
    assert second["v_loss"] > 10 * first["v_loss"]
    assert second["modulation/hit_rate"] == 1.0
    assert modulation.begun == [8]
    paid.update()
    assert modulation.progress == [0.0, 256 / 4096]
    assert len(modulation.next_observations) == 64
    ended = [(obs, flag) for obs, flag in modulation.next_observations if flag.any()]
    assert all(np.isin(obs[flag], (-1.0, 1.0)).all() for obs, flag in ended)  # the ends, not the next start


def test_environments_that_break_their_contract_are_named():
    class NoFinal(Reach):
        def step(self, actions):
            return (*super().step(actions)[:4], {})

    class Broken(Reach):
        def step(self, actions):
            obs, rewards, *rest = super().step(actions)
            return (obs, rewards * np.nan, *rest)

    for envs, word in ((NoFinal(), "last observation"), (Broken(), "finite")):
        with pytest.raises(EnvironmentFault, match=word):
            trainer_on(envs).update()


def test_overrides_the_policy_finds_impossible_do_not_break_the_update():
    trainer = trainer_on(Reach(4), modulation=Fixed("policy", action=500.0, chance=0.5), log_std_floor=-1.0)
    trainer.policy.log_std.data.fill_(-5.0)
    for _ in range(3):
        metrics = trainer.update()
    assert all(np.isfinite(array).all() for array in weights(trainer).values())
    assert np.isfinite(metrics["pg_loss"])
    assert (weights(trainer)["log_std"] >= -1.0).all()
