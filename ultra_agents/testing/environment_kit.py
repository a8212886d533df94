"""Conformance kit for environment plugins: `check_environment(plugin)` says what the contract's promises are worth.

For plugin authors: run it in a test of yours and assert `report.ok`. Optional capabilities a plugin does not offer are
`skipped`; so is what could not be observed (no episode ended within the steps allowed).
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from ultra_agents.contracts import Environment, Options, capabilities
from ultra_agents.records import Array, Scalar

LONGEST_DESCRIPTION = 600


@dataclass(frozen=True)
class Row:
    """What came of one check.

    Attributes:
        check: Name of the check.
        status: `pass`, `skipped` or `failed`.
        detail: What was seen, or why it was skipped.
    """

    check: str
    status: Literal["pass", "skipped", "failed"]
    detail: str


@dataclass(frozen=True)
class Report:
    """What came of all checks of one plugin.

    Attributes:
        subject: The plugin's `env_id`, or its class where that fails.
        rows: One per check, in a fixed order.
    """

    subject: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Nothing failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that failed."""
        return tuple(row for row in self.rows if row.status == "failed")

    def __str__(self) -> str:
        lines = [f"{row.status:>7}  {row.check}: {row.detail}" for row in self.rows]
        return "\n".join([self.subject, *lines])


class _Broken(Exception):
    """A promise of the contract is not kept."""


class _Skip(Exception):
    """Nothing to check."""


@dataclass(frozen=True)
class _Play:
    """What a vector environment said, from reset on: index 0 of everything but rewards and ends is the reset."""

    observations: list[Array]
    rewards: list[Array]
    ends: list[Array]
    infos: list[dict[str, Any]]


def check_environment(environment: Environment, max_steps: int = 3000) -> Report:
    """Check a plugin against the contract.

    Args:
        environment: The plugin, with the options it is to be checked with.
        max_steps: Vector steps a check may take to see an episode end.

    Returns:
        One row per check; nothing a plugin raises gets out.
    """
    try:
        subject = str(environment.env_id)
    except Exception:
        subject = type(environment).__name__
    return Report(subject, tuple(_run(name, check, environment, max_steps) for name, check in _CHECKS.items()))


def _run(name: str, check: Callable[[Environment, int], str], environment: Environment, max_steps: int) -> Row:
    try:
        return Row(name, "pass", check(environment, max_steps))
    except _Skip as reason:
        return Row(name, "skipped", str(reason))
    except _Broken as problem:
        return Row(name, "failed", str(problem))
    except Exception as error:
        return Row(name, "failed", f"raised {type(error).__name__}: {error}")


def _require(condition: object, problem: str) -> None:
    if not condition:
        raise _Broken(problem)


def _actions(environment: Environment, steps: int, num_envs: int, seed: int = 0) -> list[Array]:
    space = copy.deepcopy(environment.action_space)
    space.seed(seed)
    return [np.stack([np.asarray(space.sample()) for _ in range(num_envs)]) for _ in range(steps)]


def _step(envs: gymnasium.vector.VectorEnv, actions: Array, play: _Play) -> None:
    observations, rewards, terminated, truncated, info = envs.step(actions)
    play.observations.append(np.array(observations))
    play.rewards.append(np.array(rewards))
    play.ends.append(np.stack([terminated, truncated]))
    play.infos.append(info)


def _play(envs: gymnasium.vector.VectorEnv, seeds: Sequence[int], actions: Sequence[Array]) -> _Play:
    # gymnasium annotates `seed` as one integer although vector environments take one per environment.
    observations, info = envs.reset(seed=list(seeds))  # type: ignore[arg-type]
    play = _Play([np.array(observations)], [], [], [info])
    for batch in actions:
        _step(envs, batch, play)
    return play


def _same(one: _Play, i: int, other: _Play, j: int, what: str) -> None:
    """Environment `i` of a play and `j` of another must have gone exactly alike."""
    for step, (a, b) in enumerate(zip(one.observations, other.observations, strict=True)):
        _require(np.array_equal(a[i], b[j]), f"{what}: observations differ after {step} steps: {a[i]} and {b[j]}")
    for step, (a, b) in enumerate(zip(one.rewards, other.rewards, strict=True)):
        _require(a[i] == b[j], f"{what}: rewards of step {step} differ: {a[i]} and {b[j]}")
    for step, (a, b) in enumerate(zip(one.ends, other.ends, strict=True)):
        _require(np.array_equal(a[:, i], b[:, j]), f"{what}: only one of two episodes ended at step {step}")


def _scalars(info: dict[str, Any], index: int) -> dict[str, Scalar]:
    plain = {key: values[index] for key, values in info.items() if key[0] != "_" and not key.startswith("final_")}
    return {key: value.item() for key, value in plain.items() if isinstance(value, np.generic)}


def _steps_of_an_episode(environment: Environment, max_steps: int) -> int:
    """Steps of random play, all environments on seed 0, until an episode ends; `max_steps` if none does."""
    with _made(environment, 1) as envs:
        envs.reset(seed=[0])
        for step, actions in enumerate(_actions(environment, max_steps, 1), start=1):
            _, _, terminated, truncated, _ = envs.step(actions)
            if terminated[0] or truncated[0]:
                return step
    return max_steps


class _made:
    """`with _made(environment, n) as envs:` builds and closes."""

    def __init__(self, environment: Environment, num_envs: int) -> None:
        self._envs: Any = environment.make(num_envs)

    def __enter__(self) -> Any:
        return self._envs

    def __exit__(self, *_: object) -> None:
        self._envs.close()


def _check_identity(environment: Environment, _: int) -> str:
    options = type(environment).Options
    _require(issubclass(options, Options), f"Options is {options}, not a subclass of contracts.Options")
    _require(options.model_config.get("extra") == "forbid", "Options let unknown keys pass")
    _require(isinstance(environment.env_id, str) and environment.env_id.strip(), "env_id is empty")
    twin = pickle.loads(pickle.dumps(environment))
    _require(twin.env_id == environment.env_id, "a pickled copy has another env_id")
    return f"{environment.env_id}, picklable"


def _check_brief(environment: Environment, _: int) -> str:
    brief = environment.brief
    for part in ("goal", "dynamics", "actions", "reward", "termination"):
        _require(getattr(brief, part).strip(), f"brief.{part} is empty")
    for name in environment.actions.names:
        _require(name in brief.actions, f"brief.actions does not explain {name!r}")
    return f"{sum(len(str(part).split()) for part in vars(brief).values())} words"


def _check_spaces(environment: Environment, _: int) -> str:
    space, steps = environment.observation_space, 50
    with _made(environment, 3) as envs:
        _require(envs.num_envs == 3, f"make(3) built {envs.num_envs} environments")
        _require(envs.single_observation_space == space, "single_observation_space is not observation_space")
        _require(envs.single_action_space == environment.action_space, "single_action_space is not action_space")
        mode = envs.metadata.get("autoreset_mode")
        _require(mode == AutoresetMode.SAME_STEP, f"metadata['autoreset_mode'] is {mode}, not SAME_STEP")
        play = _play(envs, [1, 2, 3], _actions(environment, steps, 3))
    for observations in play.observations:
        _require(observations.shape == (3, *(space.shape or ())), f"observations have shape {observations.shape}")
        _require(observations.dtype == space.dtype, f"observations are {observations.dtype}, not {space.dtype}")
        for one in observations:
            _require(space.contains(one), f"observation {one} is outside its space")
    for rewards in play.rewards:
        _require(rewards.shape == (3,) and np.isfinite(rewards).all(), f"rewards are {rewards}")
    for ends in play.ends:
        _require(ends.shape == (2, 3) and ends.dtype == np.bool_, f"terminated, truncated are {ends}")
    for info in play.infos:
        for key, values in info.items():
            _require(isinstance(values, dict) or len(values) == 3, f"info[{key!r}] does not have one entry each")
    return f"{space}, {environment.action_space}, {steps} steps"


def _check_autoreset(environment: Environment, max_steps: int) -> str:
    ended, space = 0, environment.observation_space
    with _made(environment, 2) as envs:
        envs.reset(seed=[0, 1])
        for actions in _actions(environment, max_steps, 2):
            _, _, terminated, truncated, info = envs.step(actions)
            for index in np.flatnonzero(terminated | truncated):
                last = info.get("final_obs", [None, None])[index]
                _require(last is not None, "an episode ended and info['final_obs'] does not hold its last observation")
                _require(space.contains(np.asarray(last)), f"final_obs {last} is outside the observation space")
                ended += 1
            for index in np.flatnonzero(~(terminated | truncated)):
                _require(
                    "final_obs" not in info or info["final_obs"][index] is None,
                    "info['final_obs'] is set where no episode ended",
                )
            if ended >= 2:
                return f"{ended} episodes ended"
    if ended:
        return f"{ended} episode ended"
    raise _Skip(f"no episode ended in {max_steps} steps")


def _check_seeding(environment: Environment, _: int) -> str:
    actions = _actions(environment, 50, 2)
    with _made(environment, 2) as envs:
        first = _play(envs, [5, 6], actions)
        again = _play(envs, [5, 6], actions)
        swapped = _play(envs, [6, 5], [batch[::-1] for batch in actions])
    _same(first, 0, again, 0, "reset with the same seed twice")
    _same(first, 0, swapped, 1, "the same seed in another place")
    return "a reset seed decides what follows"


def _check_determinism(environment: Environment, max_steps: int) -> str:
    steps = min(_steps_of_an_episode(environment, max_steps) + 20, max_steps)
    actions = _actions(environment, steps, 1)
    plays = []
    for _ in range(2):
        with _made(environment, 1) as envs:
            plays.append(_play(envs, [0], actions))
    _same(plays[0], 0, plays[1], 0, "two environments with the same seed and actions")
    return f"{steps} steps alike"


def _check_independence(environment: Environment, max_steps: int) -> str:
    steps = min(_steps_of_an_episode(environment, max_steps) + 20, max_steps)
    alone, crowd = _actions(environment, steps, 1), _actions(environment, steps, 3, seed=1)
    for mine, batch in zip(alone, crowd, strict=True):
        batch[1] = mine[0]
    with _made(environment, 1) as envs:
        one = _play(envs, [0], alone)
    with _made(environment, 3) as envs:
        three = _play(envs, [11, 0, 12], crowd)
    _same(one, 0, three, 1, "alone and among others")
    return f"{steps} steps alike, alone and among others"


def _check_snapshot(environment: Environment, max_steps: int) -> str:
    _need(environment, "snapshot")
    length = _steps_of_an_episode(environment, max_steps)
    steps, sizes = min(length + 20, max_steps), []
    actions = _actions(environment, steps, 1)
    for start in sorted({0, 1, length // 2, max(length - 2, 0)}):
        with _made(environment, 1) as source, _made(environment, 1) as plain, _made(environment, 3) as target:
            before = _play(source, [0], actions[:start])
            _play(plain, [0], actions[:start])
            target.reset(seed=[21, 22, 23])
            for batch in _actions(environment, 3, 3, seed=2):
                target.step(batch)
            (state,) = environment.snapshot(source, [0])
            _require(type(state) is bytes, f"a snapshot is {type(state).__name__}, not bytes")
            sizes.append(len(state))
            restored = environment.restore(target, [2], [state])
            _require(
                np.array_equal(restored, before.observations[-1]),
                f"restored after {start} steps: the observation is {restored[0]}, it was {before.observations[-1][0]}",
            )
            went, disturbed, untouched = (_Play([np.array(restored)], [], [], []) for _ in range(3))
            for batch in actions[start:]:
                _step(source, batch, disturbed)
                _step(plain, batch, untouched)
                _step(target, np.repeat(batch, 3, axis=0), went)
            went.observations[0] = np.repeat(went.observations[0], 3, axis=0)
            _same(untouched, 0, disturbed, 0, "with a snapshot taken and without")
            _same(untouched, 0, went, 2, f"restored elsewhere after {start} steps")
    return f"exact over {steps} steps, about {round(float(np.mean(sizes)))} bytes each"


def _check_describe(environment: Environment, _: int) -> str:
    observations, info = _observations(environment)
    longest = 0
    for observation in observations:
        text = environment.describe(observation, info)
        _require(isinstance(text, str) and text.strip(), f"describe({observation}) is {text!r}")
        _require(len(text) < LONGEST_DESCRIPTION, f"describe({observation}) has {len(text)} characters")
        _require(all(character.isprintable() for character in text), f"{text!r} holds control characters")
        words = text.lower().replace(",", " ").replace(".", " ").split()
        _require("nan" not in words and "inf" not in words, f"describe({observation}) says {text!r}")
        longest = max(longest, len(text.split()))
    return f"{len(observations)} observations, at most {longest} words"


def _check_actions(environment: Environment, _: int) -> str:
    codec, space = environment.actions, environment.action_space
    _require(codec.names, "no action has a name")
    _require(len(set(codec.names)) == len(codec.names), f"a name is there twice: {codec.names}")
    for name in codec.names:
        action = codec.encode(name)
        _require(
            space.contains(np.asarray(action).astype(space.dtype)), f"{name!r} encodes to {action}, not an action"
        )
        back = codec.decode(action)
        _require(back == name, f"{name!r} encodes to {action}, which decodes to {back!r}")
    for action in _actions(environment, 50, 1):
        _require(codec.decode(action[0]) in codec.names, f"action {action[0]} decodes to no known name")
    if isinstance(space, gymnasium.spaces.Discrete):
        _require(len(codec.names) == space.n, f"{len(codec.names)} names for {space.n} actions")
    unknown = "no action is called this"
    try:
        codec.encode(unknown)
    except KeyError:
        return ", ".join(codec.names)
    raise _Broken("an unknown name is encoded instead of raising KeyError")


def _check_features(environment: Environment, _: int) -> str:
    observations = np.stack(_observations(environment)[0])
    features = environment.features(observations)
    _require(features.ndim == 2 and len(features) == len(observations), f"features have shape {features.shape}")
    _require(features.dtype.kind == "f" and np.isfinite(features).all(), "features are not all finite floats")
    single = environment.features(observations[:1])
    _require(np.allclose(single, features[:1]), "a state's features depend on the others in the batch")
    return f"{features.shape[1]} columns"


def _check_segment_kind(environment: Environment, _: int) -> str:
    for rewards in (np.zeros(0), np.zeros(5), np.ones(1), -np.ones(3)):
        kind = environment.segment_kind(rewards)
        _require(kind is None or (isinstance(kind, str) and kind.strip()), f"segment_kind({rewards}) is {kind!r}")
    return "a word or None"


def _check_close(environment: Environment, _: int) -> str:
    envs = environment.make(2)
    envs.reset(seed=[0, 1])  # type: ignore[arg-type]  # see `_play`
    envs.close()
    envs.close()
    return "twice without complaint"


def _check_expert(environment: Environment, _: int) -> str:
    _need(environment, "expert")
    offered = environment.policies() if "policies" in capabilities(environment) else None
    if offered is not None and "expert" not in offered:
        raise _Skip("its policy file is not installed")
    observations = np.stack(_observations(environment)[0])
    actions = np.asarray(environment.expert()(observations))
    _require(len(actions) == len(observations), f"{len(actions)} actions for {len(observations)} observations")
    for action in actions:
        _require(environment.action_space.contains(action), f"{action} is not an action")
    return f"{len(actions)} actions"


def _check_reference_returns(environment: Environment, _: int) -> str:
    _need(environment, "reference_returns")
    returns = environment.reference_returns
    _require(np.isfinite([returns.random, returns.reference]).all(), f"not finite: {returns}")
    _require(returns.reference > returns.random, f"the reference is no better than random play: {returns}")
    _require(returns.source.strip(), "no source is given")
    return f"random {returns.random:g}, reference {returns.reference:g}"


def _check_render(environment: Environment, _: int) -> str:
    _need(environment, "render")
    with _made(environment, 2) as envs:
        envs.reset(seed=[0, 1])
        frame = environment.render(envs, 1)
    _require(frame.ndim == 3 and frame.shape[2] == 3, f"a frame has shape {frame.shape}")
    _require(frame.dtype == np.uint8, f"a frame is {frame.dtype}")
    return f"{frame.shape[0]} x {frame.shape[1]} pixels"


def _check_policies(environment: Environment, _: int) -> str:
    _need(environment, "policies")
    policies = environment.policies()
    for name, path in policies.items():
        _require(path.is_file(), f"{name!r} is to be at {path}, and there is no such file")
    return ", ".join(policies) or "none installed"


def _need(environment: Environment, capability: str) -> None:
    if capability not in capabilities(environment):
        raise _Skip("not offered")


def _observations(environment: Environment) -> tuple[list[Array], dict[str, Scalar]]:
    """Played, random and extreme observations, and one step's information."""
    with _made(environment, 1) as envs:
        play = _play(envs, [3], _actions(environment, 100, 1))
    space = copy.deepcopy(environment.observation_space)
    space.seed(0)
    found = [batch[0] for batch in play.observations] + [np.asarray(space.sample()) for _ in range(100)]
    if isinstance(space, gymnasium.spaces.Box):
        for bound in (space.low, space.high):
            found.append(np.nan_to_num(bound, posinf=1e6, neginf=-1e6).astype(space.dtype))
        found.append(np.clip(np.zeros(space.shape), space.low, space.high).astype(space.dtype))
    return found, _scalars(play.infos[0], 0)


_CHECKS: dict[str, Callable[[Environment, int], str]] = {
    "identity": _check_identity,
    "brief": _check_brief,
    "spaces": _check_spaces,
    "autoreset": _check_autoreset,
    "seeding": _check_seeding,
    "determinism": _check_determinism,
    "independence": _check_independence,
    "describe": _check_describe,
    "actions": _check_actions,
    "features": _check_features,
    "segment_kind": _check_segment_kind,
    "close": _check_close,
    "snapshot": _check_snapshot,
    "expert": _check_expert,
    "reference_returns": _check_reference_returns,
    "render": _check_render,
    "policies": _check_policies,
}
