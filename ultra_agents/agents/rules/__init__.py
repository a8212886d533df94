"""Models propose closed-loop rules: critical situations, rules over named quantities, an implicit reward, revisions.

`propose_rules` is the way in; langgraph is imported when it runs.
"""

from ultra_agents.agents.rules.proposing import form_of, most_trials, propose_rules
from ultra_agents.agents.rules.state import TriesRules

__all__ = ["TriesRules", "form_of", "most_trials", "propose_rules"]
