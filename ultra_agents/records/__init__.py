"""What flows between the stages: episodes in (`episodes`), cases out (`cases`), and what came of a run (`results`)."""

from ultra_agents.records.cases import (
    Advice,
    CriticalState,
    Critique,
    Drop,
    Explanation,
    Move,
    Suggestion,
    TestResult,
    Trial,
    Variant,
    Verdict,
    as_moves,
    moves_in_words,
)
from ultra_agents.records.episodes import Array, FloatArray, Narration, Scalar, Segment, Trajectory
from ultra_agents.records.results import CurvePoint, MethodResult, Returns, Usage

__all__ = [
    "Advice", "Array", "CriticalState", "Critique", "CurvePoint", "Drop", "Explanation", "FloatArray", "MethodResult",
    "Move", "Narration", "Returns", "Scalar", "Segment", "Suggestion", "TestResult", "Trajectory", "Trial", "Usage",
    "Variant", "Verdict", "as_moves", "moves_in_words",
]  # fmt: skip
