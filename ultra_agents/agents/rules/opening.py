"""What agents see before they are asked about rules: the brief, the legend, the language, stretches of episodes.

The episode of the state machine is told in detail, the best and the worst of the others more shortly, so that what was
lost stands beside what was won. Numbers of rows are those of the quantities rules can use, beside what the policy did.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ultra_agents.agents.legend import legend_lines
from ultra_agents.agents.prompts import load_prompt
from ultra_agents.agents.rules.state import Form
from ultra_agents.config import NarrationConfig
from ultra_agents.contracts import Environment
from ultra_agents.errors import EnvironmentFault
from ultra_agents.narration import Numbers, choose_segments, figure, narrate
from ultra_agents.narration.rewards import reward_events
from ultra_agents.plugin_calls import asking
from ultra_agents.records import Array, FloatArray, Narration, Segment, Trace, Trajectory
from ultra_agents.rules import Interface
from ultra_agents.rules.functions import BEST_USAGE, FUNCTIONS
from ultra_agents.rules.interface import bounds_of
from ultra_agents.text import valid_text

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Of the collected states: thresholds that atoms may use; the outer two and the middle one are told."""


def values_of(environment: Environment, trajectory: Trajectory) -> Mapping[str, FloatArray]:
    """The quantities of an episode, name -> `(T,)`."""
    with asking(environment, "quantities"):
        return {name: np.asarray(column) for name, column in environment.quantities(trajectory.observations).items()}


def thresholds_of(values: Sequence[Mapping[str, FloatArray]]) -> dict[str, list[float]]:
    """By quantity its distinct quantiles over several episodes, about three figures each; none without any value."""
    found: dict[str, list[float]] = {}
    for name in values[0]:
        column = np.concatenate([one[name] for one in values])
        column = column[np.isfinite(column)]
        if len(column):
            quantiles = [float(figure(float(value))) for value in np.quantile(column, QUANTILES)]
            found[name] = list(dict.fromkeys(quantiles))
    return found


def opening(
    environment: Environment,
    interface: Interface,
    form: Form,
    values: Sequence[Mapping[str, FloatArray]],
    effects: str,
    stretches: Sequence[str],
    stochastic: bool = False,
) -> str:
    """The message with which every conversation about rules begins.

    Args:
        environment: Brief and legend.
        interface: What rules may speak of and decide.
        form: How rules are written.
        values: The quantities of the collected episodes.
        effects: What actions do, in words; may be empty.
        stretches: Stretches of episodes, told.
        stochastic: The policy draws its actions.
    """
    brief = asdict(environment.brief)
    ((_, text),) = load_prompt("rules_opening").fill(
        **brief,
        quantities=legend_lines(environment, interface.quantities, values),
        decides=_decides(interface, form, stochastic, environment.brief.actions),
        effects=effects,
        language=_language(interface, values) if form == "text" else "",
        narration="\n\n".join(stretches),
    )
    return valid_text(re.sub(r"\n{3,}", "\n\n", text))


def stretches_of(
    trajectory: Trajectory,
    trajectories: Sequence[Trajectory],
    narrations: Sequence[Narration],
    environment: Environment,
    interface: Interface,
    config: NarrationConfig,
    form: Form,
) -> tuple[list[str], tuple[int, ...]]:
    """Stretches of this episode, of the worst and of the best other one, told; and the numbers of these episodes.

    Each stretch of the episode may take `narration.token_budget`, one of the others half of it; with atoms, for small
    models, all of them together take no more than that.
    """
    returns = [one.episode_return for one in trajectories]
    segments = {
        one.episode: [n.segment for n in narrations if n.segment.episode == one.episode] for one in trajectories
    }
    others = [one for one in trajectories if one is not trajectory and segments[one.episode]]
    others.sort(key=lambda one: (one.episode_return, one.episode))
    beside = dict.fromkeys([others[0].episode, others[-1].episode] if others else [])
    whole = config.token_budget
    mine = sorted(segments[trajectory.episode], key=lambda segment: _earned(trajectory, segment))
    if form == "atoms":
        mine = mine[:1]
        budgets = (whole if not beside else whole // 2), whole // 4
    else:
        mine.sort(key=lambda segment: segment.start)
        budgets = whole, whole // 2
    told = [(trajectory, segment, budgets[0]) for segment in mine]
    for place, episode in enumerate(beside):
        one = next(other for other in others if other.episode == episode)
        pick = min if place == 0 else max
        told.append((one, pick(segments[episode], key=lambda segment: _earned(one, segment)), budgets[1]))
    texts = [
        stretch(one, segment, environment, interface, config, budget, () if place else returns)
        for place, (one, segment, budget) in enumerate(told)
    ]
    return texts, tuple(dict.fromkeys(one.episode for one, _, _ in told))


def stretch(
    trajectory: Trajectory,
    segment: Segment,
    environment: Environment,
    interface: Interface,
    config: NarrationConfig,
    budget: int,
    returns: Sequence[float] = (),
    trace: Trace | None = None,
) -> str:
    """One stretch as a table of quantities and of what was done; of a trace, with who chose it.

    Every step is a row where the budget has room for that; else steps far from what decides are told by what was done
    alone. Where it has no room for two rows, because there are very
    many quantities, the whole of `narration.token_budget` is taken.
    """
    words = _Words(environment, interface)

    def done(step: int) -> str:
        action = words.of(trajectory.actions[step])
        if trace is None:
            return action
        rule = int(trace.rule[step])
        return f"{action} by {'the policy' if rule < 0 else f'rule {rule + 1}'}"

    parts = f": {' '.join(interface.components)}" if interface.continuous else ""
    averaged = (lambda first, stop: words.of(np.mean(trajectory.actions[first:stop], axis=0))) if parts else None
    beside, whose = None, ""
    if trace is not None:
        own = trace.own
        beside = f"the policy's own{parts}", lambda step: words.of(own[step])
        whose = f"Test episode {trace.pair + 1} with your rules in force"
    columns = values_of(environment, trajectory)
    head = f"done{parts}"
    scales = {name: max(abs(environment.legend[name].low), abs(environment.legend[name].high)) for name in columns}

    def within(tokens: int) -> str:
        terms = config.model_copy(update={"token_budget": tokens, "stride": 1})
        lines = Numbers(trajectory, environment, terms, columns, scales, (head, done), averaged, beside, whose)
        return narrate(trajectory, segment, environment, terms, returns, lines).text

    try:
        return within(budget)
    except EnvironmentFault:
        return within(config.token_budget)


def trace_segment(trace: Trace, environment: Environment, config: NarrationConfig, worst: bool) -> Segment:
    """The stretch of a trace worth telling: before something was lost, or won; where nothing stands out, the end."""
    one = trace.trajectory
    if not reward_events(one.rewards).any():
        return Segment(one.episode, max(len(one) - config.segment_steps, 0), len(one), "end")
    config = config.model_copy(update={"segments_per_episode": 2})
    found = choose_segments(one, environment, config, np.random.default_rng(trace.pair))
    sign = 1 if worst else -1
    return min(found, key=lambda segment: (sign * _earned(one, segment), -segment.start))


def _earned(trajectory: Trajectory, segment: Segment) -> float:
    return float(np.sum(trajectory.rewards[segment.start : segment.stop]))


@dataclass(frozen=True)
class _Words:
    """Actions as rules write them; of continuous ones the numbers."""

    environment: Environment
    interface: Interface

    def of(self, action: Array) -> str:
        if self.interface.continuous:
            return " ".join(figure(float(value), 2) for value in np.asarray(action).ravel())
        with asking(self.environment, "actions.decode"):
            name = str(self.environment.actions.decode(np.asarray(action)))
        return self.interface.words[self.interface.actions.index(name)]


def _decides(interface: Interface, form: Form, stochastic: bool, about: str) -> str:
    """What a rule does, and how the policy chooses; `about` is what the brief says of actions."""
    chance = " The policy draws its actions by chance, so that single ones of them may be accidents."
    return _choices(interface, form, about) + (chance if stochastic else "")


def _choices(interface: Interface, form: Form, about: str) -> str:
    if not interface.continuous:
        first, second = (*interface.words, interface.words[0])[:2]
        named = all(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", about) for word in interface.words)
        # The brief names them already: once is enough.
        told = (
            "A rule takes one of the actions above."
            if named
            else f"A rule takes an action: {', '.join(interface.words)}."
        )
        if form == "text":
            told += (
                f" It may choose: {first} if CONDITION else {second}. `own` is the action that the policy is about "
                f"to take: `own == {first}` can be asked, and `do: own` leaves it."
            )
        return told
    bounds = [bounds_of(interface, index) for index in range(len(interface.components))]
    listed = ", ".join(
        f"{name} ({figure(low)} to {figure(high)})"
        for name, (low, high) in zip(interface.components, bounds, strict=True)
    )
    told = (
        f"A rule gives numbers to parts of the action: {listed}. A part that it does not name stays the policy's, "
        "whatever is said of named actions above."
    )
    if form == "text":
        part = interface.components[0]
        told += (
            f" `own.{part}` is what the policy is about to give, so that `own.{part} + ...` corrects it; results are "
            "brought within the bounds."
        )
        if part in interface.quantities:
            told += f" `{part}` alone is the quantity."
    return told


def _language(interface: Interface, values: Sequence[Mapping[str, FloatArray]]) -> str:
    """How rules are written, with an example that could be used here."""
    known = thresholds_of(values)
    quantity = max(known, key=lambda name: min(len(known[name]), 3), default=interface.quantities[0])
    seen = known.get(quantity, [0.0])
    low, middle, high = seen[0], seen[len(seen) // 2], seen[-1]
    part = interface.components[0] if interface.continuous else ""
    ((_, text),) = load_prompt("rules_language").fill(
        quantity=quantity,
        level=f"[{middle:g}, {low:g}, {high:g}]",
        choice=f"{{{part}: own.{part} + 0.5 * above}}" if part else interface.words[-1],
        functions=", ".join([*(one.usage for one in FUNCTIONS.values()), BEST_USAGE.partition(":")[0]]),
    )
    return text
