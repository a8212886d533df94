"""A policy with rules in force over it, as one policy: where a rule covers a state it acts, elsewhere the policy.

What such a policy needs beyond the policy's own weights is the text of the rules, and the environment plugin for the
quantities they speak of. Its file holds the former (`RulePolicy.state`) and is bound to the latter where it is read
(`restored`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from ultra_agents.contracts import Environment, Policy
from ultra_agents.errors import PluginError, UltraError
from ultra_agents.records import Array, FloatArray
from ultra_agents.rules.errors import RuleError
from ultra_agents.rules.interface import interface_of
from ultra_agents.rules.ruleset import Decision, Quantities, RuleSet, parse_rules

RULES, ALONE = "rules", "policy"
"""Keys of a layered policy's description: the rules as YAML text, and the description of the policy below."""


class BoundRules:
    """Rules over the actions of whatever policy acts below.

    Args:
        rules: Bound to the environment's interface here.
        environment: The plugin that names quantities and actions.

    Attributes:
        rules: The rules, bound.
        environment: The plugin.

    Raises:
        RuleError: The rules do not fit the environment, or there are none (a potential or a reward does not act).
    """

    def __init__(self, rules: RuleSet, environment: Environment) -> None:
        if not rules.document.rules:
            raise RuleError(
                "there is no rule to act by", found="a potential or a reward alone", expected="rules: at least one"
            )
        interface = interface_of(environment)
        self.environment = environment
        self.rules = rules if rules.interface == interface else rules.bind(interface)

    def quantities(self, observations: Array) -> Quantities:
        """What the environment names in `n` states.

        Raises:
            PluginError: The plugin's `quantities` failed.
        """
        try:
            return self.environment.quantities(observations)
        except UltraError:
            raise
        except Exception as error:
            raise PluginError(
                f"the environment {self.environment.env_id} cannot tell its quantities",
                found=f"{type(error).__name__}: {error}",
                hint="ultra plugins check NAME runs the conformance kit over the plugin",
            ) from error

    def decide(self, observations: Array, own: Array, quantities: Quantities | None = None) -> Decision:
        """Who acts in `n` states where the policy would take the actions `own` `(n, ...)`, and how.

        Discrete actions of the answer are indices into the interface's actions. `quantities` are those of the states,
        where they are known already.

        Raises:
            PluginError: The plugin's `quantities` failed.
        """
        return self.rules.decide(
            self.quantities(observations) if quantities is None else quantities, self.indices(own)
        )

    def over(self, observations: Array, own: Array, quantities: Quantities | None = None) -> tuple[Array, Decision]:
        """The actions `own` `(n, ...)` of any policy, replaced where a rule acts, and who acts where."""
        own = np.asarray(own)
        decision = self.decide(observations, own, quantities)  # holds the policy's own where no rule acts, to the bit
        actions = decision.actions if self._values is None else self._values[decision.actions]
        return actions.astype(own.dtype, copy=False), decision

    def differs(self, observations: Array, own: Array) -> Array:
        """`(n,)` bool, where a rule acts otherwise than the policy, whose actions are `own` `(n, ...)`."""
        actions, _ = self.over(observations, own)
        return np.asarray((actions != own).reshape(len(actions), -1).any(axis=1))

    @cached_property
    def _discrete(self) -> bool:
        return isinstance(self.environment.action_space, Discrete)

    @cached_property
    def _values(self) -> Array | None:
        """The action space's integer for each of the interface's actions; None where that is their index."""
        if not self._discrete:
            return None
        codec = self.environment.actions
        values = np.array([int(codec.encode(name)) for name in self.rules.interface.actions], np.int64)
        return None if (values == np.arange(len(values))).all() else values

    def indices(self, own: Array) -> Array:
        """Actions of the action space `(n, ...)` as rules know them: discrete ones as indices into the interface's."""
        if self._values is None:
            return own
        order = np.argsort(self._values)
        return order[np.searchsorted(self._values, own, sorter=order)]


class RulePolicy(BoundRules, Policy):
    """A policy with a set of rules in force over it.

    Actions are asked of the policy in every state, whatever the rules say, so that its random draws do not depend on
    them: the policy alone and the policy with rules use the same random numbers. A continuous action is handed to the
    rules as the policy gives it, and comes back within the action space's bounds where a rule acted.

    Args:
        policy: What acts where no rule does.
        rules: What acts elsewhere; bound to the environment's interface here.
        environment: The plugin that names quantities and actions.

    Attributes:
        alone: The policy without the rules.
        rules: The rules, bound.
        environment: The plugin.

    Raises:
        RuleError: The rules do not fit the environment, or there are none (a potential or a reward does not act).
    """

    def __init__(self, policy: Policy, rules: RuleSet, environment: Environment) -> None:
        super().__init__(rules, environment)
        self.alone = policy
        self.stochastic = policy.stochastic

    def act(self, observations: Array, rng: np.random.Generator | None = None, deterministic: bool = False) -> Array:
        """Raw observations `(n, ...)` -> actions `(n, ...)`."""
        return self.over(observations, self.alone.act(observations, rng, deterministic))[0]

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        """Actions `(n, ...)`, the policy's part of them drawn with given randomness."""
        return self.act_and_cover(observations, uniforms)[0]

    def act_and_cover(self, observations: Array, uniforms: FloatArray) -> tuple[Array, Array]:
        """The same, and `(n,)` bool where a rule acted."""
        actions, decision = self.over(observations, self.alone.act_with_uniforms(observations, uniforms))
        return actions, decision.covered

    def value(self, observations: Array) -> FloatArray:
        """What the policy below expects `(n,)` where it acts alone: nobody has estimated it under the rules."""
        return self.alone.value(observations)

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """The arrays of the policy below; its description with the rules' text beside it."""
        arrays, description = self.alone.state()
        return arrays, {ALONE: description, RULES: self.rules.to_yaml()}

    def acting_state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """The same of what acts in the policy below."""
        arrays, description = self.alone.acting_state()
        return arrays, {ALONE: description, RULES: self.rules.to_yaml()}

    def __repr__(self) -> str:
        return f"RulePolicy({self.alone!r}, {self.rules!r})"


def parts_of(description: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The description of a policy without rules, and the rules' text where it describes one with rules."""
    if set(description) != {ALONE, RULES}:
        return description, None
    return description[ALONE], str(description[RULES])


def restored(policy: Policy, text: str, environment: Environment, whose: str = "") -> RulePolicy:
    """The policy with the rules of a file over it; `whose` names the file in messages.

    Raises:
        RuleError: The rules do not fit the environment.
    """
    return RulePolicy(policy, parse_rules(text, interface_of(environment), whose), environment)
