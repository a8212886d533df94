"""Everything that refines a policy, behind one interface: `METHODS[name].prepare(...)`, then the same loop for all.

| name | start | in the rollouts | starts of episodes | charged beside refining |
|---|---|---|---|---|
| `none` | the policy | not trained | - | nothing |
| `continue` | the policy | nothing | the environment's | nothing |
| `ultra-a`, `ultra-r`, `ultra-ra` | the policy, or one that imitated advice | advice | the environment's | \
collecting, testing, imitating |
| `statemask-r` | the policy | nothing | critical states | episodes, mask |
| `rice` | the policy | novelty bonus | critical states with chance p | collecting, mask |
| `jsrl` | the policy, or an untrained one | the guide's first steps | the environment's | collecting |

One file per method; each begins with what it does otherwise than its paper. Who proposes advice (`proposer: random`,
`oracle`) is no method but a setting of `ultra-*`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ultra_agents.config import Config
from ultra_agents.contracts import Algorithm, Environment
from ultra_agents.errors import ConfigError, did_you_mean
from ultra_agents.methods.base import Advised, Method, Prepared, Setting
from ultra_agents.methods.jsrl import JSRL
from ultra_agents.methods.plain import Continued, Unrefined
from ultra_agents.methods.rice import RICE
from ultra_agents.methods.statemask import StateMaskR
from ultra_agents.methods.ultra import Ultra

__all__ = ["METHODS", "Advised", "Method", "Prepared", "Setting", "check_methods", "method_named"]

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Unrefined(), Continued(), Ultra("a"), Ultra("r"), Ultra("ra"), StateMaskR(), RICE(), JSRL(),
    )
}  # fmt: skip
"""Every method by its name in configurations, in the order tables show them."""


def method_named(name: str) -> Method:
    """The method called `name`.

    Raises:
        ConfigError: Nobody goes by that name.
    """
    if name not in METHODS:
        raise ConfigError(
            f"there is no method {name!r}",
            expected=f"one of: {', '.join(METHODS)}",
            hint=did_you_mean(name, METHODS),
        )
    return METHODS[name]


def check_methods(config: Config, environment: Environment, algorithm: Algorithm) -> None:
    """Refuse a run before anything is spent, with everything its methods lack.

    Raises:
        ConfigError: Something is missing.
    """
    lacks = [
        f"{name}: {what}"
        for name in config.methods
        for what in method_named(name).missing(config, environment, algorithm)
    ]
    if lacks:
        raise ConfigError(
            "this run's methods need what is not there",
            found="; ".join(lacks),
            hint="leave those methods out, or choose another environment or refine.algorithm",
        )
