"""Short tests as models and people read them: units, counts, who acted, and two episodes in full."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ultra_agents.agents.rules.opening import stretch, trace_segment
from ultra_agents.agents.wording import amount
from ultra_agents.config import NarrationConfig
from ultra_agents.contracts import Environment
from ultra_agents.records import Endings, RuleAttempt, RuleTrial
from ultra_agents.rules import Interface
from ultra_agents.text import counted


def measured(trial: RuleTrial) -> str:
    """The measurement alone, in units of the environment's return."""
    episodes = counted(trial.pairs, "episode")
    text = (
        f"Measured in {episodes} from the same starts with the same random numbers, each at most {trial.horizon:,} "
        f"steps: mean return {amount(float(np.mean(trial.ruled.returns)), True)} with the rules in force, "
        f"{amount(float(np.mean(trial.alone.returns)), True)} of the policy alone; gain "
        f"{amount(trial.gain, True)} an episode"
    )
    if trial.low is not None and trial.high is not None:
        text += f" (interval {amount(trial.low, True)} to {amount(trial.high, True)})"
    differences = np.subtract(trial.ruled.returns, trial.alone.returns)
    ways = {"better": int(np.sum(differences > 0)), "worse": int(np.sum(differences < 0))}
    same = trial.pairs - sum(ways.values())
    told = [f"{way} in {count}" for way, count in ways.items() if count] + ([f"the same in {same}"] if same else [])
    return f"{text}; {', '.join(told)} of {trial.pairs}."


def feedback_on(
    trial: RuleTrial, environment: Environment, interface: Interface, config: NarrationConfig, budget: int
) -> str:
    """All that is told of a short test: the gain, how episodes ended, who acted, a bad episode and a good one.

    Each of the two episodes may take `budget` tokens.
    """
    parts = [
        measured(trial),
        f"How they ended: with the rules {_ended(trial.ruled)}; the policy alone {_ended(trial.alone)}.",
        acting(trial.coverage, "of the steps played so"),
    ]
    whole = [
        (trial.worst, True, "The one in which they gained least" if trial.best else "One of them"),
        (trial.best, False, "The one in which they gained most"),
    ]
    for trace, worst, title in whole:
        if trace is None:
            continue
        segment = trace_segment(trace, environment, config, worst)
        own = f"{title} (the policy alone: {amount(trial.alone.returns[trace.pair], True)} from the same start):"
        table = stretch(trace.trajectory, segment, environment, interface, config, budget, trace=trace)
        parts.append(f"{own}\n{table}")
    return "\n".join(parts)


def acting(shares: Sequence[float], of: str, changed: float | None = None) -> str:
    """Which rule acts how often: `Rule 1 acts in 12 %, rule 2 in 0 %, the policy in 88 % of ...`."""
    told = [
        f"rule {number} {'acts ' if number == 1 else ''}in {_percent(share)}" for number, share in enumerate(shares, 1)
    ]
    text = f"{', '.join(told)}, the policy in {_percent(1 - sum(shares))} {of}."
    if changed is not None:
        text += f" Another action than the policy's comes of it in {_percent(changed)}."
    return text[0].upper() + text[1:]


def standing(attempts: Sequence[RuleAttempt]) -> tuple[str, str]:
    """What the advisor is told of its sets so far: the best one, where that is not the last; and the last one."""
    if not attempts:
        return "", ""
    last = attempts[-1]
    known = [one for one in attempts if one.gain is not None]
    best = max(known, key=lambda one: one.gain or 0.0, default=last)
    text = ""
    if best is not last:
        text = f"The best set so far, which you wrote before:\n{best.text.strip()}\n{best.feedback.splitlines()[0]}"
    said = [f"Your last set:\n{last.text.strip()}", last.feedback]
    if last.judgement:
        said.append(f"The critic: {last.judgement}")
    said.append("Find out from this what went wrong, and write a better set.")
    return text, "\n".join(part for part in said if part)


def _ended(side: Endings) -> str:
    """`3 terminated, 1 at the time limit, after 88 to 200 steps (returns -88, -91, -90, -200)`."""
    ways = [(side.terminated, "terminated"), (side.truncated, "at the time limit"), (side.cut, "cut by this test")]
    told = ", ".join(f"{count} {way}" for count, way in ways if count)
    low, high = min(side.lengths), max(side.lengths)
    steps = f"{low:,} steps" if low == high else f"{low:,} to {high:,} steps"
    return f"{told}, after {steps} (returns {', '.join(amount(value, True) for value in side.returns)})"


def _percent(share: float) -> str:
    percent = 100 * max(share, 0.0)
    return f"{percent:.0f} %" if percent >= 1 or percent < 0.05 else f"{percent:.1f} %"
