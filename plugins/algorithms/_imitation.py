"""Behavioural cloning of a few demonstrations, without forgetting the rest: the loop that all algorithms share.

Minimises the mean weighted miss over demonstrated steps plus `clone_anchor` times the mean drift from the starting
policy over states that it visited by itself. The first term is behavioural cloning (Pomerleau 1991), the way DAPG
(Rajeswaran et al. 2018, arXiv 1709.10087) begins, too; the second keeps what nobody gave advice on. Miss and drift
are each algorithm's own (`ppo/imitation.py`, `sac/imitation.py`). The ULTRA paper has no such step: there, advice acts
through overridden actions and rewards alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import torch
from torch.optim.adam import adam

from ultra_agents.contracts import Demonstrations
from ultra_agents.errors import PluginError

MINIBATCH = 256


class CloneOptions(Protocol):
    """The options of an algorithm that clones."""

    @property
    def clone_steps(self) -> int:
        """Minibatches."""

    @property
    def clone_learning_rate(self) -> float:
        """Adam's at the first minibatch, falling linearly to 0."""

    @property
    def clone_anchor(self) -> float:
        """Weight of the drift; 0 leaves it out."""


def clone(
    parameters: Iterable[torch.nn.Parameter],
    demonstrations: Demonstrations,
    miss: Callable[[torch.Tensor], torch.Tensor],
    drift: Callable[[torch.Tensor], torch.Tensor],
    options: CloneOptions,
    rng: np.random.Generator,
    longest: float = math.inf,
    eps: float = 1e-8,
) -> None:
    """Minimise `miss` plus `drift` by Adam, its rate falling linearly to 0.

    Args:
        parameters: What moves.
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
    for step in range(options.clone_steps):
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
                lr=options.clone_learning_rate * (1.0 - step / options.clone_steps),
            )  # fmt: skip
    if not torch.isfinite(loss.detach()):
        raise PluginError(
            "learning from demonstrations diverged",
            found=f"loss {float(loss.detach())}",
            hint="lower refine.algorithm.options.clone_learning_rate",
        )
