"""Conformance kit for algorithm plugins: `check_algorithm(plugin)` says what the contract's promises are worth.

For plugin authors: run it in a test of yours and assert `report.ok`. Every check runs for discrete and for continuous
actions; a kind of action space the plugin refuses with a `PluginError` is `skipped` (refusing both fails).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import numpy as np

from ultra_agents.contracts import Algorithm, Demonstrations, Learn, Options, Policy, Trainer, Widening
from ultra_agents.errors import PluginError, PolicyError
from ultra_agents.records import Array
from ultra_agents.seeding import Streams
from ultra_agents.testing._algorithm_world import BONUS, Recorder, World
from ultra_agents.testing._report import Broken, Report, Row, Skip, require, run_check
from ultra_agents.testing.corridor import Corridor, CorridorOptions

NUM_ENVS = 4
TOTAL_STEPS = 4096
REMEDIES = {
    "act": "draw from the generator given, row by row, and return actions of the space",
    "act_with_uniforms": "turn the uniforms into actions by the inverse distribution function, row by row",
    "value": "return one finite number per observation; zeros where there is no value function",
    "state": "state() must hold all that load_policy needs, and load_policy must raise PolicyError for damage",
    "train": "train a copy of the policy, count every environment step, report return_mean and episodes",
    "determinism": "take all randomness from the streams given",
    "resume": "put weights, optimiser, generators, episodes under way and environment snapshots into state()",
    "modulation": "call begin once, then act and reward in turn on every step, with the observations that ended",
    "imitate": "train a copy to act as demonstrated and, on `visited`, as before; or do not override it",
    "widen": "give a copy further inputs of weight 0, and keep its `widening` in state(); or do not override it",
}
"""What to do when a check fails."""


def check_algorithm(algorithm: Algorithm) -> Report:
    """Check a plugin against the contract.

    Args:
        algorithm: The plugin, with the options it is to be checked with; short rollouts make it quick.

    Returns:
        One row per check and kind of action (`act [discrete]`); nothing a plugin raises gets out.
    """
    rows = [
        run_check("options", partial(_options, algorithm), "derive Options from contracts.Options, with defaults"),
        run_check("learns", partial(_learns, algorithm), f"name any of {', '.join(get_args(Learn))}"),
    ]
    refused = 0
    for kind, continuous in (("discrete", False), ("continuous", True)):
        try:
            _create(algorithm, continuous)
        except PluginError as refusal:
            refused += 1
            rows += [Row(f"{name} [{kind}]", "skipped", f"refused: {refusal.problem}") for name in _CHECKS]
            continue
        except Exception:
            pass  # the first check meets it again and reports it
        for name, check in _CHECKS.items():
            rows.append(run_check(f"{name} [{kind}]", partial(check, algorithm, continuous), REMEDIES[name]))
    if refused == 2:
        do = "support one of gymnasium.spaces.Discrete and Box, and raise PluginError for the other"
        rows.append(Row("spaces", "failed", "neither discrete nor continuous actions are supported", do))
    return Report(type(algorithm).__name__, tuple(rows))


# -- pieces ----------------------------------------------------------------------------------------------------


def _create(algorithm: Algorithm, continuous: bool, seed: int = 0) -> Policy:
    world = World(1, continuous)
    return algorithm.create_policy(world.single_observation_space, world.single_action_space, seed)


def _trainer(
    algorithm: Algorithm, continuous: bool, recorder: Recorder | None = None, world: World | None = None
) -> Trainer:
    world = World(NUM_ENVS, continuous) if world is None else world
    policy = _create(algorithm, continuous)
    return algorithm.trainer(policy, world, TOTAL_STEPS, Streams(0), recorder, fresh=recorder is None)


def _batch(n: int = 37) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (n, 2)).astype(np.float32), rng.random((n, 1))


def _alike(left: Policy, right: Policy) -> bool:
    return _same(left.state()[0], right.state()[0])


def _valid(actions: Array, continuous: bool, n: int) -> None:
    space = World(1, continuous).single_action_space
    require(len(actions) == n, f"{len(actions)} actions for {n} observations")
    for action in actions:
        require(space.contains(action), f"{action!r} is not in the action space {space}")


# -- checks ----------------------------------------------------------------------------------------------------


def _options(algorithm: Algorithm) -> str:
    options = type(algorithm).Options
    require(issubclass(options, Options), f"Options is {options}, not a subclass of contracts.Options")
    require(options.model_config.get("extra") == "forbid", "Options let unknown keys pass")
    type(algorithm)(options())
    return f"{len(options.model_fields)} options, all with defaults"


def _learns(algorithm: Algorithm) -> str:
    unknown = set(algorithm.learns) - set(get_args(Learn))
    require(not unknown, f"unknown ways of learning from overridden steps: {sorted(unknown)}")
    if not algorithm.learns:
        raise Skip("learns from no overridden steps: usable for `continue` only")
    return ", ".join(sorted(algorithm.learns))


def _act(algorithm: Algorithm, continuous: bool) -> str:
    policy, (observations, _) = _create(algorithm, continuous), _batch()
    drawn = [policy.act(observations, np.random.default_rng(1)) for _ in range(2)]
    _valid(drawn[0], continuous, len(observations))
    require(np.array_equal(drawn[0], drawn[1]), "the same generator gives other actions the second time")
    certain = [policy.act(observations, np.random.default_rng(seed), deterministic=True) for seed in (1, 2)]
    _valid(certain[0], continuous, len(observations))
    require(np.array_equal(certain[0], certain[1]), "deterministic actions depend on the generator")
    single = np.concatenate([policy.act(observations[i : i + 1], deterministic=True) for i in range(8)])
    require(np.array_equal(single, certain[0][:8]), "a deterministic action depends on the other rows of the batch")
    require(_alike(policy, _create(algorithm, continuous)), "the same seed creates another policy")
    require(not _alike(policy, _create(algorithm, continuous, 1)), "another seed creates the same policy")
    return f"{len(observations)} actions"


def _uniforms(algorithm: Algorithm, continuous: bool) -> str:
    policy, (observations, uniforms) = _create(algorithm, continuous), _batch()
    actions = policy.act_with_uniforms(observations, uniforms)
    _valid(actions, continuous, len(observations))
    again = policy.act_with_uniforms(observations, uniforms)
    require(np.array_equal(actions, again), "the same uniforms give other actions the second time")
    for size in (1, 16):
        part = policy.act_with_uniforms(observations[:size], uniforms[:size])
        require(np.array_equal(part, actions[:size]), f"a batch of {size} gives other actions than one of 37")
    low, high = (policy.act_with_uniforms(observations, np.full_like(uniforms, u)) for u in (0.001, 0.999))
    differ = not np.array_equal(low, high)
    require(differ or not policy.stochastic, "the uniforms make no difference to a stochastic policy")
    require(policy.stochastic or not differ, "the uniforms change what a policy does that is not stochastic")
    return "common random numbers hold" if policy.stochastic else "deterministic"


def _value(algorithm: Algorithm, continuous: bool) -> str:
    observations, _ = _batch()
    values = _create(algorithm, continuous).value(observations)
    require(values.shape == (len(observations),), f"values have shape {values.shape}")
    require(np.isfinite(values).all(), "values are not finite")
    return f"{values.min():.2f} to {values.max():.2f} untrained"


def _state(algorithm: Algorithm, continuous: bool) -> str:
    trainer, world = _trainer(algorithm, continuous), World(1, continuous)
    trainer.update()
    policy = trainer.policy
    arrays, description = policy.state()
    require(all(isinstance(array, np.ndarray) for array in arrays.values()), "state holds something else than arrays")
    told = json.loads(json.dumps(description))
    spaces = world.single_observation_space, world.single_action_space
    twin = algorithm.load_policy({name: np.array(array) for name, array in arrays.items()}, told, *spaces)
    observations, uniforms = _batch()
    for name in ("value", "act_with_uniforms"):
        given = (observations,) if name == "value" else (observations, uniforms)
        require(np.array_equal(getattr(twin, name)(*given), getattr(policy, name)(*given)), f"{name} differs")
    first = next(iter(arrays))
    for what, spoilt in (
        ("a missing array", {name: array for name, array in arrays.items() if name != first}),
        ("NaN weights", arrays | {first: np.full_like(arrays[first], np.nan)}),
    ):
        try:
            algorithm.load_policy(spoilt, told, *spaces)
        except PolicyError:
            continue
        raise Broken(f"load_policy takes {what} instead of raising PolicyError")
    return f"{len(arrays)} arrays"


def _train(algorithm: Algorithm, continuous: bool) -> str:
    world, policy = World(NUM_ENVS, continuous), _create(algorithm, continuous)
    trainer = algorithm.trainer(policy, world, TOTAL_STEPS, Streams(0), None, fresh=True)
    metrics: dict[str, float] = {}
    for _ in range(3):
        metrics = trainer.update()
    taken = len(world.executed) * NUM_ENVS
    require(trainer.steps == taken, f"steps says {trainer.steps}, but {taken} environment steps were taken")
    missing = {"return_mean", "episodes"} - set(metrics)
    require(not missing, f"update gives no {', '.join(sorted(missing))}")
    _valid(np.concatenate(world.executed), continuous, taken)
    require(_alike(policy, _create(algorithm, continuous)), "training changed the policy it was given")
    require(not _alike(trainer.policy, policy), "three updates changed nothing")
    return f"{taken // 3} steps an update, {len(metrics)} metrics"


def _determinism(algorithm: Algorithm, continuous: bool) -> str:
    trainers = [_trainer(algorithm, continuous) for _ in range(2)]
    for trainer in trainers:
        trainer.update()
        trainer.update()
    require(_alike(trainers[0].policy, trainers[1].policy), "the same seed trains to other weights")
    return "same seed, same weights"


def _resume(algorithm: Algorithm, continuous: bool) -> str:
    way = next(iter(sorted(algorithm.learns)), None)

    def start() -> Trainer:
        return _trainer(algorithm, continuous, None if way is None else Recorder(way, continuous))

    whole, first, second = start(), start(), start()
    for _ in range(4):
        whole.update()
    for _ in range(2):
        first.update()
    arrays, rest = first.state()
    second.load_state({name: np.array(array) for name, array in arrays.items()}, json.loads(json.dumps(rest)))
    require(second.steps == first.steps, f"steps is {second.steps} after load_state, {first.steps} before")
    for _ in range(2):
        second.update()
    require(_alike(whole.policy, second.policy), "a resumed training ends with other weights")
    return f"exact after {second.steps} steps"


def _modulation(algorithm: Algorithm, continuous: bool) -> str:
    if not algorithm.learns:
        raise Skip("learns from no overridden steps")
    for way in sorted(algorithm.learns):
        recorder, world = Recorder(way, continuous), World(NUM_ENVS, continuous)
        trainer = _trainer(algorithm, continuous, recorder, world)
        metrics = [trainer.update() for _ in range(3)]
        _order(recorder, way)
        require(
            len(recorder.executed) == len(world.executed)
            and all(_executed(given, done) for given, done in zip(recorder.executed, world.executed, strict=True)),
            f"{way}: what the modulation said is not what the environments got",
        )
        told = [row["return_mean"] for row in metrics if row["episodes"]]
        require(all(abs(value) < BONUS / 2 for value in told), f"{way}: return_mean contains the modulation's reward")
        named = [name for row in metrics for name in row if name.endswith("strength")]
        require(named, f"{way}: the modulation's metrics are not reported")
        # a last observation is beyond the ends or out of time; a first one has all its time left
        require(all(row[1] < 0.99 for row in recorder.seen), f"{way}: reward is given the next episode's observation")
    return ", ".join(sorted(algorithm.learns))


def _imitate(algorithm: Algorithm, continuous: bool) -> str:
    if not algorithm.can_imitate:
        raise Skip("does not learn from demonstrations")
    policy, (around, _) = _create(algorithm, continuous), _batch(256)
    shown, elsewhere = (np.column_stack([side * (0.6 + 0.4 * around[:, 0]), around[:, 1]]) for side in (1, -1))
    shown, elsewhere = shown.astype(np.float32), elsewhere.astype(np.float32)
    wanted = np.full((len(shown), 1), 0.8, np.float32) if continuous else np.full(len(shown), 2)
    demonstrations = Demonstrations(shown, wanted, np.ones(len(shown)), elsewhere)
    twins = [algorithm.imitate(policy, demonstrations, Streams(0).child("kit")) for _ in range(2)]
    require(_alike(policy, _create(algorithm, continuous)), "imitating changed the policy it was given")
    require(_alike(*twins), "the same seed imitates with other weights")
    before, after = (_chosen(one, shown, continuous) for one in (policy, twins[0]))
    _valid(after, continuous, len(shown))
    missed, misses = _apart(before, wanted), _apart(after, wanted)
    require(misses < missed / 2, f"does not act as demonstrated: {misses:.2f} apart, {missed:.2f} before")
    moved = _apart(_chosen(policy, elsewhere, continuous), _chosen(twins[0], elsewhere, continuous))
    there = _apart(before, after)
    require(moved < there / 2, f"acts otherwise elsewhere, too: {moved:.2f} apart, {there:.2f} where demonstrated")
    return f"{missed:.2f} apart before, {misses:.2f} after; elsewhere moved by {moved:.2f}"


class _Pushed(Corridor):
    """A corridor for continuous actions; only asked for its quantities."""

    @property
    def action_space(self) -> Any:
        return World(1, continuous=True).single_action_space


def _widen(algorithm: Algorithm, continuous: bool) -> str:
    if not algorithm.can_widen:
        raise Skip("takes no quantities as further inputs")
    environment = (_Pushed if continuous else Corridor)(CorridorOptions())
    spaces = environment.observation_space, environment.action_space
    observations = np.linspace(-1, 1, 37, dtype=np.float32)[:, None]
    uniforms = np.random.default_rng(0).random((37, 1))
    policy = algorithm.create_policy(*spaces, 0)
    before = policy.state()[0]
    wide = algorithm.widen(policy, Widening.of(environment, environment.legend, observations))
    require(policy.widening is None and _same(before, policy.state()[0]), "widening changed the policy it was given")
    require(wide.widening is not None, "the policy made does not say which quantities it takes (`widening`)")
    acted, alike = (one.act_with_uniforms(observations, uniforms) for one in (policy, wide))
    require(_apart(acted, alike) < 1e-5, "acts otherwise before it has learnt anything")
    require(np.allclose(policy.value(observations), wide.value(observations), atol=1e-5), "values otherwise")
    arrays, description = wide.state()
    twin = algorithm.load_policy(arrays, json.loads(json.dumps(description, sort_keys=True)), *spaces)
    try:
        twin.act(observations)
    except PolicyError:
        pass
    else:
        raise Broken("a rebuilt policy acts without having been given (`bind`) who tells its quantities")
    twin.bind(environment)
    require(np.array_equal(twin.act_with_uniforms(observations, uniforms), alike), "rebuilt it acts otherwise")
    return "acts as before, and keeps what it takes"


def _same(left: dict[str, Array], right: dict[str, Array]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def _chosen(policy: Policy, observations: Array, continuous: bool) -> Array:
    """Discrete actions as sampled with fixed uniforms, continuous ones without their noise."""
    if continuous:
        return policy.act(observations, deterministic=True)
    return policy.act_with_uniforms(observations, np.random.default_rng(2).random((len(observations), 1)))


def _apart(left: Array, right: Array) -> float:
    """Share of discrete actions that differ, or mean distance of continuous ones."""
    return float(np.mean(left != right) if left.ndim == 1 else np.mean(np.abs(left - right)))


def _order(recorder: Recorder, way: str) -> None:
    require(recorder.calls[:1] == ["begin"], f"{way}: begin is not called first")
    steps = [call for call in recorder.calls if call != "begin"]
    require(steps == ["act", "reward"] * (len(steps) // 2), f"{way}: act and reward do not alternate")
    told = recorder.progress
    require(told and all(0 <= p <= 1 for p in told) and told == sorted(told), f"{way}: progress is {told[:5]} ...")
    require(told[-1] > told[0], f"{way}: progress does not grow")


def _executed(given: Any, done: Any) -> bool:
    return np.allclose(np.clip(given, -1, 1), done) if given.ndim > 1 else np.array_equal(given, done)


_CHECKS: dict[str, Callable[[Algorithm, bool], str]] = {
    "act": _act,
    "act_with_uniforms": _uniforms,
    "value": _value,
    "state": _state,
    "train": _train,
    "determinism": _determinism,
    "resume": _resume,
    "modulation": _modulation,
    "imitate": _imitate,
    "widen": _widen,
}
