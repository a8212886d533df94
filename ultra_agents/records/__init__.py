"""What flows between the stages: episodes in, cases and rules out, and what came of a run."""

from ultra_agents.records.cases import (
    HUMAN,
    Advice,
    Attempt,
    CriticalState,
    Critique,
    Explanation,
    Fate,
    JointVerdict,
    Note,
    Ring,
    Variant,
    Verdict,
    advice_of,
    set_verdict,
)
from ultra_agents.records.episodes import Array, FloatArray, Narration, Scalar, Segment, Trajectory
from ultra_agents.records.plans import Goal, GoalReached, Move, Plan, Searched, Suggestion
from ultra_agents.records.replays import Ending, Moment, Replays, TestResult
from ultra_agents.records.results import CurvePoint, Kept, MethodResult, Returns, Usage
from ultra_agents.records.rules import Endings, RuleAttempt, RuleProposal, RuleTrial, Situation, Trace

__all__ = [
    "Advice", "Array", "Attempt", "CriticalState", "Critique", "CurvePoint", "Ending", "Endings", "Explanation",
    "Fate", "FloatArray", "Goal", "GoalReached", "HUMAN", "JointVerdict", "Kept", "MethodResult", "Moment", "Move",
    "Narration", "Note", "Plan", "Replays", "Returns", "Ring", "RuleAttempt", "RuleProposal", "RuleTrial", "Scalar",
    "Searched", "Segment", "Situation", "Suggestion", "TestResult", "Trace", "Trajectory", "Usage", "Variant",
    "Verdict", "advice_of", "set_verdict",
]  # fmt: skip
