"""What flows between the stages: episodes in (`episodes`), cases out (`cases`), and what came of a run (`results`)."""

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
    Ring,
    Suggestion,
    TestResult,
    Variant,
    Verdict,
    advice_of,
    set_verdict,
)
from ultra_agents.records.episodes import Array, FloatArray, Narration, Scalar, Segment, Trajectory
from ultra_agents.records.results import CurvePoint, MethodResult, Returns, Usage

__all__ = [
    "Advice", "Array", "Attempt", "CriticalState", "Critique", "CurvePoint", "Explanation", "Fate", "FloatArray",
    "JointVerdict", "MethodResult", "Move", "Narration", "Note", "Plan", "Returns", "Ring", "Scalar", "Segment",
    "Suggestion", "TestResult", "Trajectory", "Usage", "Variant", "Verdict", "advice_of", "set_verdict",
]  # fmt: skip
