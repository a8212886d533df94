"""The work of each stage of one run, in the order `pipeline.py` calls it.

Each is short because the work itself lives in the package the stage is named after.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ultra_agents.records import Explanation, MethodResult, Trajectory
from ultra_agents.stages.context import RunContext, open_context
from ultra_agents.stages.evaluate import evaluate_methods
from ultra_agents.stages.explain import explain_episodes, tabulate
from ultra_agents.stages.imitate import Imitation, imitate_advice
from ultra_agents.stages.joint import joint_of, joint_steps
from ultra_agents.stages.measure import measure
from ultra_agents.stages.prepare import collect_episodes, starting_policy
from ultra_agents.stages.refine import refine_method
from ultra_agents.stages.report import report

__all__ = [
    "Imitation",
    "RunContext",
    "collect_episodes",
    "evaluate_methods",
    "explain_episodes",
    "imitate_advice",
    "joint_of",
    "joint_steps",
    "measure",
    "open_context",
    "refine_method",
    "report",
    "starting_policy",
    "summary",
    "tabulate",
]


def summary(stage: str, made: Any) -> str:
    """One line about what a stage made, for a person."""
    if isinstance(made, str):
        return made
    if isinstance(made, dict):
        return str(made.get("headline", ""))
    if isinstance(made, Imitation):
        return made.headline
    if isinstance(made, MethodResult):
        last = made.curve[-1].value if made.curve else float("nan")
        return f"{made.env_steps['refine']:,} steps, return {last:.2f} on the selection seeds"
    if isinstance(made, list) and made and isinstance(made[0], Explanation):
        kept, proposed = sum(len(e.advice) for e in made), sum(e.proposed for e in made)
        return f"{len(made)} segments, {proposed} suggestions, {kept} kept"
    if isinstance(made, list) and made and isinstance(made[0], Trajectory):
        return f"mean return {np.mean([t.episode_return for t in made]):.2f}, {sum(map(len, made)):,} steps"
    if isinstance(made, list):
        return f"{len(made)} entries"
    return ""
