"""Calls of somebody else's environment: what it raises, or returns against Gymnasium's interface, is named.

Environments of the Gym era, and those never run under Gymnasium, return other things than they should. Nothing is
guessed: the message says which method, what it returned, what Gymnasium expects and how to change it.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ultra_agents.errors import EnvironmentFault, UltraError

RESET = "def reset(self, *, seed=None, options=None): super().reset(seed=seed); ...; return observation, info"
STEP = "return observation, reward, terminated, truncated, info"
_OLD = "the interface of Gym before 0.26"


def reset(env: gymnasium.Env[Any, Any], seed: int | None = None) -> tuple[Any, dict[str, Any]]:
    """`env.reset(seed=seed)`.

    Raises:
        EnvironmentFault: It takes no seed, raises, or returns something else than an observation and a dictionary.
    """
    try:
        result: Any = env.reset(seed=seed)
    except UltraError:
        raise
    except Exception as error:
        if isinstance(error, TypeError) and "seed" in str(error):
            raise _wrong(env, "reset() takes no seed", str(error), RESET, f"{_OLD}; add the argument") from error
        if isinstance(error, ValueError) and "unpack" in str(error):
            raise _wrong(env, "reset() does not return (observation, info)", str(error), RESET, _OLD) from error
        raise raised(env, "reset()", error) from error
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
        found = f"{type(result).__name__}{f' of {len(result)}' if isinstance(result, tuple) else ''}"
        raise _wrong(env, "reset() does not return (observation, info)", found, RESET, f"{_OLD}; add the info, {{}}")
    return result


def step(env: gymnasium.Env[Any, Any], action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    """`env.step(action)`, its reward as a number.

    Raises:
        EnvironmentFault: It raises, or returns something else than Gymnasium's five things.
    """
    try:
        result: Any = env.step(action)
    except UltraError:
        raise
    except Exception as error:
        if isinstance(error, ValueError) and "expected 5, got 4" in str(error):
            raise _wrong(env, "step() returns 4 things", str(error), STEP, _DONE) from error
        raise raised(env, "step()", error) from error
    if not (isinstance(result, tuple) and len(result) == 5 and isinstance(result[4], dict)):
        count = len(result) if isinstance(result, tuple) else 0
        found = f"a tuple of {count}" if count else type(result).__name__
        hint = _DONE if count == 4 else None
        raise _wrong(env, f"step() returns {f'{count} things' if count else 'no tuple'}", found, STEP, hint)
    observation, reward, terminated, truncated, info = result
    if type(reward) is not float:
        try:
            reward = float(np.asarray(reward).astype(np.float64, casting="same_kind").reshape(()))
        except (TypeError, ValueError) as error:
            raise _wrong(
                env, "step() returns a reward that is no number", f"{type(reward).__name__}: {str(reward)[:80]}",
                "one number, such as 1.0", "sum it where it has several parts",
            ) from error  # fmt: skip
    return observation, reward, bool(terminated), bool(truncated), info


_DONE = f"{_OLD}; split `done`: terminated where the task ended, truncated where only time was up"


def raised(env: gymnasium.Env[Any, Any], what: str, error: Exception) -> EnvironmentFault:
    """An environment raised something of its own; says where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f" ({Path(last.filename).name}, line {last.lineno})"
    return EnvironmentFault(
        f"the environment {_name(env)} failed at {what}",
        found=f"{type(error).__name__}: {error}"[:300] + where,
        hint="play it by itself: gymnasium.utils.env_checker.check_env(gymnasium.make(ID).unwrapped)",
    )


def _wrong(env: gymnasium.Env[Any, Any], what: str, found: str, expected: str, hint: str | None) -> EnvironmentFault:
    return EnvironmentFault(f"the environment {_name(env)}: {what}", found=found, expected=expected, hint=hint)


def _name(env: gymnasium.Env[Any, Any]) -> str:
    kind = type(env.unwrapped)
    return f"{env.spec.id if env.spec is not None else kind.__name__} (class {kind.__module__}.{kind.__qualname__})"
