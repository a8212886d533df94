"""Advice is tested before it is believed."""

from ultra_agents.verification.counterfactual import CounterfactualTester, max_tests
from ultra_agents.verification.goals import GoalMeter
from ultra_agents.verification.joint import JointResult, JointTester
from ultra_agents.verification.moves import check_place, parse_moves
from ultra_agents.verification.probe import Probe, restore_is_exact
from ultra_agents.verification.rules import RuleTest, RuleTester
from ultra_agents.verification.search import PlanSearch, SearchTerms
from ultra_agents.verification.validity import refusal, snapshot_of

__all__ = [
    "CounterfactualTester",
    "GoalMeter",
    "JointResult",
    "JointTester",
    "PlanSearch",
    "Probe",
    "RuleTest",
    "RuleTester",
    "SearchTerms",
    "check_place",
    "max_tests",
    "parse_moves",
    "refusal",
    "restore_is_exact",
    "snapshot_of",
]
