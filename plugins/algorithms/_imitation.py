"""Behavioural cloning of demonstrations, without forgetting the rest: the loop that all algorithms share.

Minimises the mean weighted miss over demonstrated steps plus `clone_anchor` times the mean drift from the starting
policy over states that it visited by itself. The first term is behavioural cloning (Pomerleau 1991), the way DAPG
(Rajeswaran et al. 2018, arXiv 1709.10087) begins, too; the second keeps what nobody gave advice on. Miss and drift
are each algorithm's own (`ppo/imitation.py`, `sac/imitation.py`). The ULTRA paper has no such step: there, advice acts
through overridden actions and rewards alone.

A few plans are learnt in `clone_steps` minibatches. A rule labels any number of states, and how long it takes to learn
depends on the rule: where steps are held out cloning goes on until the agreement with them stops rising. Nobody knows
then when a falling step size should reach 0, so it stays, and what counts is the moving average of the weights
(Polyak and Juditsky 1992, SIAM J. Control Optim. 30(4)), which is as good at any time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import torch
from torch.optim.adam import adam

from ultra_agents.contracts import Demonstrations, Policy, agreed
from ultra_agents.errors import PluginError

MINIBATCH = 256
CHUNK = 1000
"""Minibatches between two looks at the steps held out."""
PATIENCE = 3
"""Looks without a rise after which cloning ends."""
RISE = 0.002
"""The least rise of the agreement that counts as one."""
AVERAGED = 0.005
"""Share of the newest weights in their moving average: it reaches back some 200 minibatches."""


class CloneOptions(Protocol):
    """The options of an algorithm that clones."""

    @property
    def clone_steps(self) -> int:
        """Minibatches, where no steps are held out."""

    @property
    def clone_steps_max(self) -> int:
        """Minibatches at most, where steps are held out."""

    @property
    def clone_learning_rate(self) -> float:
        """Adam's at the first minibatch; falls linearly to 0 where no steps are held out."""

    @property
    def clone_anchor(self) -> float:
        """Weight of the drift; 0 leaves it out."""


def clone(
    policy: Policy,
    parameters: Iterable[torch.nn.Parameter],
    demonstrations: Demonstrations,
    miss: Callable[[torch.Tensor], torch.Tensor],
    drift: Callable[[torch.Tensor], torch.Tensor],
    options: CloneOptions,
    rng: np.random.Generator,
    longest: float = math.inf,
    eps: float = 1e-8,
) -> None:
    """Minimise `miss` plus `drift` by Adam.

    Args:
        policy: What learns, in place.
        parameters: What of it moves.
        demonstrations: At least one step.
        miss: Loss of the demonstrated steps with these row numbers, a scalar.
        drift: Loss of the visited states with these row numbers, a scalar, `clone_anchor` applied.
        options: Of the algorithm.
        rng: Draws the minibatches.
        longest: Norm that gradients are clipped to.
        eps: Adam's.

    Raises:
        PluginError: The loss is not finite.
    """
    moving, shown, visited = list(parameters), len(demonstrations.actions), len(demonstrations.visited)
    means, squares = ([torch.zeros_like(parameter) for parameter in moving] for _ in range(2))
    counts = [torch.zeros(()) for _ in moving]

    def descend(share: float) -> torch.Tensor:
        """One minibatch at a share of the learning rate; its loss."""
        loss = miss(torch.from_numpy(rng.integers(0, shown, MINIBATCH)))
        if options.clone_anchor and visited:
            loss = loss + drift(torch.from_numpy(rng.integers(0, visited, MINIBATCH)))
        for parameter in moving:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call,unused-ignore]
        if longest < math.inf:
            torch.nn.utils.clip_grad_norm_(moving, longest)
        trained = [index for index, parameter in enumerate(moving) if parameter.grad is not None]
        with torch.no_grad():
            # as torch.optim.Adam, which would load the compiler: two seconds
            adam(
                [moving[index] for index in trained],
                [grad for parameter in moving if (grad := parameter.grad) is not None],
                [means[index] for index in trained], [squares[index] for index in trained], [],
                [counts[index] for index in trained],
                fused=True, amsgrad=False, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=eps, maximize=False,
                lr=options.clone_learning_rate * share,
            )  # fmt: skip
        return loss.detach()

    held_out = demonstrations.held_out
    if held_out is None or not len(held_out):
        for step in range(options.clone_steps):
            loss = descend(1.0 - step / options.clone_steps)
        _check(loss)
        return
    weights = [parameter.data for parameter in moving]
    average, best = ([weight.clone() for weight in weights] for _ in range(2))
    risen = highest = _agreement(policy, held_out)
    idle, left = 0, options.clone_steps_max
    while left > 0 and idle < PATIENCE:
        for _ in range(min(CHUNK, left)):
            loss = descend(1.0)
            torch._foreach_lerp_(average, weights, AVERAGED)
        _check(loss)
        left -= CHUNK
        now = [weight.clone() for weight in weights]
        torch._foreach_copy_(weights, average)
        found = _agreement(policy, held_out)
        if found > highest:
            highest = found
            torch._foreach_copy_(best, weights)
        torch._foreach_copy_(weights, now)
        risen, idle = (found, 0) if found >= risen + RISE else (risen, idle + 1)
    torch._foreach_copy_(weights, best)


def _agreement(policy: Policy, held_out: Demonstrations) -> float:
    return agreed(policy.act(held_out.observations, deterministic=True), held_out.actions)


def _check(loss: torch.Tensor) -> None:
    if not torch.isfinite(loss):
        raise PluginError(
            "learning from demonstrations diverged",
            found=f"loss {float(loss)}",
            hint="lower refine.algorithm.options.clone_learning_rate",
        )
