"""Methods in a run: built from the registry with their options, and refused together where something is lacking.

A method is a plugin (`ultra_agents.contracts.method`); the built-in ones are:

| name | start | in the rollouts | starts of episodes | charged beside refining |
|---|---|---|---|---|
| `none` | the policy | not trained | - | nothing |
| `continue` | the policy | nothing | the environment's | nothing |
| `ultra-a`, `ultra-r`, `ultra-ra` | the policy, or one that imitated advice | advice | the environment's | \
collecting, testing, imitating |
| `statemask-r` | the policy | nothing | critical states | episodes, mask |
| `rice` | the policy | novelty bonus | critical states with chance p | collecting, mask |
| `jsrl` | the policy, or an untrained one | the guide's first steps | the environment's | collecting |

One file per method in `plugins/methods/`; each begins with what it does otherwise than its paper. Who proposes advice
(`proposer: random`, `oracle`) is no method but a setting of those that use advice.
"""

from __future__ import annotations

from ultra_agents.config import Config
from ultra_agents.contracts import Algorithm, Environment, Method
from ultra_agents.errors import ConfigError
from ultra_agents.methods.services import EngineServices, fidelity_metrics, terms_of
from ultra_agents.registry import create_method

__all__ = ["EngineServices", "check_methods", "fidelity_metrics", "method_of", "terms_of"]


def method_of(config: Config, name: str) -> Method:
    """The method called `name` with the options `config` has for it; raises `PluginError` or `ConfigError`."""
    return create_method(name, config.options_of(name))


def check_methods(config: Config, environment: Environment, algorithm: Algorithm) -> None:
    """Refuse a run before anything is spent, with everything its methods lack.

    Raises:
        ConfigError: Something is missing.
    """
    terms = terms_of(config, environment, algorithm)
    lacks = [f"{name}: {what}" for name in config.methods for what in method_of(config, name).missing(terms)]
    if lacks:
        raise ConfigError(
            "this run's methods need what is not there",
            found="; ".join(lacks),
            hint="leave those methods out, or choose another environment or refine.algorithm",
        )
