"""The work of each stage of one run, in the order `pipeline.py` calls it.

Each is short because the work itself lives in the package the stage is named after.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ultra_agents.records import MethodResult, Narration, Trajectory
from ultra_agents.stages.approve import approve_advice, approve_rules, without_refused
from ultra_agents.stages.check import check_run
from ultra_agents.stages.context import RunContext, run_context
from ultra_agents.stages.effects import find_effects, tells_effects
from ultra_agents.stages.evaluate import evaluate_methods
from ultra_agents.stages.explain import explain_episodes, tabulate
from ultra_agents.stages.findings import (
    Explained,
    Findings,
    Imitation,
    MeasuredEffects,
    Restoring,
    RulesFound,
    Start,
    TableTest,
)
from ultra_agents.stages.imitate import imitate_advice
from ultra_agents.stages.in_force import try_table
from ultra_agents.stages.iterate import iterate_advice
from ultra_agents.stages.keeping import AsJSON, Episodes, Keeping, WithCopy
from ultra_agents.stages.measure import measure
from ultra_agents.stages.narrate import narrate_episodes, probe_restoring
from ultra_agents.stages.prepare import collect_episodes, starting_policy
from ultra_agents.stages.refine import refine_method
from ultra_agents.stages.report import report
from ultra_agents.stages.rounds import Round
from ultra_agents.stages.rules import find_rules
from ultra_agents.stages.start import choose_start
from ultra_agents.text import counted

__all__ = [
    "AsJSON", "Episodes", "Explained", "Findings", "Imitation", "Keeping", "MeasuredEffects", "Restoring", "Round",
    "RulesFound", "RunContext", "Start", "TableTest", "WithCopy", "approve_advice", "approve_rules", "check_run",
    "choose_start", "collect_episodes", "evaluate_methods", "explain_episodes", "find_effects", "find_rules",
    "imitate_advice", "iterate_advice", "measure", "narrate_episodes", "probe_restoring", "refine_method", "report",
    "run_context", "starting_policy", "summary", "tabulate", "tells_effects", "try_table", "without_refused",
]  # fmt: skip


def summary(made: Any) -> str:
    """One line about what a stage made, for a person."""
    if isinstance(made, str):
        return made
    if isinstance(made, dict):
        return str(made.get("headline", ""))
    if isinstance(made, Imitation | Round | RulesFound | Start | TableTest):
        return made.headline
    if isinstance(made, Restoring):
        return "yes" if made.exact else made.why
    if isinstance(made, MeasuredEffects):
        return (
            f"{counted(made.env_steps, 'step')}, {counted(len(made.text.splitlines()), 'line')}"
            if made.text
            else "nothing to tell"
        )
    if isinstance(made, MethodResult):
        last = made.curve[-1].value if made.curve else float("nan")
        return f"{made.env_steps['refine']:,} steps, return {last:.2f} on the selection seeds"
    if isinstance(made, Explained):
        kept = sum(len(one.advice) for one in made.explanations)
        proposed = sum(len(one.attempts) for one in made.explanations)
        return f"{counted(len(made.explanations), 'segment')}, {counted(proposed, 'suggestion')}, {kept} kept"
    if isinstance(made, list) and made and isinstance(made[0], Trajectory):
        return f"mean return {np.mean([t.episode_return for t in made]):.2f}, {sum(map(len, made)):,} steps"
    if isinstance(made, list) and made and isinstance(made[0], Narration):
        return f"{counted(len(made), 'segment')}, {sum(one.tokens for one in made):,} tokens"
    if isinstance(made, list) and made and isinstance(made[0], MethodResult):
        return ", ".join(f"{one.method} {one.acting.mean:.4g}" for one in made)
    if isinstance(made, list):
        return counted(len(made), "row")
    return ""
