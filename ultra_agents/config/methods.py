"""The parts of a run's configuration that say what is compared, and how the rivals of ULTRA work.

`methods` holds the names; `rice`, `statemask` and `jsrl` the options of the methods called so. What the papers used,
for whom to repeat them: RICE, Table 1, refines for 1e6 steps after 3e5 of mask training with 20 environments, a
learning rate of 1e-5, `rice.mask.alpha` 1e-4 (its prose and code say 0.01), and

| task | `rice.probability` | `rice.bonus` |
|---|---|---|
| Hopper | 0.25 | 0.001 |
| Walker2d | 0.25 | 0.01 |
| Reacher | 0.5 | 0.001 |
| HalfCheetah | 0.5 | 0.01 |

Those values of lambda belong to a bonus scaled to [0, 1] in every step; here it is divided by the running deviation of
its own discounted sum, as its inventors have it, so that the same lambda weighs less at first and falls with novelty.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from ultra_agents.config.models import PluginConfig, Section
from ultra_agents.errors import ConfigError, did_you_mean

METHOD_NAMES = ("none", "continue", "ultra-a", "ultra-r", "ultra-ra", "statemask-r", "rice", "jsrl")
"""Every method of `ultra_agents.methods`; written here because configurations are read without importing those."""


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in METHOD_NAMES:
            raise ConfigError(
                f"methods names {name!r}, which is no method",
                expected=f"some of: {', '.join(METHOD_NAMES)}",
                hint=did_you_mean(name, METHOD_NAMES),
            )
    if len(set(names)) != len(names):
        raise ConfigError("methods names one method twice", found=", ".join(names))
    return names


MethodNames: TypeAlias = Annotated[tuple[str, ...], AfterValidator(_known)]


class MaskConfig(Section):
    """How the network is trained that says which states matter (`ultra_agents.methods.mask`)."""

    algorithm: PluginConfig = Field(PluginConfig(name="ppo"), description="what trains it, on two discrete actions")
    steps: int | None = Field(
        None, gt=0, description="environment steps, out of refine.steps; null: 3 of 13 parts, as RICE's 3e5 + 1e6"
    )
    alpha: float = Field(0.01, ge=0, description="reward for randomising one step, in units of environment reward")

    def steps_of(self, budget: int) -> int:
        """Environment steps of mask training within a method's `budget`."""
        return round(budget * 3 / 13) if self.steps is None else self.steps


class RiceConfig(Section):
    """RICE (arXiv 2405.03064)."""

    mask: MaskConfig = MaskConfig()
    probability: float = Field(0.25, ge=0, le=1, description="chance p that an episode starts at a critical state")
    pool: int = Field(16, gt=0, description="latest episodes whose critical states are started from")
    bonus: float = Field(0.01, ge=0, description="lambda, weight of the normalised novelty, environment reward units")
    features: int = Field(64, gt=0, description="width of the random and of the predicting network")
    learning_rate: float = Field(1e-4, gt=0, description="Adam's step size of the predicting network")
    discount: float = Field(0.99, gt=0, lt=1, description="of novelty, in the sum whose deviation it is divided by")


class GapMaskConfig(MaskConfig):
    """StateMask's own objective: a reward for randomising while the return stays where it was."""

    dual_rate: float = Field(0.1, gt=0, description="step of the multiplier per update, per spread of the returns")


class StateMaskConfig(Section):
    """StateMask-R (NeurIPS 2023)."""

    mask: GapMaskConfig = GapMaskConfig()
    episodes: int = Field(8, gt=1, description="episodes of the starting policy, one critical state each")


class JsrlConfig(Section):
    """JSRL (Uchendu et al. 2023)."""

    schedule: Literal["thresholds", "linear"] = Field(
        "thresholds", description="the guide's share falls when returns allow and at latest linearly, or just linearly"
    )
    horizon: int | None = Field(None, gt=0, description="environment steps of the guide at first; null: its episodes'")
    stages: int = Field(10, gt=0, description="equal parts in which it falls to 0")
    window: int = Field(16, gt=0, description="episodes of a stage whose mean return is compared")
    tolerance: float = Field(0.05, ge=0, description="share of the best mean return so far that may be missing")
    until: float = Field(0.8, gt=0, le=1, description="share of the budget after which the guide never acts")
    learner: Literal["copy", "fresh"] = Field("copy", description="the learner begins as the guide, or untrained")
