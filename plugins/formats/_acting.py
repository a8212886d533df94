"""What networks that can only be asked give back, as actions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gymnasium.spaces import Box, Discrete

from ultra_agents.contracts.formats import Request
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

from ._normalizer import Statistics

ROWS = 3


def teacher(
    forward: Callable[[Array], Array], request: Request, statistics: Statistics | None
) -> Callable[[Array], Array]:
    """A network as a function from raw observations `(n, ...)` to likeliest actions `(n, ...)`.

    Discrete actions: the largest of one number per action, or the action itself where the network gives integers.
    Continuous: what it gives, clipped to the bounds.

    Args:
        forward: Observations as the network takes them -> its first output.
        request: What is read; for its spaces.
        statistics: Of observations.

    Raises:
        PolicyError: The network fails on observations of this environment, or gives something else than its actions.
    """
    space = request.action_space

    def act(observations: Array) -> Array:
        inputs = observations if statistics is None else statistics.normalize(observations)
        n, out = len(inputs), np.asarray(forward(np.asarray(inputs)))
        if isinstance(space, Discrete):
            if out.dtype.kind in "iu" and out.size == n:
                picked: Array = out.reshape(n).astype(np.int64)
                valid = (picked >= space.start) & (picked < space.start + space.n)
                if not valid.all():
                    raise _wrong(request, f"the action {picked[~valid][0]}")
                return np.asarray(picked)
            if out.shape != (n, int(space.n)):
                raise _wrong(request, f"outputs {out.dtype} of shape {out.shape} for {n} observations")
            _finite(out, request)
            return np.asarray(out.argmax(axis=1) + int(space.start), dtype=np.int64)
        assert isinstance(space, Box)
        if out.size != n * int(np.prod(space.shape)):
            raise _wrong(request, f"outputs {out.dtype} of shape {out.shape} for {n} observations")
        _finite(out, request)
        return np.asarray(np.clip(out.reshape(n, *space.shape), space.low, space.high), dtype=space.dtype)

    if not isinstance(space, Discrete | Box) or not isinstance(request.observation_space, Box):
        raise PolicyError(
            f"the policy {request.path} cannot be asked for such actions",
            found=f"{request.observation_space}, {space}"[:200],
            expected="Box observations, and Discrete or Box actions",
        )
    sample = np.zeros((ROWS, *request.observation_space.shape), dtype=request.observation_space.dtype)
    try:
        act(sample)
    except PolicyError:
        raise
    except Exception as error:  # whatever the runtime raises
        raise PolicyError(
            f"the network {request.path} does not take this environment's observations",
            found=" ".join(f"{type(error).__name__}: {error}".split())[:200],
            expected=f"a batch of observations of shape {request.observation_space.shape}",
            hint="give --environment the one it was trained in, its wrappers included",
        ) from error
    return act


def _finite(out: Array, request: Request) -> None:
    if not np.isfinite(out).all():
        raise PolicyError(
            f"the network {request.path} gives numbers that are not finite",
            found="NaN or infinity",
            expected="finite outputs",
            hint="its training diverged or the file is damaged: use an earlier checkpoint",
        )


def _wrong(request: Request, found: str) -> PolicyError:
    return PolicyError(
        f"the first output of the network {request.path} is no action of this environment",
        found=found,
        expected=f"one number per action, or the actions themselves: {request.action_space}"[:200],
        hint="give --environment the one it was trained in, or export the network with its actions first",
    )
