"""An imitation term that falls to 0 on covered states, whoever acts there, and the critic's warm-up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from ultra_agents_plugins.algorithms._rollout import flattened, gae
from ultra_agents_plugins.algorithms.ppo.autograd import AutogradLearner

from ultra_agents.contracts import Modulated
from ultra_agents.records import Array, FloatArray
from ultra_agents.registry import create_algorithm
from ultra_agents.seeding import Streams
from ultra_agents.testing._algorithm_world import World

OPTIONS: dict[str, dict[str, Any]] = {
    "ppo": {"num_steps": 32, "hidden": [16, 16], "imitate_coef": 1.0, "target_kl": None},
    "sac": {"num_steps": 8, "hidden": [16, 16], "learning_starts": 0, "batch_size": 32, "value_warmup_steps": 0},
}
CASES = pytest.mark.parametrize(("name", "continuous"), [("ppo", False), ("ppo", True), ("sac", True)])
SUGGESTION = -0.7
"""Continuous; discrete: 0. Both against what the reward teaches."""


class Teacher:
    """Suggests one action where the place is above 0, with a weight that falls linearly to 0 over training.

    Args:
        weight: At the start.
        follows: The suggestion acts where there is one; else the policy acts everywhere.
        falls: Lower the weight over training.
        warmup: Critic-only updates asked for.
    """

    learn = "imitate"

    def __init__(self, weight: float = 1.0, follows: bool = False, falls: bool = False, warmup: int = 0) -> None:
        self.weight, self.follows, self.falls = weight, follows, falls
        self.warmup_updates, self.imitation_strength = warmup, 1.0
        self.covered: list[Array] = []

    def begin(self, num_envs: int) -> None:
        pass

    def set_progress(self, progress: float) -> None:
        self.imitation_strength = 1.0 - progress if self.falls else 1.0

    def act(self, observations: Array, actions: Array) -> Modulated:
        covered = observations[:, 0] > 0
        self.covered.append(covered)
        where = covered if actions.ndim == 1 else covered[:, None]
        suggested = np.where(where, 0 if actions.ndim == 1 else SUGGESTION, actions).astype(actions.dtype)
        followed = covered & self.follows
        executed = suggested if self.follows else actions
        weight = np.where(covered, self.weight * self.imitation_strength, 0.0)
        return Modulated(executed, covered, followed, followed.astype(float), suggested, weight)

    def behaviour_log_prob(self, policy_log_prob: FloatArray, modulated: Modulated) -> FloatArray:
        return policy_log_prob

    def reward(self, rewards: FloatArray, modulated: Modulated, next_observations: Array, ended: Array) -> FloatArray:
        return rewards

    def metrics(self) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        pass


def trainer_of(name: str, continuous: bool, teacher: Teacher | None, total: int = 4096, **options: Any) -> Any:
    """A trainer that refines a policy whose critic has learnt something."""
    algorithm, world = create_algorithm(name, {**OPTIONS[name], **options}), World(8, continuous)
    policy: Any = algorithm.create_policy(world.single_observation_space, world.single_action_space, 3)
    if name == "ppo":
        policy.critic[-1].bias.data += 0.1
    return algorithm.trainer(policy, world, total, Streams(0), teacher, False)


def moved(before: dict[str, Array], after: dict[str, Array]) -> set[str]:
    return {name.split(".")[0] for name in before if not np.array_equal(before[name], after[name])}


def nearness(policy: Any) -> float:
    """How near the policy is to the suggestion on covered states: its mean chance, or minus the mean distance."""
    places = np.column_stack([np.linspace(0.05, 0.9, 20), np.linspace(0.2, 1.0, 20)]).astype(np.float32)
    if not hasattr(policy, "discrete") or not policy.discrete:
        return float(-np.abs(policy.act(places, deterministic=True) - SUGGESTION).mean())
    outputs = policy.actor_outputs(policy.normalize(places))
    return float(np.exp(policy.log_prob(outputs, np.zeros(20, np.int64))).mean())


@CASES
def test_a_weight_of_0_is_as_if_nobody_taught(name: str, continuous: bool) -> None:
    plain, taught = (trainer_of(name, continuous, teacher) for teacher in (None, Teacher(weight=0.0)))
    for _ in range(3):
        plain.update()
        taught.update()
    assert moved(plain.policy.state()[0], taught.policy.state()[0]) == set()


@CASES
@pytest.mark.parametrize("follows", [False, True])
def test_the_policy_moves_towards_the_suggestion(name: str, continuous: bool, follows: bool) -> None:
    found = []
    for weight in (0.0, 1.0):
        options = {"imitate_coef": 30.0} if name == "sac" else {}
        trainer = trainer_of(name, continuous, Teacher(weight, follows), **options)
        for _ in range(8):
            metrics = trainer.update()
        found.append(nearness(trainer.policy))
        assert (metrics["imitate_loss"] != 0) == (weight > 0)
    assert found[1] > found[0] + 0.15


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("follows", [False, True])
def test_the_gradient_is_that_of_the_policy_loss_plus_the_term(continuous: bool, follows: bool) -> None:
    """Nothing followed: the policy loss of all steps; where the suggestion acts: of the others alone."""
    teacher = Teacher(0.6, follows)
    trainer = trainer_of("ppo", continuous, teacher)
    trainer.episodes.start(0)
    rollout = trainer.rollout()
    batch = flattened(rollout, gae(rollout, 0.99, 0.95), "imitate", not continuous)
    covered = torch.from_numpy(np.concatenate(teacher.covered))
    assert 0.2 < covered.double().mean() < 0.8
    assert torch.equal(batch["part"], (~covered | (not follows)).float())
    assert torch.equal(batch["imitate"], 0.6 * covered.float())

    def gradient(rows: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        learner = AutogradLearner(trainer.policy.copy(), trainer.options)
        learner.begin(rows, 1e-3, warmup=False)
        learner.gradient(rows)
        return learner.actor.gradient.clone(), learner.critic.gradient.clone()

    actor, critic = gradient(batch)
    untaught = {key: rows for key, rows in batch.items() if key not in ("suggested", "imitate")}
    alone = {key: rows[batch["part"] > 0] for key, rows in untaught.items()}
    policy = trainer.policy.copy()
    parameters = policy.actor_parameters()
    logprobs = policy.log_prob_and_entropy(batch["obs"], batch["suggested"])[0][0]
    (-(0.6 * covered * logprobs).mean()).backward()
    by_term = torch.cat([parameter.grad.flatten() for parameter in parameters])
    packed = torch.cat([learnt.flatten() for learnt in _parts(gradient(alone)[0], parameters)])
    torch.testing.assert_close(torch.cat([one.flatten() for one in _parts(actor, parameters)]), packed + by_term)
    torch.testing.assert_close(critic, gradient(untaught)[1])
    assert float(by_term.abs().max()) > 1e-3
    if follows:
        assert not torch.allclose(critic, gradient(alone)[1]), "the critic learns where the suggestion acts, too"


def _parts(flat: torch.Tensor, parameters: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    """A flat gradient without the padding between tensors."""
    parts, start = [], 0
    for parameter in parameters:
        parts.append(flat[start : start + parameter.numel()])
        start += -(-parameter.numel() // 16) * 16
    return parts


@pytest.mark.parametrize("continuous", [False, True])
def test_where_the_suggestion_always_acts_only_the_term_moves_the_actor(continuous: bool) -> None:
    class Everywhere(Teacher):
        def act(self, observations: Array, actions: Array) -> Modulated:
            return super().act(np.ones_like(observations), actions)

    trainer = trainer_of("ppo", continuous, Everywhere(0.0, follows=True), ent_coef=0.1)
    before = trainer.policy.state()[0]
    for _ in range(2):
        metrics = trainer.update()
    assert moved(before, trainer.policy.state()[0]) == {"critic"}, "no policy loss, and no entropy bonus either"
    assert metrics["entropy"] == 0
    assert metrics["v_loss"] > 0
    taught = trainer_of("ppo", continuous, Everywhere(1.0, follows=True))
    taught.update()
    assert {"actor", "critic"} <= moved(before, taught.policy.state()[0])


def test_what_sac_remembers_weighs_what_is_left_of_the_teaching() -> None:
    losses = {}
    for falls in (False, True):
        trainer = trainer_of("sac", True, Teacher(1.0, falls=falls), total=8 * 8 * 4, learning_rate=1e-8)
        losses[falls] = [trainer.update()["imitate_loss"] for _ in range(5)]
        remembered = trainer.buffer.weight[: trainer.buffer.size]
        assert set(np.unique(remembered)) == {0.0, 1.0}
    left = np.array(losses[True]) / np.array(losses[False])
    np.testing.assert_allclose(left, [1.0, 0.75, 0.5, 0.25, 0.0], atol=1e-4)


@CASES
def test_the_critic_is_warmed_up_where_the_modulation_asks(name: str, continuous: bool) -> None:
    actor = {"actor", "log_std", "log_alpha"}

    def movements(teacher: Teacher, **options: Any) -> list[bool]:
        """Whether what acts moved, update by update; the critic always does."""
        trainer, found = trainer_of(name, continuous, teacher, **options), []
        for _ in range(4):
            before = trainer.policy.state()[0]
            metrics = trainer.update()
            names = moved(before, trainer.policy.state()[0])
            assert names & {"critic", "critics"}
            assert all(math.isfinite(value) for key, value in metrics.items() if key in ("v_loss", "q_loss"))
            found.append(bool(names & actor))
        return found

    assert movements(Teacher(1.0, follows=True, warmup=3)) == [False, False, False, True]
    assert movements(Teacher(1.0, follows=True)) == [True] * 4
    if name == "ppo":
        explicit = movements(Teacher(1.0, warmup=3), value_warmup_updates=1)
        assert explicit == [False, True, True, True], "what the configuration says holds"


@pytest.mark.parametrize("continuous", [False, True])
def test_by_own_the_policys_action_is_learnt_from_and_what_acts_is_the_environments(continuous: bool) -> None:
    proposed, sent = [], []

    class Acting(Teacher):
        learn = "own"

        def act(self, observations: Array, actions: Array) -> Modulated:
            proposed.append(np.array(actions))
            return super().act(observations, actions)

    trainer = trainer_of("ppo", continuous, Acting(1.0, follows=True))
    step = trainer.envs.step
    trainer.envs.step = lambda actions: sent.append(np.array(actions)) or step(actions)
    trainer.episodes.start(0)
    rollout = trainer.rollout()
    assert rollout.followed.any()
    assert not rollout.followed.all()
    np.testing.assert_array_equal(rollout.actions, np.stack(proposed))
    np.testing.assert_array_equal(rollout.behaviour_logprobs, rollout.logprobs)
    suggestion = np.float32(SUGGESTION) if continuous else 0
    assert (np.stack(sent)[rollout.followed] == suggestion).all()
    assert not (rollout.actions[rollout.followed] == suggestion).all()
    batch = flattened(rollout, gae(rollout, 0.9, 0.9), "own", not continuous)
    assert batch["part"].all()
    assert batch["own"].all()
    before = trainer.policy.state()[0]
    trainer.update()
    assert {"actor", "critic"} <= moved(before, trainer.policy.state()[0])
