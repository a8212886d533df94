"""A run's rules for people and for `report.json`: the sets, what became of each rule, where and how they act.

How often a rule acts is counted over the collected episodes, which the policy alone played, and the map of what is
decided is computed, not played: both are free of environment steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from ultra_agents.contracts import Environment
from ultra_agents.plugin_calls import asking
from ultra_agents.records import Array, Trajectory
from ultra_agents.records.cases import NOT_RECORDED
from ultra_agents.rules import RuleError, interface_of, parse_rules
from ultra_agents.rules.layer import BoundRules
from ultra_agents.runs import RunFolder
from ultra_agents.stages.decision_map import central, decision_map
from ultra_agents.stages.findings import RulesFound, Start
from ultra_agents.stages.keeping import AsJSON
from ultra_agents.text import valid_text

Row = dict[str, Any]


def read_rules(folder: RunFolder) -> RulesFound | None:
    """What the run found of rules; None where it has no such stage, or not yet.

    Raises:
        RunError: What it kept cannot be read.
    """
    done = folder.stage_done("rules")
    if done is None:
        return None
    with folder.reading("rules"):
        found: RulesFound = AsJSON[RulesFound](RulesFound).read(done["value"])
        try:
            for text in (found.rules, *(one.text for one in found.proposals)):
                if text:
                    parse_rules(text)
        except RuleError as error:
            raise ValueError(error.problem) from error
        word = folder.stage_done("approve rules")
    return found if word is None or word["value"] else found.refuse()


def read_start(folder: RunFolder) -> Start | None:
    """Which start was chosen, without the copy; None where the run has not come so far.

    Raises:
        RunError: What it kept cannot be read.
    """
    done = folder.stage_done("start")
    if done is None:
        return None
    with folder.reading("start"):
        found: Start = AsJSON[Start](Start).read({**done["value"], "copy": None})
        return found


def verdict_of(found: RulesFound) -> str:
    """`accepted`, `rejected`, `undecided`, `untested`, `reward only`, or `none`."""
    if found.test is not None:
        return found.test.verdict
    return "untested" if found.untested else "reward only" if found.rules else "none"


def rule_rows(found: RulesFound) -> list[Row]:
    """One row for each rule of the set that was chosen, as it was written, and what became of it.

    `number` counts from 1 as written; `place` is its position in the set as it acts, None where it was dropped;
    `weight` is what leaving it out cost per episode, None where that was not measured.
    """
    if found.chosen is None or not (text := found.proposals[found.chosen].text):
        return []
    weights, dropped = ((), ()) if found.test is None else (found.test.weights, found.test.dropped)
    rows, place = list[Row](), 0
    for index, rule in enumerate(parse_rules(text).document.rules):
        gone = index in dropped
        rows.append(
            {
                "number": index + 1,
                "when": rule.when,
                "do": rule.do if isinstance(rule.do, str) else ", ".join(f"{k}: {v}" for k, v in rule.do.items()),
                "why": rule.why,
                "weight": weights[index] if index < len(weights) else None,
                "dropped": gone,
                "place": None if gone else place,
            }
        )
        place += not gone
    return rows


def constant_rows(found: RulesFound) -> list[Row]:
    """One row for each declared constant: as written, as it is now, its bounds."""
    if found.chosen is None or not (text := found.proposals[found.chosen].text):
        return []
    now = parse_rules(found.rules).constants if found.rules else {}
    return [
        {"name": name, "written": at, "now": now[name][0] if name in now else at, "low": low, "high": high}
        for name, (at, low, high) in parse_rules(text).constants.items()
    ]


def overview(found: RulesFound) -> Row:
    """Everything that needs no environment, in JSON types: the key `rules` of `report.json`."""
    document = parse_rules(found.rules).document if found.rules else None
    return {
        "headline": found.headline,
        "verdict": verdict_of(found),
        "held": found.held,
        "untested": found.untested,
        "text": found.rules,
        "let": {} if document is None else dict(document.let),
        "potential": None if document is None else document.potential,
        "reward": None if document is None else document.reward,
        "reward_rank": found.reward_rank if found.reward is None else found.reward.rank,
        "reward_test": _reward(found),
        "rewards": found.rewards and bool(document and (document.potential or document.reward)),
        "env_steps": found.env_steps,
        "test": None if found.test is None else asdict(found.test),
        "set": rule_rows(found),
        "constants": constant_rows(found),
        "proposals": [asdict(one) for one in found.proposals],
        "chosen": found.chosen,
    }


def _reward(found: RulesFound) -> Row | None:
    """What was found of the implicit reward, in JSON types: `RewardTest` with `acts`, `reason` and `words`."""
    test = found.reward
    if test is None:
        return None
    return {**asdict(test), "acts": test.acts, "reason": test.reason, "words": test.words}


def rules_worth(found: RulesFound, seconds: float) -> Row:
    """What the rules of a run are worth and what they cost, in JSON types: the key `rules` of `measures.json`."""
    test = found.test
    return {
        "headline": found.headline,
        "verdict": verdict_of(found),
        "held": found.held,
        "text": found.rules,
        "sets": len(found.proposals),
        "not_recorded": sum(note.reason.endswith(NOT_RECORDED) for one in found.proposals for note in one.notes),
        "unusable": sum(not one.text for one in found.proposals),
        "rules": len(parse_rules(found.rules).document.rules) if found.rules else 0,
        "gain": None if test is None else test.gain,
        "low": None if test is None else test.low,
        "high": None if test is None else test.high,
        "pairs": 0 if test is None else test.pairs,
        "coverage": None if test is None else test.coverage,
        "reward": "" if found.reward is None else found.reward.words,
        "rewards": found.reward is not None and found.rewards,
        "env_steps": found.env_steps,
        "seconds": seconds,
    }


def rules_report(found: RulesFound, trajectories: Sequence[Trajectory], bound: BoundRules | None) -> Row:
    """The overview with where the rules act.

    Args:
        found: What came of rules.
        trajectories: The collected episodes.
        bound: The set that is left; None where no rule is left.

    Returns:
        As `overview`. Each row of `set` has `coverage` and `differs`, the shares of the collected steps at which the
        rule would act and at which it would act otherwise than the policy did, and `example`, one such step; `map`
        is what is decided over two quantities (`decision_map`), None where there is nothing to draw.
    """
    made = overview(found)
    steps = [(one.episode, step) for one in trajectories for step in range(len(one))]
    made |= {"steps": len(steps), "covered": None, "map": None}
    for row in made["set"]:
        row |= {"coverage": None, "differs": None, "example": None}
    if bound is None or not steps:
        return made
    observations = np.concatenate([one.observations for one in trajectories])
    taken = np.concatenate([one.actions for one in trajectories])
    if isinstance(space := bound.environment.action_space, Box):  # what reached the simulator; rules are clipped, too
        taken = np.clip(taken, space.low, space.high)
    quantities = bound.environment.quantities(observations)
    actions, decision = bound.over(observations, taken)
    apart = np.abs(actions.astype(np.float64) - taken).reshape(len(taken), -1).sum(axis=1)
    differs = apart > 0
    clearly = differs & (apart >= np.median(apart[differs]) if isinstance(space, Box) and differs.any() else True)
    made["covered"] = float(decision.covered.mean())
    for row in made["set"]:
        if row["place"] is None:
            continue
        here = decision.rule == row["place"]
        row["coverage"], row["differs"] = float(here.mean()), float((here & differs).mean())
        if here.any():
            better = here & clearly
            chosen = central(quantities, bound.rules.names, np.flatnonzero(better if better.any() else here))
            episode, step = steps[chosen]
            row["example"] = {
                "episode": episode,
                "step": step,
                "taken": action_words(bound, taken[chosen]),
                "does": action_words(bound, actions[chosen]),
            }
    made["map"] = decision_map(bound, quantities, taken, steps, decision)
    return made


def action_words(bound: BoundRules, action: Array) -> str:
    """An action of the action space for people: a discrete one's name, the numbers of a continuous one.

    An environment's own words for continuous actions may be coarse, and a rule's correction of one small.
    """
    components = bound.rules.interface.components
    if components:
        return ", ".join(f"{name} {value:+.2f}" for name, value in zip(components, action, strict=True))
    with asking(bound.environment, "actions.decode"):
        return valid_text(str(bound.environment.actions.decode(np.asarray(action))))


def bound_of(found: RulesFound, environment: Environment) -> BoundRules | None:
    """The set that is left, for an environment; None where no rule is left.

    Raises:
        RuleError: It does not fit the environment, which has changed since.
    """
    if not found.rules:
        return None
    rules = parse_rules(found.rules, interface_of(environment))
    return BoundRules(rules, environment) if rules.document.rules else None
