"""Quantities of an environment as further inputs of a policy's network.

What is hard to compute from an observation (where a ball that bounces will arrive) an environment plugin may tell as a
quantity. A policy that takes it as an input learns a rule that speaks of it sooner and better. Such a policy acts only
where its environment's plugin is at hand: its state says which quantities it takes, and it is given the plugin where
it is rebuilt (`Policy.bind`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ultra_agents.contracts.environment import Environment, capabilities
from ultra_agents.contracts.quantities import Quantity
from ultra_agents.errors import ConfigError, PluginError, PolicyError, UltraError, did_you_mean
from ultra_agents.records import Array, FloatArray

WIDENING = "widening"
"""Key of a widened policy's description; its arrays' names begin with it and a dot."""
CLIP = 10.0
"""Standardised values are clipped here, as observations are."""


class Teller(Protocol):
    """Whoever tells quantities: an environment's plugin, or one with what rules decide by behind them."""

    @property
    def env_id(self) -> str:
        """Of the task."""

    @property
    def legend(self) -> Mapping[str, Quantity]:
        """What each quantity means."""

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        """Name -> `(n,)` float64 for `n` observations; NaN where one has no value."""


@dataclass(frozen=True, eq=False)
class Widening:
    """Two inputs for each quantity: its standardised value, 0 where it has none, and 1 where it has none, else 0.

    (The second is constant 0 for a quantity that always has a value: a constant 1 would act as one more bias.)

    Attributes:
        env_id: The task whose quantities they are.
        units: Unit of each quantity by its name, in the order of the inputs.
        mean: `(k,)` subtracted from each value.
        scale: `(k,)` what it is divided by, above 0.
        environment: Who tells them; None until `bound`.
        rules: Texts of the rules whose margins are among them (`rules.margins`).
    """

    env_id: str
    units: Mapping[str, str]
    mean: FloatArray
    scale: FloatArray
    environment: Teller | None = None
    rules: tuple[str, ...] = ()

    @classmethod
    def of(cls, environment: Teller, names: Iterable[str], observations: Array, rules: Iterable[str] = ()) -> Widening:
        """Quantities standardised by their mean and standard deviation over `observations` `(n, ...)`.

        Args:
            environment: The plugin that tells them.
            names: Which, each once.
            observations: At least one; where a quantity has no value it does not count.
            rules: Texts of the rules whose margins `environment` tells beside its own.

        Raises:
            ConfigError: The environment does not tell such a quantity, none is named, or there are no observations.
            PluginError: The plugin's `quantities` failed.
        """
        wanted = tuple(dict.fromkeys(names))
        known = _legend(environment)
        unknown = [name for name in wanted if name not in known]
        if unknown or not wanted:
            raise ConfigError(
                f"a policy cannot be widened by these quantities of {environment.env_id}",
                found=", ".join(map(repr, unknown)) or "no names",
                expected=f"any of {', '.join(known)}" if known else "an environment plugin that offers quantities",
                hint=did_you_mean(unknown[0], known) if unknown and known else None,
            )
        if not len(observations):
            raise ConfigError(
                "the scale of quantities is taken from states, and none are given", expected="at least 1"
            )
        values = _told(environment, wanted, observations)
        values[~np.isfinite(values)] = np.nan
        mean, scale = np.zeros(len(wanted)), np.ones(len(wanted))
        for index, column in enumerate(values.T):
            there = column[~np.isnan(column)]
            if len(there):
                mean[index], spread = there.mean(), there.std()
                scale[index] = spread if spread > 1e-8 * max(1.0, abs(mean[index])) else 1.0
        units = {name: known[name].unit for name in wanted}
        return cls(environment.env_id, units, mean, scale, environment, tuple(rules))

    @classmethod
    def restored(cls, description: Mapping[str, Any], arrays: Mapping[str, Array]) -> Widening | None:
        """What a policy's state says (`described` and `arrays`), to be `bound`; None for one that is not widened.

        Raises:
            PolicyError: It does not hang together.
        """
        told = description.get(WIDENING)
        if told is None:
            return None
        try:
            units = {str(name): str(unit) for name, unit in told["quantities"]}
            mean, scale = (np.array(arrays[f"{WIDENING}.{name}"], np.float64) for name in ("mean", "scale"))
            if not mean.shape == scale.shape == (len(units),) or not len(units) or not (scale > 0).all():
                raise ValueError(f"{len(units)} quantities, means {mean.shape}, scales {scale.shape}")
            rules = told.get("rules", [])
            if not isinstance(rules, list) or not all(isinstance(text, str) for text in rules):
                raise ValueError("the rules are no list of texts")
            return cls(str(told["env_id"]), units, mean, scale, rules=tuple(rules))
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(
                "the policy takes quantities as inputs, and its description of them is damaged",
                found=f"{type(error).__name__}: {error}"[:200],
                expected="names and units, and as many means and scales above 0",
            ) from error

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities, in the order of the inputs."""
        return tuple(self.units)

    @property
    def width(self) -> int:
        """How many inputs they are."""
        return 2 * len(self.units)

    def bound(self, environment: Teller) -> Widening:
        """The same with who tells the quantities.

        Raises:
            PolicyError: It is another task's, or no longer tells one of them, or in another unit.
        """
        if environment.env_id != self.env_id:
            raise PolicyError(
                "the policy takes quantities of another environment as inputs",
                found=environment.env_id,
                expected=self.env_id,
            )
        legend = _legend(environment)
        units = {name: legend[name].unit for name in self.units if name in legend}
        if units != self.units:
            changed = [name for name in self.units if units.get(name) != self.units[name]]
            raise PolicyError(
                f"the policy takes quantities as inputs that {environment.env_id} no longer tells alike",
                found=", ".join(f"{name} in {units[name]}" if name in units else f"no {name}" for name in changed),
                expected=", ".join(f"{name} in {self.units[name]}" for name in changed),
                hint="use the version or the options of the environment plugin it was made with, or train it again",
            )
        return replace(self, environment=environment)

    def extended(self, other: Widening | None) -> Widening:
        """This, and behind it those quantities of `other` that are not here; `other`'s teller tells them all.

        Raises:
            ConfigError: They are of another environment.
        """
        if other is None:
            return self
        if other.env_id != self.env_id:
            raise ConfigError(
                "a policy takes quantities of one environment only", found=other.env_id, expected=self.env_id
            )
        new = [index for index, name in enumerate(other.names) if name not in self.units]
        return replace(
            self,
            units={**self.units, **{name: unit for name, unit in other.units.items() if name not in self.units}},
            mean=np.concatenate([self.mean, other.mean[new]]),
            scale=np.concatenate([self.scale, other.scale[new]]),
            environment=other.environment or self.environment,
            rules=tuple(dict.fromkeys((*self.rules, *other.rules))),
        )

    def inputs(self, observations: Array) -> Array:
        """Raw observations `(n, ...)` -> `(n, width)` float32: value, missing, value, missing, ...

        Raises:
            PolicyError: There is no plugin to ask.
            PluginError: Its `quantities` failed.
        """
        if self.environment is None:
            raise PolicyError(
                f"the policy takes quantities of {self.env_id} as inputs, and there is nobody to ask for them",
                found=", ".join(self.units),
                expected="the environment's plugin",
                hint="load it by ultra_agents.load_policy(path), or give it the plugin by policy.bind(environment)",
            )
        values = _told(self.environment, self.units, observations)
        there = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            scaled = np.clip((values - self.mean) / self.scale, -CLIP, CLIP)
        both = np.empty((len(values), self.width), np.float32)
        both[:, 0::2], both[:, 1::2] = np.where(there, scaled, 0.0), ~there
        return both

    def described(self) -> dict[str, Any]:
        """What belongs into a policy's description: `{"widening": ...}`."""
        told: dict[str, Any] = {"env_id": self.env_id, "quantities": [list(pair) for pair in self.units.items()]}
        return {WIDENING: {**told, "rules": list(self.rules)} if self.rules else told}

    def scaled(self, arrays: Mapping[str, Array]) -> Widening:
        """The same with the mean and the scale of `arrays`, made by `arrays()`."""
        mean, scale = (np.array(arrays[f"{WIDENING}.{name}"], np.float64) for name in ("mean", "scale"))
        return replace(self, mean=mean, scale=scale)

    def arrays(self) -> dict[str, Array]:
        """What belongs among a policy's arrays."""
        return {f"{WIDENING}.mean": self.mean.copy(), f"{WIDENING}.scale": self.scale.copy()}

    def left_out(
        self, arrays: Mapping[str, Array], description: Mapping[str, Any], first: Iterable[str]
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """A widened policy's state as if it were not widened, if nothing was learnt from these inputs; else the same.

        Args:
            arrays: Of the policy.
            description: Of the policy.
            first: Names of the arrays `(outputs, inputs)` that these inputs, the last ones, are multiplied with.
        """
        names = tuple(first)
        if any(arrays[name][:, -self.width :].any() for name in names):
            return dict(arrays), dict(description)
        kept = {name: array for name, array in arrays.items() if not name.startswith(f"{WIDENING}.")}
        kept |= {name: arrays[name][:, : -self.width] for name in names}
        return kept, {key: value for key, value in description.items() if key != WIDENING}

    def __repr__(self) -> str:
        return f"Widening({', '.join(self.units)})"


def _legend(environment: Teller) -> Mapping[str, Quantity]:
    if isinstance(environment, Environment) and "quantities" not in capabilities(environment):
        return {}
    return environment.legend


def _told(environment: Teller, names: Iterable[str], observations: Array) -> FloatArray:
    """The quantities `(n, k)` of `n` observations."""
    try:
        told = environment.quantities(observations)
        return np.stack([np.asarray(told[name], np.float64) for name in names], axis=1)
    except UltraError:
        raise
    except Exception as error:
        raise PluginError(
            f"the environment {environment.env_id} cannot tell its quantities",
            found=f"{type(error).__name__}: {error}",
            hint="ultra plugins check NAME runs the conformance kit over the plugin",
        ) from error
