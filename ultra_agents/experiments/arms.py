"""The names a comparison knows: each is a way of running the pipeline, and nothing else changes between them.

`ultra-*-untested` is the paper's method as it is written: every suggestion is believed and followed through the table.
The others test advice, and learn from what held by imitation (`ultra_agents.stages.imitate`).
"""

from __future__ import annotations

from typing import Any

from ultra_agents.config import Config, variant_of
from ultra_agents.contracts import Environment, capabilities
from ultra_agents.errors import ConfigError, did_you_mean
from ultra_agents.methods import METHODS
from ultra_agents.registry import create_algorithm

Settings = dict[str, Any]

UNTESTED: Settings = {"verification": {"mode": "none"}, "imitation": {"mode": "never"}}

ARMS: dict[str, Settings] = {
    "none": {"methods": ["none"]},
    "continue": {"methods": ["continue"]},
    "random": {"proposer": "random", "methods": ["ultra-ra"]},
    "random-untested": {"proposer": "random", "methods": ["ultra-ra"], **UNTESTED},
    "oracle": {"proposer": "oracle", "methods": ["ultra-ra"]},
    "oracle-untested": {"proposer": "oracle", "methods": ["ultra-ra"], **UNTESTED},
    "ultra-a": {"methods": ["ultra-a"]},
    "ultra-r": {"methods": ["ultra-r"]},
    "ultra-ra": {"methods": ["ultra-ra"]},
    "ultra-a-untested": {"methods": ["ultra-a"], **UNTESTED},
    "ultra-r-untested": {"methods": ["ultra-r"], **UNTESTED},
    "ultra-ra-untested": {"methods": ["ultra-ra"], **UNTESTED},
    "statemask-r": {"methods": ["statemask-r"]},
    "rice": {"methods": ["rice"]},
    "jsrl": {"methods": ["jsrl"]},
}
ABLATION = ("ultra-a", "ultra-r", "ultra-ra", "ultra-a-untested", "ultra-r-untested", "ultra-ra-untested")
"""The paper's second table, with and without testing."""


def arm(name: str) -> Settings:
    """The settings that make a run the method called `name`.

    Raises:
        ConfigError: Nobody goes by that name.
    """
    if name not in ARMS:
        raise ConfigError(
            f"there is no method {name!r}", expected=f"one of: {', '.join(ARMS)}", hint=did_you_mean(name, ARMS)
        )
    return ARMS[name]


def missing(config: Config, environment: Environment) -> list[str]:
    """What is lacking for this run to be what its method is called; empty if all is there."""
    has, lacks = capabilities(environment), []
    (method,) = config.methods
    advised = variant_of(method) is not None
    if advised and config.verification.mode in ("simulate", "both") and "snapshot" not in has:
        lacks.append("snapshot and restore (to test advice)")
    if advised and config.proposer == "oracle" and "expert" not in has:
        lacks.append("an expert (to be the oracle)")
    algorithm = create_algorithm(config.refine.algorithm.name, config.refine.algorithm.options)
    return [*lacks, *METHODS[method].missing(config, environment, algorithm)]
