"""Closed-loop rules over named quantities, in a safe language: read, checked, and computed for many states at once.

`load_rules(path)` and `parse_rules(text)` give a `RuleSet`; everything wrong with a text is a `RuleError`.
"""

from ultra_agents.rules.atoms import AtomsReply, as_text, reply_model, rules_of
from ultra_agents.rules.errors import RuleError
from ultra_agents.rules.interface import Interface, interface_of
from ultra_agents.rules.ruleset import Decision, RuleSet, load_rules, parse_rules

__all__ = [
    "AtomsReply",
    "Decision",
    "Interface",
    "RuleError",
    "RuleSet",
    "as_text",
    "interface_of",
    "load_rules",
    "parse_rules",
    "reply_model",
    "rules_of",
]
