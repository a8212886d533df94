"""The conformance kit over the built-in algorithm, and every check proven by an algorithm that breaks it."""

import functools
import re

import numpy as np
import pytest
from pydantic import BaseModel
from ultra_agents_plugins.algorithms._networks import PPOPolicy
from ultra_agents_plugins.algorithms.ppo import PPO, PPOTrainer

from ultra_agents.contracts import Algorithm
from ultra_agents.errors import PluginError
from ultra_agents.seeding import Streams
from ultra_agents.testing import algorithm_kit
from ultra_agents.testing.algorithm_kit import check_algorithm


def ppo(cls=PPO):
    return cls(PPO.Options(num_steps=16, hidden=(8, 8), update_epochs=2, clone_steps=300, clone_learning_rate=1e-2))


def test_ppo_conforms():
    report = check_algorithm(ppo())
    assert report.ok, str(report)
    assert not [row for row in report.rows if row.status == "skipped"]
    assert "resume [continuous]" in str(report)


def test_a_refused_kind_is_skipped_and_refusing_both_fails():
    class DiscreteOnly(PPO):
        def create_policy(self, observation_space, action_space, seed):
            if action_space.shape:
                raise PluginError("discrete actions only")
            return super().create_policy(observation_space, action_space, seed)

    class Nothing(PPO):
        def create_policy(self, observation_space, action_space, seed):
            raise PluginError("no")

    report = check_algorithm(ppo(DiscreteOnly))
    assert report.ok
    assert {row.status for row in report.rows if "[continuous]" in row.check} == {"skipped"}
    assert [row.check for row in check_algorithm(ppo(Nothing)).failed] == ["spaces"]


def test_who_cannot_imitate_is_not_asked_to():
    class Plain(PPO):
        imitate = Algorithm.imitate

    report = check_algorithm(ppo(Plain))
    assert report.ok, str(report)
    skipped = {row.check: row.detail for row in report.rows if row.status == "skipped"}
    assert set(skipped) == {"imitate [discrete]", "imitate [continuous]"}
    assert set(skipped.values()) == {"does not learn from demonstrations"}


def test_who_cannot_widen_is_not_asked_to():
    class Plain(PPO):
        widen = Algorithm.widen

    skipped = {row.check: row.detail for row in check_algorithm(ppo(Plain)).rows if row.status == "skipped"}
    assert skipped == dict.fromkeys(
        ("widen [discrete]", "widen [continuous]"), "takes no quantities as further inputs"
    )


def widen_with_opinions(self, policy, widening):
    twin = PPO.widen(self, policy, widening)
    twin.actor[-1].bias.data += 1.0
    return twin


def widen_in_place(self, policy, widening):
    twin = PPO.widen(self, policy, widening)
    policy.actor[-1].bias.data += 1.0
    return twin


def forgets_to_ask(self, arrays, description, *spaces):
    taken = {name: array for name, array in arrays.items() if not name.startswith("widening")}
    taken |= {name: taken[name][:, :1] for name in ("actor.0.weight", "critic.0.weight")}
    return PPO.load_policy(self, taken, {"hidden": description["hidden"]}, *spaces)


def with_policy(change):
    """A PPO whose policies are instances of a subclass with `change` applied to the class."""

    def make():
        class Odd(PPOPolicy):
            def copy(self):
                twin = type(self)(self.observation_space, self.action_space, self.hidden)
                twin.load(self.state()[0])
                return twin

        change(Odd)

        class Algorithm(PPO):
            def create_policy(self, observation_space, action_space, seed):
                return Odd(observation_space, action_space, self.options.hidden, seed)

            def load_policy(self, arrays, description, observation_space, action_space):
                policy = Odd(observation_space, action_space, self.options.hidden)
                policy.load(arrays)
                return policy

        return Algorithm

    return make


def with_trainer(change):
    """A PPO whose trainers are instances of a subclass with `change` applied to the class."""

    def make():
        class Odd(PPOTrainer):
            pass

        change(Odd)

        class Algorithm(PPO):
            def trainer(self, policy, envs, total_steps, streams, modulation=None, fresh=False):
                return Odd(self.options, policy.copy(), envs, total_steps, streams, modulation, fresh)

        return Algorithm

    return make


def wrap(name, after):
    """Replace a method by one whose result goes through `after(self, result, *arguments)`."""

    def change(cls):
        inherited = getattr(cls, name)

        @functools.wraps(inherited)
        def method(self, *args, **kwargs):
            return after(self, inherited(self, *args, **kwargs), *args)

        setattr(cls, name, method)

    return change


def override(name, function):
    return lambda cls: setattr(cls, name, function)


def with_class(**attributes):
    return lambda: type("Odd", (PPO,), attributes)


class LooseOptions(BaseModel):
    pass


def in_place(self, policy, envs, total_steps, streams, modulation=None, fresh=False):
    return PPOTrainer(self.options, policy, envs, total_steps, streams, modulation, fresh)


def imitate_in_place(self, policy, demonstrations, streams):
    twin = PPO.imitate(self, policy, demonstrations, streams)
    policy.load(twin.state()[0])
    return policy


def forgetful(self, policy, demonstrations, streams):
    return PPO.imitate(
        type(self)(self.options.model_copy(update={"clone_anchor": 0.0})), policy, demonstrations, streams
    )


def unseeded(self, policy, demonstrations, streams):
    return PPO.imitate(self, policy, demonstrations, Streams(int(np.random.default_rng().integers(2**31))))


def lazy_update(self):
    if self.episodes.obs is None:
        self.episodes.start(self.updates)
    self.rollout()
    return {"return_mean": 0.0, "episodes": 0.0}


def trusting(self, arrays):
    good = {name: np.nan_to_num(array) for name, array in arrays.items()}
    PPOPolicy.load(self, {**self.state()[0], **good})


def swap_reward_observations(cls):
    inherited = cls.rollout

    def rollout(self):
        if self.modulation is None:
            return inherited(self)
        pay = type(self.modulation).reward
        starts = np.array([[0.0, 1.0]] * self.envs.num_envs, np.float32)
        self.modulation.reward = lambda rewards, m, obs, ended: pay(self.modulation, rewards, m, starts, ended)
        return inherited(self)

    cls.rollout = rollout


def ignore_overrides(cls):
    inherited = cls.rollout

    def rollout(self):
        if self.modulation is None:
            return inherited(self)
        step = type(self.envs).step
        self.envs.step = lambda actions: step(self.envs, np.zeros_like(actions))
        return inherited(self)

    cls.rollout = rollout


def add_bonus(self, metrics):
    return {**metrics, "return_mean": metrics["return_mean"] + (1000.0 if self.modulation else 0.0)}


def forget(self, state):
    return state[0], {**state[1], "rng": np.random.default_rng(9).bit_generator.state}


def first_row_leaks(self, actions, *_):
    return np.roll(actions, len(actions) % 2, axis=0)


BROKEN = {
    "imitation of nothing": (
        "imitate",
        "does not act as demonstrated",
        with_class(imitate=lambda self, policy, demonstrations, streams: policy.copy()),
    ),
    "imitation in place": ("imitate", "changed the policy", with_class(imitate=imitate_in_place)),
    "imitation everywhere": ("imitate", "acts otherwise elsewhere", with_class(imitate=forgetful)),
    "unseeded imitation": ("imitate", "other weights", with_class(imitate=unseeded)),
    "imitation crashes": ("imitate", "ZeroDivision", with_class(imitate=lambda *_: 1 / 0)),
    "widening of nothing": (
        "widen",
        "does not say which",
        with_class(widen=lambda self, policy, widening: policy.copy()),
    ),
    "widening changes": ("widen", "acts otherwise", with_class(widen=widen_with_opinions)),
    "widening in place": ("widen", "changed the policy", with_class(widen=widen_in_place)),
    "widening lost": ("widen", "without having been given", with_class(load_policy=forgets_to_ask)),
    "loose options": ("options", "unknown keys|subclass", with_class(Options=LooseOptions)),
    "unknown learns": ("learns", "unknown ways", with_class(learns=frozenset({"osmosis"}))),
    "unseeded acting": (
        "act",
        "same generator",
        with_policy(override("uniforms", lambda self, rng, n: np.random.default_rng().random((n, 1)))),
    ),
    "actions outside": ("act", "action space", with_policy(wrap("bounded", lambda self, actions, *_: actions + 7))),
    "neighbours matter": (
        "act",
        "other rows",
        with_policy(wrap("mode", lambda self, a, *_: a if len(a) > 1 else 0 * a)),
    ),
    "uniforms ignored": (
        "act_with_uniforms",
        "no difference",
        with_policy(override("act_with_uniforms", lambda self, obs, u: self.act(obs, deterministic=True))),
    ),
    "batch matters": ("act_with_uniforms", "a batch of 1", with_policy(wrap("act_with_uniforms", first_row_leaks))),
    "values of the wrong shape": ("value", "shape", with_policy(wrap("value", lambda self, v, *_: v[:, None]))),
    "values not finite": ("value", "not finite", with_policy(wrap("value", lambda self, v, *_: v * np.nan))),
    "damage accepted": ("state", "a missing array", with_policy(override("load", trusting))),
    "argument changed": ("train", "changed the policy", with_class(trainer=in_place)),
    "steps miscounted": (
        "train",
        "environment steps were taken",
        with_trainer(wrap("update", lambda self, m: (setattr(self, "steps", self.steps + 1), m)[1])),
    ),
    "no return_mean": (
        "train",
        "no return_mean",
        with_trainer(wrap("update", lambda self, m: {k: v for k, v in m.items() if k != "return_mean"})),
    ),
    "nothing learnt": ("train", "changed nothing", with_trainer(override("update", lazy_update))),
    "hidden randomness": (
        "determinism",
        "other weights",
        with_trainer(override("_rng", property(lambda self: np.random.default_rng(), lambda self, value: None))),
    ),
    "resume forgets": ("resume", "other weights", with_trainer(wrap("state", forget))),
    "overrides ignored": ("modulation", "not what the environments got", with_trainer(ignore_overrides)),
    "bonus in the return": ("modulation", "return_mean", with_trainer(wrap("update", add_bonus))),
    "wrong observations rewarded": ("modulation", "next episode", with_trainer(swap_reward_observations)),
    "modulation metrics lost": (
        "modulation",
        "metrics are not reported",
        with_trainer(wrap("update", lambda self, m: {k: v for k, v in m.items() if not k.startswith("modulation/")})),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_break_is_caught(name, monkeypatch):
    check, words, make = BROKEN[name]
    kept = {key: value for key, value in algorithm_kit._CHECKS.items() if key == check}
    monkeypatch.setattr(algorithm_kit, "_CHECKS", kept)  # the one check, to be quick
    report = check_algorithm(ppo(make()))
    hits = [row for row in report.failed if row.check.split()[0] == check]
    assert hits, str(report)
    assert any(re.search(words, row.detail) for row in hits), str(report)
