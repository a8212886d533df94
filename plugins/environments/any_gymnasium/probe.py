"""What can be found out about a Gymnasium environment by making and playing it: spaces, words, scales, exactness."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import warnings
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ultra_agents.contracts import ReferenceReturns
from ultra_agents.contracts.spaces import Actions, actions_of, flat, flat_space, numeric
from ultra_agents.errors import ConfigError, EnvironmentFault, PluginError, UltraError, did_you_mean
from ultra_agents.records import FloatArray

from . import calls, docs, plain_state

PROVIDERS = {"MiniGrid-": "minigrid", "BabyAI-": "minigrid", "ALE/": "ale_py"}
"""Packages that register their environments only when they are imported."""
PROBE_STEPS = 400
"""Steps after which a restored environment must still agree to the bit with the one saved."""
_INSTALL = re.compile(r"pip install (?:\"[^\"]+\"|[\w.\[\]-]+)")
_SCALE_STEPS = 300
_RANDOM_STEPS = 2000


@dataclass(frozen=True)
class Facts:
    """What the plugin needs to know of an environment; no environment is held.

    Attributes:
        id: Full id, with version.
        inner_space: Space of the observations that are used (parts that are no numbers are left out).
        observation_space: What the policy sees: `inner_space`, flattened unless it is a box.
        actions: What the policy chooses from, and the environment's own.
        max_steps: Its time limit, or None.
        sections: Of the docstring.
        meanings: What the environment itself calls its actions (`get_action_meanings`), or nothing.
        spread: Mean and standard deviation of every observation in random play, `(2, k)`.
        info_keys: Scalars that are in every step's information.
        absent: Optional capabilities this environment does not have.
        why: Why no state can be saved, or "".
        returns: Reference returns, or None.
    """

    id: str
    inner_space: gymnasium.Space[Any]
    observation_space: gymnasium.Space[Any]
    actions: Actions
    max_steps: int | None
    sections: dict[str, list[str]]
    meanings: tuple[str, ...]
    spread: FloatArray
    info_keys: tuple[str, ...]
    absent: frozenset[str]
    why: str
    returns: ReferenceReturns | None


def known(env_id: str) -> str:
    """The full id of an environment that is registered.

    Raises:
        ConfigError: There is none; says which one is meant.
        PluginError: The package that has it is not installed.
    """
    package, _, plain = env_id.rpartition(":")
    provider = next((name for prefix, name in PROVIDERS.items() if plain.startswith(prefix)), None)
    module = package or provider
    try:
        if module is not None:
            _import(module)
        if module == "ale_py":
            import ale_py

            ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner
            gymnasium.register_envs(ale_py)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return gymnasium.spec(plain).id
    except ModuleNotFoundError as error:
        raise missing_module(env_id, error, f"pip install {provider}" if error.name == provider else None) from error
    except UltraError:
        raise
    except gymnasium.error.Error as error:
        raise ConfigError(
            f"Gymnasium knows no environment {env_id!r}",
            found=docs.clean(str(error)),
            expected='an id such as "CartPole-v1", or "package:Id-v0" for one that a package registers',
            hint=_suggestion(plain),
        ) from error


def _import(module: str) -> None:
    """Import the module of an environment; the current folder is searched last, as a program in it would be found.

    Raises:
        ModuleNotFoundError: It is nowhere, or imports something that is nowhere.
        PluginError: It fails while it is imported.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # worker processes get the same path
        importlib.invalidate_caches()
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise PluginError(
            f"the module {module!r} of the environment fails while it is imported",
            found=f"{type(error).__name__}: {error}"[:300],
            hint=f'python -c "import {module}" shows where',
        ) from error


def missing_module(env_id: str, error: ImportError, install: str | None = None) -> PluginError:
    """A module is nowhere. Its name says nothing about a package's, so nobody is told to install that."""
    return PluginError(
        f"the environment {env_id!r} needs a module that is not found",
        found=str(error),
        expected=f"the module {error.name!r}, installed or in a folder that Python searches",
        hint=install
        or "is it yours? run ultra in its folder, or add that to PYTHONPATH; else install what it belongs to",
    )


def _suggestion(env_id: str) -> str | None:
    ids = [name for name in gymnasium.registry if "phys2d/" not in name and "tabular/" not in name]
    return did_you_mean(env_id, ids) or 'python -c "import gymnasium; gymnasium.pprint_registry()"'


def make(env_id: str, kwargs: dict[str, Any], max_steps: int | None) -> gymnasium.Env[Any, Any]:
    """One environment, ready to draw itself where it can.

    Raises:
        PluginError: It cannot be made: a package is missing, or an argument is wrong.
    """
    limit: dict[str, Any] = {} if max_steps is None else {"max_episode_steps": max_steps}
    env_id = known(env_id)  # a worker process must register it again
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pictures are made for files; nobody needs a window
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            entry: Any = gymnasium.spec(env_id).entry_point
            creator = entry if callable(entry) else gymnasium.envs.registration.load_env_creator(entry)
            metadata = getattr(creator, "metadata", None)  # of a class that is a wrapper: a property
            modes = metadata.get("render_modes", ()) if isinstance(metadata, dict) else ()
            mode: dict[str, Any] = (
                {"render_mode": "rgb_array"} if "rgb_array" in modes and "render_mode" not in kwargs else {}
            )
            return gymnasium.make(env_id, disable_env_checker=True, **limit, **mode, **kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        raise PluginError(
            f"the environment {env_id!r} needs a package that is not installed",
            found=docs.clean(str(error)),
            hint=next(iter(_INSTALL.findall(docs.clean(str(error)))[-1:]), None),
        ) from error
    except ModuleNotFoundError as error:
        raise missing_module(env_id, error) from error
    except Exception as error:
        raise PluginError(
            f"the environment {env_id!r} cannot be made",
            found=f"{type(error).__name__}: {docs.clean(str(error))}",
            expected=f"arguments it understands; given: {kwargs or 'none'}",
            hint="see environment.options.kwargs",
        ) from error


_INVESTIGATED: dict[tuple[str, str, int | None, float | None], tuple[Any, Facts]] = {}
"""Facts by id, arguments, time limit and bound, with the registration they were found out of."""


def scalars(info: dict[str, Any]) -> dict[str, float]:
    """The plain numbers in an environment's information."""
    kinds = (bool, int, float, np.bool_, np.integer, np.floating)
    return {str(key): float(value) for key, value in info.items() if isinstance(value, kinds)}


def investigate(
    env_id: str, kwargs: dict[str, Any], max_steps: int | None, action_bound: float | None = None
) -> Facts:
    """Make the environment and play it at random, once in a process: a second at most for a quick one.

    Returns:
        The facts, with spaces that nobody else draws from.
    """
    asked = (known(env_id), json.dumps(kwargs, sort_keys=True, default=repr), max_steps, action_bound)
    registered = gymnasium.registry.get(asked[0])
    if asked not in _INVESTIGATED or _INVESTIGATED[asked][0] is not registered:
        _INVESTIGATED[asked] = registered, _investigated(env_id, kwargs, max_steps, action_bound)
    return deepcopy(_INVESTIGATED[asked][1])


def _investigated(env_id: str, kwargs: dict[str, Any], max_steps: int | None, action_bound: float | None) -> Facts:
    env = make(env_id, kwargs, max_steps)
    try:
        inner = numeric(env.observation_space, env_id)
        actions = actions_of(env.action_space, env_id, action_bound)
        spread, keys = _play(env, inner)
        absent, why = {"expert", "policies"}, ""
        try:
            why = _inexact(env_id, kwargs, max_steps, inner)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        if why:
            absent.add("snapshot")
        if not _draws(env):
            absent.add("render")
        returns = _returns(env)
        if returns is None:
            absent.add("reference_returns")
        limit = env.spec.max_episode_steps if env.spec is not None else None
        return Facts(
            id=known(env_id),
            inner_space=inner,
            observation_space=flat_space(inner),
            actions=actions,
            max_steps=limit,
            sections=docs.sections(type(env.unwrapped)),
            meanings=_meanings(env.unwrapped),
            spread=spread,
            info_keys=keys,
            absent=frozenset(absent),
            why=why,
            returns=returns,
        )
    finally:
        env.close()


def _meanings(env: Any) -> tuple[str, ...]:
    """Names of the actions by the convention of Atari environments."""
    ask = getattr(env, "get_action_meanings", None)
    try:
        return tuple(docs.clean(str(name))[:40] for name in ask()) if callable(ask) else ()
    except Exception:
        return ()


def _play(env: gymnasium.Env[Any, Any], inner: gymnasium.Space[Any]) -> tuple[FloatArray, tuple[str, ...]]:
    """Mean and deviation of the observations, and which scalars are always in the information."""
    env.action_space.seed(0)
    observation, info = calls.reset(env, 0)
    seen, keys = [flat(inner, observation).ravel()], set(scalars(info))
    for _ in range(_SCALE_STEPS):
        observation, _, terminated, truncated, info = calls.step(env, env.action_space.sample())
        seen.append(flat(inner, observation).ravel())
        keys &= set(scalars(info))
        if terminated or truncated:
            observation, info = calls.reset(env)
            keys &= set(scalars(info))
    values = np.stack(seen).astype(np.float64)
    return np.stack([values.mean(axis=0), values.std(axis=0)]), tuple(sorted(keys))


def _inexact(env_id: str, kwargs: dict[str, Any], max_steps: int | None, inner: gymnasium.Space[Any]) -> str:
    """Save, restore elsewhere and play on, from three places: what went differently, or "" if nothing did."""
    source, target = (make(env_id, kwargs, max_steps) for _ in range(2))
    try:
        actions = source.action_space
        for seed, before in ((1, 0), (2, 3), (3, 40)):
            actions.seed(seed)
            calls.reset(source, seed)
            calls.reset(target, 100 + seed)
            for _ in range(before):
                for env in (source, target):
                    if any(calls.step(env, actions.sample())[2:4]):
                        calls.reset(env)
            saved = plain_state.save(source)
            plain_state.load(target, saved)
            if plain_state.save(target) != saved:
                return "a restored state is not the one that was saved"
            for step in range(PROBE_STEPS):
                action = actions.sample()
                one, other = calls.step(source, action), calls.step(target, action)
                if not np.array_equal(flat(inner, one[0]), flat(inner, other[0])) or one[1:4] != other[1:4]:
                    return f"{step + 1} steps after a restore the environment went another way"
                if one[2] or one[3]:
                    first, second = calls.reset(source)[0], calls.reset(target)[0]
                    if not np.array_equal(flat(inner, first), flat(inner, second)):
                        return "after a restore the next episode started elsewhere"
        return ""
    finally:
        source.close()
        target.close()


def _draws(env: gymnasium.Env[Any, Any]) -> bool:
    if env.render_mode != "rgb_array":
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            env.reset(seed=0)
            frame = np.asarray(env.render())
    except Exception:
        return False
    return frame.ndim == 3 and frame.shape[2] == 3 and frame.dtype == np.uint8


def _returns(env: gymnasium.Env[Any, Any]) -> ReferenceReturns | None:
    """The threshold its authors call solved, against random play measured here."""
    threshold = env.spec.reward_threshold if env.spec is not None else None
    if threshold is None:
        return None
    env.action_space.seed(0)
    calls.reset(env, 0)
    totals, total = [], 0.0
    for _ in range(_RANDOM_STEPS):
        _, reward, terminated, truncated, _ = calls.step(env, env.action_space.sample())
        total += reward
        if terminated or truncated:
            totals.append(total)
            total = 0.0
            calls.reset(env)
    if not totals or not np.isfinite(totals).all() or float(np.mean(totals)) >= threshold:
        return None
    return ReferenceReturns(
        float(np.mean(totals)),
        float(threshold),
        f"random: mean of {len(totals)} episodes of random actions; reference: the threshold Gymnasium calls solved",
    )


def fault(why: str, env_id: str) -> EnvironmentFault:
    """An environment whose state cannot be saved was asked to."""
    return EnvironmentFault(
        f"the state of {env_id!r} cannot be saved exactly",
        found=why,
        hint="advice cannot be tested there: set verification.mode=none",
    )
