"""What advice is worth: numbers to weigh against a proposer's tokens and environment steps.

All come from the tested attempts in the explanations, so they can be had without training anything. Advice precision,
its gain and its price are not in the ULTRA paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np

from ultra_agents.evaluation.statistics import Interval, mean_interval, proportion_interval
from ultra_agents.records import (
    Advice,
    Attempt,
    CriticalState,
    Explanation,
    Segment,
    TestResult,
    Trajectory,
    Usage,
    set_verdict,
)
from ultra_agents.records.cases import NOT_RECORDED
from ultra_agents.records.plans import ALONE, CANNOT, NO_NEARER, NOTHING, OF_NO_USE
from ultra_agents.text import counted

FEWEST_RANKS = 5
"""Tested attempts below which a rank correlation says nothing."""
INVALID = "invalid: "
WITHOUT_CRITIC = ("random", "value", "search", "oracle")
"""Sources of suggestions that no critic reads."""


class TestedAttempt(NamedTuple):
    """An attempt that was tested; `revision` is its index among the attempts of its state."""

    segment: Segment
    state: CriticalState
    revision: int
    attempt: Attempt
    test: TestResult
    source: str = ""

    @property
    def reward(self) -> float | None:
        """The critic's implicit reward before the test; None where it was not asked then."""
        return None if self.attempt.critique is None else self.attempt.critique.reward


def advice_measures(
    explanations: Sequence[Explanation],
    trajectories: Sequence[Trajectory],
    usage: Mapping[str, Usage],
    *,
    proposer: str,
    seconds: float,
    advice: Sequence[Advice] | None = None,
    fidelity: Mapping[str, Any] | None = None,
    joint: Mapping[str, Any] | None = None,
    effects: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Every measure of one proposer on one set of episodes, as JSON types; what is not known is None.

    Intervals treat suggestions as independent; those of one segment are not quite, so read them as a little narrow.

    Args:
        explanations: One per segment.
        trajectories: The collected episodes, with segments or without.
        usage: What model calls cost, by agent.
        proposer: Who proposed: a name for people.
        seconds: Wall seconds of explaining, testing included.
        advice: What went into the table in the end; by default all accepted suggestions.
        fidelity: `ultra_agents.verification.fidelity.Fidelity` in JSON types, where measured.
        joint: `ultra_agents.verification.JointResult` in JSON types with `rows`, the size of the set, where one ran;
            `verdict` is added to it: an undecided set may be in use too.
        effects: Environment steps of measuring what actions do, which is part of the price.
        confidence: Of all intervals, two-sided.
        seed: Of the bootstrap.
    """
    trials = tested_attempts(explanations)
    used = list(advice) if advice is not None else [row for one in explanations for row in one.advice]
    held = [trial for trial in trials if trial.test.passed]
    drops = [drop for explanation in explanations for drop in explanation.drops]
    total = sum(usage.values(), Usage())
    env_steps = effects + sum(explanation.env_steps for explanation in explanations)
    cost = {
        "tokens": total.prompt_tokens + total.completion_tokens,
        "calls": total.calls,
        "cached": total.cached,
        "money": total.cost,
        "env_steps": env_steps,
        "seconds": seconds,
    }
    precision = proportion_interval(len(held), len(trials), confidence)
    rewarded = [trial for trial in trials if trial.reward is not None]
    steps = [trial.test.env_steps for trial in trials]
    measures: dict[str, Any] = {
        "schema": 1,
        "proposer": proposer,
        "confidence": confidence,
        "segments": len(explanations),
        "critical": sum(len(explanation.states) for explanation in explanations),
        "left": sum(state.fate == "left" for one in explanations for state in one.states),
        "proposed": sum(len(explanation.attempts) for explanation in explanations),
        "invalid": sum(drop.reason.startswith(INVALID) for drop in drops),
        "not_recorded": sum(drop.reason.endswith(NOT_RECORDED) for drop in drops),
        "unusable": sum(
            drop.stage in ("identify", "advise", "criticise") for drop in drops if drop.reason not in OF_NO_USE
        ),
        "tested": len(trials),
        "held": len(held),
        "undecided": sum(trial.test.verdict == "undecided" for trial in trials),
        "accepted": len(used),
        "precision": None if precision is None else _interval(precision),
        "gain": _mean(trials, confidence, seed),
        "gain_held": _mean(held, confidence, seed),
        "touched": touched(used, trajectories),
        "rank": {
            "importance": rank_correlation([trial.state.importance for trial in trials], _gains(trials)),
            "reward": rank_correlation([trial.reward or 0.0 for trial in rewarded], _gains(rewarded)),
        },
        "search": searched(explanations),
        "critic": critic_score([one for one in trials if one.source not in WITHOUT_CRITIC], confidence),
        "steps_per_test": float(np.median(steps)) if steps else None,
        "cost": cost,
        "per_accepted": {key: value / len(used) for key, value in cost.items() if key != "cached"} if used else None,
        "fidelity": None if fidelity is None else dict(fidelity),
        "joint": None
        if joint is None
        else {
            **joint,
            "verdict": set_verdict(joint["pairs"], joint["passed"], joint["high"], joint.get("stopped", "")),
        },
        "trials": [trial_row(trial) for trial in trials],
    }
    return {"headline": headline(measures), **measures}


def tested_attempts(explanations: Sequence[Explanation]) -> list[TestedAttempt]:
    """Every tested attempt, state by state."""
    return [
        TestedAttempt(explanation.segment, state, revision, attempt, attempt.test, explanation.source)
        for explanation in explanations
        for state in explanation.states
        for revision, attempt in enumerate(state.attempts)
        if attempt.test is not None
    ]


def searched(explanations: Sequence[Explanation]) -> dict[str, Any] | None:
    """What searches in the simulator made of suggestions; None where nothing was searched.

    Returns:
        `suggestions` that came from a search or went through one, of these `changed` (another plan than was written),
        plans `tried` for them and `env_steps` taken; how many other searches found `nothing`, and how many could not
        play at all (`fallback`), the suggestion staying as written where there was one. Where goals were set, `goals`:
        how many were searched for (`set`), of these `reached`, only come `nearer` to (or bettered, where there is no
        target), reached by the policy `alone`, and those to which the search came `no_nearer`.
    """
    every = [attempt.search for one in explanations for attempt in one.attempts if attempt.search is not None]
    found = [one for one in every if one.reason not in OF_NO_USE]
    attempted = [one.reason for one in every if one.reason in OF_NO_USE]
    # A control keeps no attempt where its search led nowhere; a model's is in the case that it closes.
    closed = [state for one in explanations for state in one.states if not any(a.search for a in state.attempts)]
    nowhere = [*attempted, *(state.reason for state in closed if state.reason in OF_NO_USE)]
    drops = [drop.reason for one in explanations for drop in one.drops if drop.reason in (NOTHING, *CANNOT)]
    if not found and not drops and not nowhere:
        return None
    toward = [one.toward for one in found if one.toward is not None]
    reached = sum(one.reached for one in toward)
    goals = {
        "set": len(toward) + len(nowhere), "reached": reached, "nearer": len(toward) - reached,
        "alone": nowhere.count(ALONE), "no_nearer": nowhere.count(NO_NEARER),
    }  # fmt: skip
    return {
        **({"goals": goals} if goals["set"] else {}),
        "suggestions": len(found),
        "changed": sum(one.changed for one in found),
        "tried": sum(one.tried for one in found),
        "env_steps": sum(one.env_steps for one in found),
        "nothing": sum(reason == NOTHING for reason in drops) + len(nowhere),
        "fallback": sum(one.reason in CANNOT for one in found) + sum(reason in CANNOT for reason in drops),
    }


def headline(measures: Mapping[str, Any]) -> str:
    """The outcome in one sentence."""
    return _suggested(measures) + unrecorded(measures.get("not_recorded", 0))


def unrecorded(questions: int) -> str:
    """A sentence, after a blank, on questions that a recording lacks; empty where there were none."""
    return f" {counted(questions, 'question')} had no recorded answer." if questions else ""


def _suggested(measures: Mapping[str, Any]) -> str:
    if not measures["proposed"]:
        left = measures.get("left", 0)
        many = "1 critical state was left as it is" if left == 1 else f"{left} critical states were left as they are"
        return f"Nothing was suggested; {many}." if left else "Nothing was suggested."
    if not measures["tested"]:
        suggested = counted(measures["proposed"], "suggestion")
        return f"{suggested}, {measures['accepted']} accepted, none tested in the simulator."
    row, gain = measures["precision"], measures["gain"]
    text = (
        f"{measures['held']} of {counted(measures['tested'], 'tested suggestion')} "
        f"{'holds' if measures['held'] == 1 else 'hold'}: {100 * row['value']:.0f} % "
        f"({100 * row['low']:.0f} to {100 * row['high']:.0f} %)"
    )
    return f"{text}; a suggestion gains {gain['value']:+.3g} on average."


def touched(advice: Sequence[Advice], trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Share of the episodes with any advice, and of their steps that a plan covers."""
    lengths = {trajectory.episode: len(trajectory) for trajectory in trajectories}
    covered = {
        (row.episode, step)
        for row in advice
        for step in range(row.step, min(row.step + row.plan.steps, lengths[row.episode]))
    }
    episodes = {row.episode for row in advice}
    return {
        "episodes": len(episodes) / len(lengths) if lengths else 0.0,
        "steps": len(covered) / max(sum(lengths.values()), 1),
    }


def critic_score(trials: Sequence[TestedAttempt], confidence: float = 0.95) -> dict[str, Any] | None:
    """The critic's first verdicts, given before the test, against what was measured then.

    Returns:
        `precision`: of the suggestions it accepted the share that held; `recall`: of those that held the share it had
        accepted, both as intervals, None where there is nothing to count; `accepted`, `held` and `both`: how many of
        the `judged`; `undecided`: those that nobody could decide, which count in none of these. None where it judged
        nothing.
    """
    asked = [one for one in trials if one.attempt.critique is not None]
    judged = [one for one in asked if one.test.verdict != "undecided"]
    if not asked:
        return None
    accepted = [one for one in judged if one.attempt.critique and one.attempt.critique.verdict == "accept"]
    held = [one for one in judged if one.test.passed]
    both = sum(one.test.passed for one in accepted)
    shares = {"precision": len(accepted), "recall": len(held)}
    found = {name: proportion_interval(both, of, confidence) for name, of in shares.items()}
    return {
        **{name: None if row is None else _interval(row) for name, row in found.items()},
        "judged": len(judged),
        "accepted": len(accepted),
        "held": len(held),
        "both": both,
        "undecided": len(asked) - len(judged),
    }


def rank_correlation(claims: Sequence[float], gains: Sequence[float]) -> dict[str, float] | None:
    """Spearman's correlation of what was claimed with what was measured.

    Returns:
        `rho`, its two-sided `p` and the number `n` of tested attempts; None for fewer than `FEWEST_RANKS`, or where
        one of the two is always the same (a control, a critic that gives everybody the same reward).
    """
    if len(claims) < FEWEST_RANKS or np.ptp(claims) == 0 or np.ptp(gains) == 0:
        return None
    from scipy.stats import spearmanr

    found: Any = spearmanr(claims, gains)
    rho, p = float(found.statistic), float(found.pvalue)
    return {"rho": rho, "p": p, "n": len(claims)} if math.isfinite(rho) else None


def _gains(trials: Sequence[TestedAttempt]) -> list[float]:
    return [trial.test.gain for trial in trials]


def _mean(trials: Sequence[TestedAttempt], confidence: float, seed: int) -> dict[str, Any] | None:
    return _interval(mean_interval(_gains(trials), confidence, seed)) if trials else None


def _interval(found: Interval) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high}


def trial_row(trial: TestedAttempt) -> dict[str, Any]:
    """A tested attempt in JSON types."""
    plan, result = trial.attempt.plan, asdict(replace(trial.test, replays=None))
    del result["replays"]
    ends = {key: result[key] if math.isfinite(result[key]) else None for key in ("low", "high")}
    return {
        "segment": trial.segment.name,
        "episode": trial.segment.episode,
        "step": trial.state.step,
        "plan": str(plan),
        "moves": [list(move) for move in plan.moves],
        "revision": trial.revision,
        "written": str(trial.attempt.written),
        **({"goal": str(goal)} if (goal := trial.attempt.goal) is not None else {}),
        "importance": trial.state.importance,
        "reward": trial.reward,
        **result,
        **ends,
    }
