"""What flows between the stages: episodes in, cases and rules out, and what came of a run."""

from ultra_agents.records.cases import (
    Advice,
    Attempt,
    CriticalState,
    Critique,
    Explanation,
    Fate,
    JointVerdict,
    Move,
    Note,
    Plan,
    Suggestion,
    TestResult,
    Variant,
    Verdict,
    advice_of,
)
from ultra_agents.records.episodes import Array, FloatArray, Narration, Scalar, Segment, Trajectory
from ultra_agents.records.results import CurvePoint, Kept, MethodResult, Returns, Usage
from ultra_agents.records.rules import RuleAttempt, RuleProposal, Situation

__all__ = [
    "Advice", "Array", "Attempt", "CriticalState", "Critique", "CurvePoint", "Explanation", "Fate", "FloatArray",
    "JointVerdict", "Kept", "MethodResult", "Move", "Narration", "Note", "Plan", "Returns", "RuleAttempt",
    "RuleProposal", "Scalar", "Segment", "Situation", "Suggestion", "TestResult", "Trajectory", "Usage", "Variant",
    "Verdict", "advice_of",
]  # fmt: skip
