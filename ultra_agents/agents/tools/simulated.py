"""The tools that play: `try_moves`, `try_rule` and `effect`, from stored states, with random numbers of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ultra_agents.agents.tools.arguments import EffectArguments, MovesArguments, RuleArguments, ToolRefused
from ultra_agents.agents.tools.collected import Collected
from ultra_agents.agents.wording import amount
from ultra_agents.config import AgentsConfig
from ultra_agents.contracts import Environment, Policy, Quantity, capabilities
from ultra_agents.effects import AHEAD, Effect, Effects
from ultra_agents.narration import figure
from ultra_agents.narration.rewards import reward_events
from ultra_agents.plugin_calls import asking
from ultra_agents.records import Plan, Suggestion, Trajectory
from ultra_agents.rules import RuleError, parse_rules
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.text import clean
from ultra_agents.verification.trying import Tried, TriedSide
from ultra_agents.verification.validity import refusal

MOST_TOLD = 8
"""Quantities of a result, those that differ most first."""
AFTER = (1, 2, 4, 8)
"""Steps after which effects are told."""
SAME = 1e-9
"""Differences that are rounding."""


def plan_of(environment: Environment, trajectory: Trajectory, asked: MovesArguments, agents: AgentsConfig) -> Plan:
    """The plan that is to be tried; raises `ToolRefused` where it cannot be suggested or played."""
    plan = Plan.of([(move.action, move.hold) for move in asked.moves])
    if len(asked.moves) > agents.max_moves:
        raise ToolRefused(
            "moves refused", f"At most {agents.max_moves} moves can be suggested; these are {len(asked.moves)}."
        )
    if any(move.hold > agents.max_hold for move in asked.moves):
        raise ToolRefused("moves refused", f"A move is held for at most {agents.max_hold} steps.")
    if agents.plan_steps is not None and plan.steps > agents.plan_steps:
        raise ToolRefused(
            "moves refused", f"All moves together take at most {agents.plan_steps} steps; these take {plan.steps}."
        )
    why = refusal(environment, trajectory, Suggestion(trajectory.episode, asked.step, plan), plan.steps)
    if why == "illegal action":
        names = ", ".join(environment.actions.names[:30])
        raise ToolRefused("moves refused", f"{plan}: an action is not legal; legal are: {names}.")
    if why is not None:
        last = len(trajectory) - 1
        raise ToolRefused("moves refused", f"Step {asked.step}: {why}; this episode has the steps 0 to {last}.")
    return plan


def layer_of(collected: Collected, asked: RuleArguments, policy: Policy) -> RulePolicy:
    """The policy with the rules in force over it; raises `ToolRefused`."""
    if collected.rules is None:
        raise ToolRefused("rule refused", "Rules have nothing to speak of in this environment.")
    text = asked.rule.strip()
    if text.startswith("when") or (text.startswith("{") and text[1:].lstrip().startswith("when")):
        text = "rules:\n  - " + text.replace("\n", "\n    ")
    try:
        return RulePolicy(policy, parse_rules(text, collected.rules), collected.environment)
    except RuleError as error:
        raise ToolRefused("rule refused", error) from None


def acts_at(collected: Collected, layer: RulePolicy, asked: RuleArguments) -> np.ndarray:
    """Steps at which the rules would act otherwise than the policy did, within `where`; raises `ToolRefused`."""
    differs = np.concatenate([layer.differs(one.observations, one.actions) for one in collected.trajectories])
    chosen = differs & collected.where(asked.where)
    if not chosen.any():
        within = f" where {asked.where.strip()}" if asked.where.strip() else ""
        raise ToolRefused("rule changes nothing", f"The rule does nothing the policy did not do{within}.")
    return np.asarray(chosen)


def told(
    tried: Tried, begin: str, whose: str, environment: Environment, after: int | None = None, cut: int = 0
) -> str:
    """What came of a try, in words.

    Args:
        tried: Both sides.
        begin: What was done, from where.
        whose: Names the side in the policy's place ("with the moves").
        environment: Names quantities and units.
        after: Steps after which the quantities of both sides are compared; None compares none.
        cut: Steps of a replay, at most.
    """
    gains = tried.gains
    count = len(gains)
    better, worse = int(np.count_nonzero(gains > SAME)), int(np.count_nonzero(gains < -SAME))
    each = ", ".join(amount(float(one), True) for one in gains[:8]) + (", ..." if count > 8 else "")
    lines = [
        f"{begin}, {count} pairs of at most {cut} steps, each beside the policy alone with the same random numbers; "
        "where they are cut the value function stands for the rest.",
        f"Gain {amount(float(gains.mean()), True)} return on average: better in {better} of {count}, worse in "
        f"{worse}, the same in {count - better - worse} ({each}).",
        f"{whose}: {_ending(tried.instead)}.",
        f"the policy alone: {_ending(tried.alone)}.",
    ]
    if after is not None and "quantities" in capabilities(environment):
        lines += _compared(tried, environment, after)
    lines.append(f"It took {tried.env_steps:,} environment steps.")
    return "\n".join(lines)


def _ending(side: TriedSide) -> str:
    """How the replays of one side ended, with counts."""
    count = len(side.rewards)
    sums = [round(float(np.sum(one)), 6) for one in side.rewards]
    common = Counter(sums).most_common()
    if len(common) <= 3:
        earned = "rewards of " + ", ".join(f"{amount(total, True)} in {number} of {count}" for total, number in common)
    else:
        earned = (
            f"rewards of {amount(float(np.mean(sums)), True)} on average ({amount(min(sums), True)} to "
            f"{amount(max(sums), True)})"
        )
    first = [int(np.flatnonzero(events)[0]) + 1 for one in side.rewards if (events := reward_events(one)).any()]
    parts = [earned]
    if first:
        parts.append(f"a reward that stands out first at step {_span(first)} in {len(first)} of {count}")
    lengths = np.array([len(one) for one in side.rewards])
    ended = side.terminated
    if ended.any():
        parts.append(f"terminated in {int(ended.sum())} of {count} (after {_span(lengths[ended].tolist())} steps)")
    truncated = side.truncated & ~ended
    if truncated.any():
        parts.append(f"truncated in {int(truncated.sum())} of {count}")
    if not ended.any() and not truncated.any():
        parts.append("none ended before the cut")
    return "; ".join(parts)


def _span(numbers: Sequence[int]) -> str:
    return f"{min(numbers)}" if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"


def _compared(tried: Tried, environment: Environment, after: int) -> list[str]:
    """Quantities of both sides so many steps after the start, those that differ most first."""
    both = []
    for side in (tried.instead, tried.alone):
        seen = [one[after] for one in side.observations if len(one) > after]
        if len(seen) < len(side.observations):
            return []  # an episode was over by then
        with asking(environment, "quantities"):
            told = environment.quantities(np.stack(seen))
        both.append({name: np.asarray(column, np.float64) for name, column in told.items()})
    legend, rows = environment.legend, []
    for name, mine in both[0].items():
        pair = mine, both[1][name]
        if not all(np.isfinite(one).all() for one in pair):
            continue
        with_it, alone = (float(np.mean(one)) for one in pair)
        if abs(with_it - alone) > SAME:
            usual = max(abs(legend[name].high), abs(legend[name].low), SAME)
            words = f"{name}{_unit(legend, name)} {figure(with_it)} (alone {figure(alone)})"
            rows.append((-abs(with_it - alone) / usual, words))
    if not rows:
        return [f"After {after} steps every quantity is as it is with the policy alone."]
    return [f"After {after} steps: {'; '.join(words for _, words in sorted(rows)[:MOST_TOLD])}."]


def _unit(legend: Mapping[str, Quantity], name: str) -> str:
    one = legend.get(name)
    return "" if one is None or one.unit in ("", "1", "unknown") else f" [{clean(one.unit, 20)}]"


def effect_told(found: Effects, asked: EffectArguments, environment: Environment) -> str:
    """What one action was measured to do, in words."""
    legend = environment.legend
    times = ", ".join(map(str, AFTER))
    head = f"{asked.action} held for {asked.hold} steps, from {found.states} stored states"
    where = f" where {clean(asked.where, 80)}" if asked.where.strip() else ""
    lines = [f"{head}{where}: typical difference after {times} steps, in brackets where 80% of the states are."]
    for against in ("policy", "idle"):
        rows = sorted((one for one in found.effects if one.against == against), key=lambda one: -one.size)
        if against == "idle" and (found.idle is None or found.idle == asked.action):
            continue
        whose = (
            "In place of the policy's action, which then goes on" if against == "policy" else f"Against {found.idle}"
        )
        lines.append(f"{whose}: {'nothing changes.' if not rows else ''}".rstrip())
        lines += [_row(one, legend) for one in rows[:MOST_TOLD]]
    lines.append(f"It took {found.env_steps:,} environment steps.")
    return "\n".join(lines)


def _row(one: Effect, legend: Mapping[str, Quantity]) -> str:
    steps = [after for after in AFTER if after <= AHEAD]
    values = [one.typical[after - 1] for after in steps]
    shown = " ".join("?" if value is None else _signed(value) for value in values)
    return f"{one.quantity}{_unit(legend, one.quantity)} {shown} ({_signed(one.low)} to {_signed(one.high)})"


def _signed(value: float) -> str:
    text = figure(value)
    return text if text.startswith("-") or text == "0" else f"+{text}"
