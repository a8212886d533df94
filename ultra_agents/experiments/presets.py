"""The names a comparison knows: every registered method, and presets, which are a method with settings around it.

`*-untested` is a method that uses advice as the paper has it: every suggestion is believed and followed through the
table. The others test advice, and learn from what held by imitation (`ultra_agents.stages.imitate`).
"""

from __future__ import annotations

from typing import Any

from ultra_agents.config import Config, default_baseline, method_class, usable_methods
from ultra_agents.contracts import Environment, capabilities
from ultra_agents.errors import ConfigError, did_you_mean
from ultra_agents.methods import method_of, terms_of
from ultra_agents.registry import create_algorithm

Settings = dict[str, Any]

UNTESTED: Settings = {"verification": {"mode": "none"}, "imitation": {"mode": "never"}}
PROPOSERS: dict[str, Settings] = {
    "random": {"proposer": "random", "methods": ["ultra-ra"]},
    "random-untested": {"proposer": "random", "methods": ["ultra-ra"], **UNTESTED},
    "search": {"proposer": "search", "methods": ["ultra-ra"]},
    "oracle": {"proposer": "oracle", "methods": ["ultra-ra"]},
    "oracle-untested": {"proposer": "oracle", "methods": ["ultra-ra"], **UNTESTED},
}
"""ULTRA with another proposer in the place of the language model."""
GOALS: dict[str, Settings] = {
    "goals": {"proposer": "llm", "methods": ["ultra-ra"], "advice": {"form": "goals"}},
    "goals-random": {"proposer": "random", "methods": ["ultra-ra"], "advice": {"form": "goals"}},
}
"""ULTRA with goals in the place of moves, a model's or drawn."""
RULES: dict[str, Settings] = {
    "rules": {"proposer": "llm", "methods": ["ultra-ra"], "advice": {"form": "rules"}},
    "rules-random": {"proposer": "random", "methods": ["ultra-ra"], "advice": {"form": "rules"}},
    "rules-file": {"proposer": "file", "methods": ["ultra-ra"]},
    "rules-constants": {"proposer": "constants", "methods": ["ultra-ra"]},
    "rules-layer": {"proposer": "file", "methods": ["ultra-ra"], "advice": {"apply": "layer"}},
    "reward-file": {"proposer": "file", "methods": ["ultra-r"]},
    "reward-random": {"proposer": "random", "methods": ["ultra-r"], "advice": {"form": "rules", "draws": "reward"}},
    "rules-imitate": {"proposer": "file", "methods": ["ultra-ra"], "advice": {"apply": "imitate"}},
}
"""ULTRA with advice as rules. Those of `advice.file`, a setting of the task: `rules-file` and its two ways of using
rules, and `rules-constants`, which keeps their structure and draws their constants. `reward-file` uses only the
implicit reward of that file, `reward-random` one that was drawn."""


def presets() -> dict[str, Settings]:
    """Every name with the settings that make a run what is called so; plugins that do not load are left out."""
    methods = usable_methods()
    plain: dict[str, Settings] = {name: {"methods": [name]} for name in methods}
    untested: dict[str, Settings] = {
        f"{name}-untested": {"methods": [name], **UNTESTED} for name, cls in methods.items() if cls.advice is not None
    }
    return {**untested, **PROPOSERS, **GOALS, **RULES, **plain}


def preset(name: str) -> Settings:
    """The settings that make a run the method called `name`, which may be `distribution:name`.

    Raises:
        ConfigError: Nobody goes by that name.
        PluginError: The method's plugin fails to load.
    """
    known = presets()
    if name in known:
        return known[name]
    if method_class(name) is not None:
        return {"methods": [name]}
    raise ConfigError(
        f"there is no method {name!r}", expected=f"one of: {', '.join(known)}", hint=did_you_mean(name, known)
    )


def ablation() -> tuple[str, ...]:
    """The paper's second table, with and without testing: methods that use advice."""
    parts = [name for name, cls in usable_methods().items() if cls.advice is not None]
    return (*parts, *(f"{name}-untested" for name in parts))


def controls() -> tuple[str, ...]:
    """What is wanted beside every method: the starting policy, training alone, advice that knows nothing."""
    return ("none", default_baseline(), "random")


def missing(config: Config, environment: Environment) -> list[str]:
    """What is lacking for this run to be what its method is called; empty if all is there."""
    has, lacks = capabilities(environment), []
    (name,) = config.methods
    method = method_of(config, name)
    if config.form != "moves" and method.advice is not None and "quantities" not in has:
        lacks.append(f"quantities (for {'goals' if config.form == 'goals' else 'rules'} to speak of)")
    tested = method.advice is not None and config.verification.simulates
    if tested and config.of_moves and "snapshot" not in has:
        lacks.append("snapshot and restore (to test advice)")
    elif config.form == "goals" and method.advice is not None and "snapshot" not in has:
        lacks.append("snapshot and restore (to search for goals)")
    if method.advice is not None and config.proposer == "oracle" and "expert" not in has:
        lacks.append("an expert (to be the oracle)")
    algorithm = create_algorithm(config.refine.algorithm.name, config.refine.algorithm.options)
    return [*lacks, *method.missing(terms_of(config, environment, algorithm))]
