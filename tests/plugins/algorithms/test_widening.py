"""Quantities of the environment as further inputs: at first nothing changes, then they are learnt from."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from ultra_agents_plugins.algorithms._rollout import flattened, gae
from ultra_agents_plugins.algorithms.ppo.autograd import AutogradLearner
from ultra_agents_plugins.algorithms.ppo.mlp import MLPLearner

import ultra_agents
from ultra_agents.contracts import Demonstrations, Environment, Policy, Quantity, Widening, agreed
from ultra_agents.errors import ConfigError, Interrupted, PluginError, PolicyError
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.exchange.importing import export_policy
from ultra_agents.policies import describe_policy_file, load_policy, save_policy
from ultra_agents.records import Array, FloatArray
from ultra_agents.refinement.refine import Refined, refine
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.rules import interface_of, load_rules, parse_rules
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.seeding import Streams
from ultra_agents.stages.played import fingerprint
from ultra_agents.testing.corridor import Corridor, CorridorOptions

NAMES = ("to_right_end", "cell")
QUICK: dict[str, Any] = {"hidden": [16, 8], "num_steps": 32}


class Patchy(Corridor):
    """Does not know how far the right end is from the left half."""

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        told = dict(super().quantities(observations))
        return {**told, "to_right_end": np.where(told["cell"] < 4, np.nan, told["to_right_end"])}


class Metric(Corridor):
    """Tells the place in metres."""

    @property
    def legend(self) -> Mapping[str, Quantity]:
        legend = dict(super().legend)
        return {**legend, "cell": replace(legend["cell"], unit="m")}


class Silent(Corridor):
    """Tells the place only."""

    @property
    def legend(self) -> Mapping[str, Quantity]:
        return {"cell": super().legend["cell"]}

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        return {"cell": super().quantities(observations)["cell"]}


class Failing(Corridor):
    """Cannot tell anything."""

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        raise ValueError("no idea")


def corridor(kind: type[Corridor] = Corridor) -> Corridor:
    return kind(CorridorOptions(slip=0.2))


def cells(*which: int) -> Array:
    return (2.0 * np.asarray(which) / 8 - 1.0).astype(np.float32)[:, None]


def policy_of(environment: Environment, algorithm: str = "ppo", seed: int = 3) -> Policy:
    """With opinions: fresh actors answer the same everywhere."""
    made: Any = create_algorithm(algorithm, {"hidden": [16, 8]}).create_policy(
        environment.observation_space, environment.action_space, seed
    )
    generator = torch.Generator().manual_seed(0)
    for parameter in made.actor.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return made


def wide_of(environment: Environment, names: Any = NAMES, policy: Policy | None = None) -> Any:
    policy = policy_of(environment) if policy is None else policy
    return create_algorithm("ppo").widen(policy, Widening.of(environment, names, cells(*range(9))))


def met(environment: Environment, n: int = 16, steps: int = 40) -> Array:
    envs, rng = environment.make(n), np.random.default_rng(0)
    rows = [np.array(envs.reset(seed=list(range(n)))[0])]
    for _ in range(steps):
        space: Any = environment.action_space
        actions = (
            rng.integers(space.n, size=n) if isinstance(space, Discrete) else rng.uniform(-1, 1, (n, *space.shape))
        )
        rows.append(np.array(envs.step(np.asarray(actions, space.dtype))[0]))
    return np.concatenate(rows)


def same(left: Any, right: Any) -> bool:
    a, b = left.state()[0], right.state()[0]
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["pong", "corridor", "gymnasium:Pendulum-v1"])
def test_a_widened_ppo_policy_acts_and_values_as_before_to_the_bit(name: str) -> None:
    environment = create_environment(name)
    policy, observations = policy_of(environment), met(environment)
    names = list(environment.legend)
    wide: Any = create_algorithm("ppo").widen(policy, Widening.of(environment, names, observations))
    rng = np.random.default_rng(1)
    for n in (1, 16, 37, len(observations)):
        rows, uniforms = observations[:n], rng.random((n, 3))
        np.testing.assert_array_equal(wide.act_with_uniforms(rows, uniforms), policy.act_with_uniforms(rows, uniforms))
        np.testing.assert_array_equal(wide.act(rows, deterministic=True), policy.act(rows, deterministic=True))
        np.testing.assert_array_equal(wide.value(rows), policy.value(rows))
    assert wide.normalize(observations).shape == (len(observations), policy.obs_dim + 2 * len(names))  # type: ignore[attr-defined]
    assert np.abs(wide.normalize(observations)[:, policy.obs_dim :]).max() > 0.5  # type: ignore[attr-defined]
    assert policy.widening is None, "the policy given is left alone"


def test_a_policy_that_learnt_nothing_from_further_inputs_counts_as_the_one_without() -> None:
    environment = create_environment("corridor")
    policy, observations = policy_of(environment), met(environment)
    wide: Any = create_algorithm("ppo").widen(policy, Widening.of(environment, list(environment.legend), observations))
    assert fingerprint(wide) == fingerprint(policy)
    assert wide.acting_state()[1] == policy.state()[1]
    rules = parse_rules("rules: [{when: cell > 2, do: RIGHT}]", interface_of(environment))
    assert fingerprint(RulePolicy(wide, rules, environment)) == fingerprint(RulePolicy(policy, rules, environment))
    assert fingerprint(RulePolicy(wide, rules, environment)) != fingerprint(policy)
    for name in ("actor.0.weight", "critic.0.weight"):
        learnt, (arrays, _) = wide.copy(), wide.state()
        arrays[name][3, -1] = 1e-3
        learnt.load(arrays)
        assert fingerprint(learnt) != fingerprint(policy), name
        assert learnt.acting_state()[1] == learnt.state()[1]


def test_a_widened_sac_policy_acts_and_values_as_before_but_for_rounding() -> None:
    environment = create_environment("gymnasium:Pendulum-v1")
    policy, observations = policy_of(environment, "sac"), met(environment)
    algorithm = create_algorithm("sac", {"num_steps": 8, "learning_starts": 16, "batch_size": 32})
    wide: Any = algorithm.widen(policy, Widening.of(environment, list(environment.legend), observations))
    uniforms = np.random.default_rng(1).random((len(observations), 1))
    np.testing.assert_allclose(
        wide.act_with_uniforms(observations, uniforms), policy.act_with_uniforms(observations, uniforms), atol=1e-5
    )
    np.testing.assert_allclose(wide.value(observations), policy.value(observations), atol=1e-5)
    with make_simulators(environment, 4) as simulators:
        trainer: Any = algorithm.trainer(wide, simulators, 1000, Streams(0), None, True)
        for _ in range(3):
            trainer.update()
    for name in ("actor.0.weight", "critics.0.0.weight"):
        assert np.abs(trainer.policy.state()[0][name][:, 3:-1]).max() > 0, "it learns from them"
    arrays, description = trainer.policy.state()
    again = algorithm.load_policy(
        arrays, json.loads(json.dumps(description)), environment.observation_space, environment.action_space
    )
    again.bind(environment)
    np.testing.assert_array_equal(
        again.act(observations, deterministic=True), trainer.policy.act(observations, None, True)
    )


def test_inputs_are_standardised_and_say_where_there_is_no_value() -> None:
    environment = corridor(Patchy)
    widening = Widening.of(environment, ("to_right_end", "cell", "cell"), cells(*range(9)))
    assert widening.names == ("to_right_end", "cell")
    inputs = widening.inputs(cells(*range(9)))
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs[:, 1], [1, 1, 1, 1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(inputs[:, 3], 0)
    np.testing.assert_array_equal(inputs[:4, 0], 0)
    np.testing.assert_allclose(inputs[4:, 0], np.array([2, 1, 0, -1, -2]) / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(inputs[:, 2], (np.arange(9) - 4) / np.std(np.arange(9)), rtol=1e-6)
    still = Widening.of(environment, NAMES, cells(2, 2))
    assert np.isfinite(still.inputs(cells(*range(9)))).all(), "neither a spread of 0 nor no value at all divides by 0"


def test_the_written_out_gradient_is_that_of_autograd_with_further_inputs() -> None:
    environment = corridor()
    algorithm = create_algorithm("ppo", QUICK)
    with make_simulators(environment, 8) as simulators:
        trainer: Any = algorithm.trainer(wide_of(environment), simulators, 4096, Streams(0), None, False)
        trainer.episodes.start(0)
        rollout = trainer.rollout()
    batch = flattened(rollout, gae(rollout, 0.99, 0.95), "policy", True)
    automatic = AutogradLearner(trainer.policy.copy(), algorithm.options)
    written = MLPLearner(trainer.policy.copy(), algorithm.options)
    automatic.begin(batch, 1e-3, warmup=False)
    automatic.gradient(batch)
    with torch.no_grad():
        written.critic_gradient(batch["obs"], batch["returns"].numpy())
        written.actor_gradient(batch["obs"], {name: rows.numpy() for name, rows in batch.items() if name != "obs"})
    for network in ("actor", "critic"):
        mine, theirs = (getattr(one.policy, network)[0].weight.grad for one in (written, automatic))
        assert mine.shape == (16, 5)
        assert float(theirs[:, [1, 3]].abs().max()) > 1e-4, "weights of 0 have a gradient, or they would stay"
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


def test_pongs_rule_is_learnt_better_with_its_quantities() -> None:
    environment = create_environment("pong")
    written = {"base": 5, "short": 3}  # what the margin below was measured with
    rules = load_rules(Path("examples/rules/pong.yaml"), interface_of(environment)).with_constants(written)
    policy = load_policy(environment.policies()["suboptimal"], "pong", environment).policy
    layer, rng = RulePolicy(policy, rules, environment), np.random.default_rng(0)

    def labelled(first: int, steps: int) -> Demonstrations:
        envs, seen = environment.make(16), []
        observations = np.array(envs.reset(seed=list(range(first, first + 16)))[0])
        for _ in range(steps):
            seen.append(observations)
            observations = np.array(envs.step(layer.act(observations, rng))[0])
        everything = np.concatenate(seen)
        told = layer.decide(everything, policy.act(everything, rng))
        covered = everything[told.covered]
        return Demonstrations(covered, told.actions[told.covered], np.ones(len(covered)), everything[~told.covered])

    lesson, others = labelled(0, 250), labelled(100, 100)
    algorithm = create_algorithm("ppo", {"clone_steps": 600})
    wide = algorithm.widen(policy, Widening.of(environment, rules.names, lesson.observations))

    def learnt(start: Policy) -> float:
        copy = algorithm.imitate(start, lesson, Streams(0))
        return agreed(copy.act(others.observations, deterministic=True), others.actions)

    assert learnt(wide) > learnt(policy) + 0.04


def test_training_resumes_exactly() -> None:
    environment, algorithm = corridor(), create_algorithm("ppo", QUICK)

    def start() -> Any:
        simulators = make_simulators(environment, 8)
        return algorithm.trainer(wide_of(environment), simulators, 4096, Streams(0), None, False)

    whole, first, second = start(), start(), start()
    for one in (whole, whole, whole, first):
        one.update()
    arrays, rest = first.state()
    second.load_state(arrays, json.loads(json.dumps(rest)))
    second.update()
    second.update()
    assert same(whole.policy, second.policy)
    assert np.abs(whole.policy.state()[0]["actor.0.weight"][:, 1:]).max() > 0


def test_refining_keeps_the_best_and_goes_on_from_a_checkpoint_bit_by_bit(tmp_path: Path) -> None:
    environment, algorithm = corridor(), create_algorithm("ppo", QUICK)

    def run(folder: Path, stop: Any) -> Refined:
        folder.mkdir(exist_ok=True)
        with make_simulators(environment, 8) as simulators, make_simulators(environment, 4) as judges:

            def score(policy: Policy, steps: int) -> list[float]:
                return list(evaluate_returns(policy, environment, judges, [1, 2, 3, 4], Streams(5)).values)

            return refine(
                method="continue", start=wide_of(environment), algorithm=algorithm, simulators=simulators,
                total_steps=2048, already_spent=0, streams=Streams(1), modulation=None, score=score,
                evaluate_every=512, checkpoint=folder / "trainer.safetensors", save=lambda which, policy: None,
                emit=lambda event: None, stop=stop,
            )  # fmt: skip

    whole = run(tmp_path / "whole", lambda: False)
    stops = iter([False, False, False, True])
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", lambda: next(stops))
    resumed = run(tmp_path / "cut", lambda: False)
    assert same(resumed.last, whole.last)
    assert same(resumed.best, whole.best)
    assert resumed.curve == whole.curve
    for policy in (resumed.last, resumed.best):
        assert policy.act(cells(1, 5), deterministic=True).shape == (2,), "it has its environment"


def test_it_saves_loads_and_says_what_it_takes(tmp_path: Path) -> None:
    environment = create_environment("corridor", {"slip": 0.2})
    wide = wide_of(environment)
    for rules in ("", "rules: [{when: cell > 4, do: RIGHT}]"):
        policy = wide if not rules else RulePolicy(wide, parse_rules(rules, interface_of(environment)), environment)
        path = tmp_path / f"{bool(rules)}.safetensors"
        save_policy(
            path, policy, algorithm="ppo", environment_name="corridor", environment=environment, provenance={},
            score=None, environment_options={"slip": 0.2},
        )  # fmt: skip
        loaded = ultra_agents.load_policy(path)
        uniforms = np.random.default_rng(0).random((9, 1))
        np.testing.assert_array_equal(
            loaded.policy.act_with_uniforms(cells(*range(9)), uniforms),
            policy.act_with_uniforms(cells(*range(9)), uniforms),
        )
        assert same(loaded.policy, policy)
        assert "takes quantities as inputs: to_right_end, cell" in describe_policy_file(loaded.metadata)
        with (
            pytest.warns(UserWarning, match="acts by rules") if rules else nullcontext(),
            pytest.raises(PolicyError, match="takes quantities as inputs") as caught,
        ):
            export_policy(path, tmp_path / "out.zip", "sb3", environment, "corridor")
        assert "to_right_end, cell" in str(caught.value.found)
        assert "not widened" in str(caught.value.hint)


def test_copies_pickles_and_further_quantities() -> None:
    environment = corridor()
    wide = wide_of(environment, ["cell"])
    wide.actor[0].weight.data[:, 1:] = 0.5
    rows, uniforms = cells(*range(9)), np.random.default_rng(0).random((9, 1))
    for twin in (wide.copy(), pickle.loads(pickle.dumps(wide)), wide_of(environment, NAMES, wide)):
        np.testing.assert_array_equal(twin.act_with_uniforms(rows, uniforms), wide.act_with_uniforms(rows, uniforms))
        np.testing.assert_array_equal(twin.value(rows), wide.value(rows))
    assert wide_of(environment, NAMES, wide).widening.names == ("cell", "to_right_end"), "those it has stay first"
    np.testing.assert_array_equal(wide_of(environment, ["cell"], wide).widening.mean, wide.widening.mean)


def test_names_and_networks_that_do_not_fit_are_refused() -> None:
    environment = corridor()
    with pytest.raises(ConfigError, match="cannot be widened") as caught:
        Widening.of(environment, ["cells"], cells(1))
    assert caught.value.hint == "did you mean 'cell'?"
    with pytest.raises(ConfigError, match="cannot be widened") as caught:
        Widening.of(environment, [], cells(1))
    assert "cell" in str(caught.value.expected)
    with pytest.raises(ConfigError, match="from states"):
        Widening.of(environment, ["cell"], cells()[:0])
    with pytest.raises(PluginError, match="cannot tell its quantities") as failed:
        Widening.of(corridor(Failing), ["cell"], cells(1))
    assert "no idea" in str(failed.value.found)
    other = Widening.of(
        create_environment("gymnasium:Pendulum-v1"), ["angular_velocity"], np.zeros((1, 3), np.float32)
    )
    with pytest.raises(ConfigError, match="one environment only"):
        create_algorithm("ppo").widen(wide_of(environment), other)
    screens = create_algorithm("ppo").create_policy(Box(0, 255, (36, 36, 3), np.uint8), Discrete(2), 0)
    with pytest.raises(PluginError, match="screens takes no quantities"):
        create_algorithm("ppo").widen(screens, Widening.of(environment, NAMES, cells(1)))


def test_an_environment_that_changed_is_refused_and_without_one_nobody_acts() -> None:
    environment, algorithm = corridor(), create_algorithm("ppo")
    arrays, description = wide_of(environment).state()
    spaces = environment.observation_space, environment.action_space

    def rebuilt(**changes: Any) -> Policy:
        told = json.loads(json.dumps(description, sort_keys=True))
        return algorithm.load_policy({**arrays, **changes}, told, *spaces)

    with pytest.raises(PolicyError, match="nobody to ask") as caught:
        rebuilt().act(cells(1))
    assert "load_policy" in str(caught.value.hint)
    for kind, found in ((Metric, "cell in m"), (Silent, "no to_right_end")):
        with pytest.raises(PolicyError, match="no longer tells alike") as caught:
            rebuilt().bind(corridor(kind))
        assert found in str(caught.value.found)
    with pytest.raises(PolicyError, match="another environment"):
        rebuilt().bind(create_environment("gymnasium:Pendulum-v1"))
    with pytest.raises(PolicyError, match="damaged"):
        rebuilt(**{"widening.scale": np.zeros(2)})
    with pytest.raises(PolicyError, match="damaged"):
        rebuilt(**{"widening.mean": np.zeros(3)})
    plain = policy_of(environment)
    plain.bind(corridor(Silent))
    assert plain.widening is None
