"""Where and how PPO learns: which device, which precision, compiled or not, and so by which of the learners.

Networks of a few thousand weights learn faster on a processor than on any accelerator, which waits for each of their
tiny operations to be sent; `auto` therefore takes an accelerator for screens only.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from torch import nn

from ultra_agents.errors import PluginError
from ultra_agents.records import FloatArray

from .._networks import PPOPolicy
from .autograd import AutogradLearner, Batch, Learner, LossOptions
from .mlp import MLPLearner


class DeviceOptions(LossOptions, Protocol):
    """What of the options decides; see `ppo.PPOOptions`."""

    @property
    def device(self) -> Literal["auto", "cpu", "cuda"]:
        """Where the networks are trained."""
        ...

    @property
    def precision(self) -> Literal["float32", "bfloat16"]:
        """Number format of matrix products."""
        ...

    @property
    def compile(self) -> bool:
        """Whether the loss is compiled."""
        ...


def make_learner(policy: PPOPolicy, options: DeviceOptions) -> Learner:
    """The learner that suits the network and the options.

    Raises:
        PluginError: The device or a compiler is not there.
    """
    device = chosen_device(options.device, screens=policy.encoder is not None)
    plain = options.precision == "float32" and not options.compile
    if policy.encoder is None and device.type == "cpu" and plain:
        return MLPLearner(policy, options)
    wrap = compiler(device) if options.compile else None
    bfloat16 = options.precision == "bfloat16"
    if device.type == "cpu":
        return AutogradLearner(policy, options, bfloat16, wrap)
    if policy.encoder is not None:  # acting wants the device, too
        to_device(policy, device)
        return AutogradLearner(policy, options, bfloat16, wrap)
    return RemoteLearner(policy, options, device, bfloat16, wrap)


def chosen_device(wanted: Literal["auto", "cpu", "cuda"], screens: bool) -> torch.device:
    """`auto`: CUDA for screens where there is one, else the processor."""
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise PluginError(
            "the device asked for is not there",
            found=f"device cuda; PyTorch {torch.__version__} sees no CUDA device",
            expected="a CUDA device and a build of PyTorch that can use it",
            hint="set refine.algorithm.options.device=cpu, or auto to take one where there is one",
        )
    return torch.device("cuda" if there and (wanted == "cuda" or (wanted == "auto" and screens)) else "cpu")


def compiler(device: torch.device) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`torch.compile`, where it finds what it needs."""
    named = os.environ.get("CXX")
    names = [named] if named else ["g++", "clang++", "cl", "gcc", "cc"]
    if not any(shutil.which(name) for name in names):
        raise PluginError(
            "compile needs a C++ compiler, and none was found",
            found=f"none of {', '.join(names)} on the PATH",
            hint="set refine.algorithm.options.compile=false, install a compiler, or name one in CXX",
        )
    return lambda function: torch.compile(function)


def to_device(policy: PPOPolicy, device: torch.device) -> None:
    """Move all weights."""
    for module in (policy.encoder, policy.actor, policy.critic):
        if module is not None:
            module.to(device)
    if policy.log_std is not None:
        policy.log_std = nn.Parameter(policy.log_std.detach().to(device))


class RemoteLearner(AutogradLearner):
    """Learns on a copy of the policy on another device; the policy itself stays where it acts from, and is kept equal.

    Args:
        policy: On the CPU; gets the copy's weights at the end of each update.
        options: Of the loss.
        device: Of the copy.
        bfloat16: As in `AutogradLearner`.
        wrap: As there.
    """

    def __init__(
        self,
        policy: PPOPolicy,
        options: LossOptions,
        device: torch.device,
        bfloat16: bool = False,
        wrap: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
    ) -> None:
        self._home, twin = policy, copy.deepcopy(policy)
        to_device(twin, device)
        super().__init__(twin, options, bfloat16, wrap)

    def begin(self, batch: Batch, learning_rate: float, warmup: bool) -> None:
        """Take over the policy's weights: they may have been loaded."""
        self.policy.load(self._home.state()[0])
        super().begin(batch, learning_rate, warmup)

    def finish(self) -> FloatArray:
        """Hand the weights back."""
        rows = super().finish()
        self._home.load(self.policy.state()[0])
        return rows
