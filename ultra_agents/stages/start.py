"""What is made of rules that held: where refining starts, decided by paired episodes.

Four policies may stand there: the policy, a copy that learnt to do what the rules do, and either with the rules in
force over it (`stages.lessons` makes the copy). Environment steps of the comparison are charged to the methods that
use advice. Not part of the ULTRA paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ultra_agents.config import Config
from ultra_agents.contracts import Modulation, Policy, Ruled
from ultra_agents.events import StageProgress, StepsSpent
from ultra_agents.modulation.rules import RuleModulation, way_to_learn
from ultra_agents.records import Variant
from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings, Start, StartName
from ultra_agents.stages.lessons import Lessons, taught, widened
from ultra_agents.stages.rules import rule_streams, rule_terms
from ultra_agents.text import spanned
from ultra_agents.verification import RuleTest
from ultra_agents.verification.paired import Budget, Entrant, Episodes
from ultra_agents.verification.rules import episodes_of, rule_of
from ultra_agents.verification.sequential import Rule, decide, interval, looks
from ultra_agents.verification.tuning import stands_out

SHARE = 10
"""The comparison of starts may take one in so many of the environment steps that each method has."""
ENTRANTS: Mapping[str, tuple[StartName, ...]] = {
    "auto": ("policy", "copy", "copy+rules", "policy+rules"),
    "layer": ("policy", "policy+rules"),
    "imitate": ("policy", "copy"),
    "both": ("policy", "policy+rules", "copy+rules"),
}
"""What is compared by `advice.apply`; of equals the earlier is taken."""


def choose_start(context: RunContext, findings: Findings) -> Start:
    """Make a copy where one is wanted, and choose among the starts."""
    config, found = context.config, findings.rules
    if found is None or not found.held:
        return Start("policy", headline="the policy: no rules held")
    rules = parse_rules(found.rules, interface_of(context.environment))
    policy = widened(context, findings, rules)
    layer = RulePolicy(policy, rules, context.environment)
    wanted = _wanted(config, found.test, context.algorithm.can_imitate)
    copying = any("copy" in name for name in wanted)
    copy, learning = taught(context, findings, policy, layer) if copying else (None, Lessons())
    context.emit(StepsSpent("imitate", learning.env_steps, "lessons"))
    policies: dict[StartName, Policy] = {"policy": policy, "policy+rules": layer}
    if copy is not None:
        policies |= {"copy": copy, "copy+rules": RulePolicy(copy, layer.rules, context.environment)}
    entrants = {name: Entrant(policies[name]) for name in wanted if name in policies}
    if found.test is not None:  # these two played their pairs in the test of the rules
        for index, name in enumerate(("policy", "policy+rules")):
            if name in entrants:
                entrants[name].returns = [pair[index] for pair in found.test.returns]
    chosen: StartName
    if found.test is None or config.imitation.mode == "always" or set(entrants) <= {"policy", "policy+rules"}:
        copies = [name for name in entrants if "copy" in name]
        chosen, compared = copies[0] if copies else list(entrants)[-1], _Compared()
    else:
        chosen, compared = _compared(context, found.test, entrants, config.advice.apply == "imitate")
    context.emit(StepsSpent("compare starts", compared.env_steps, "starts"))
    return Start(
        chosen,
        returns={name: tuple(one.returns) for name, one in entrants.items() if one.returns},
        gains=compared.gains,
        stopped=compared.stopped,
        labels=learning.labels,
        agreement=tuple(learning.agreement),
        imitating=learning.env_steps,
        comparing=compared.env_steps,
        headline=_headline(chosen, compared.gains, learning),
        copy=copy if "copy" in chosen else policy if policy is not context.policy else None,
    )


def ruled(context: RunContext, findings: Findings) -> Ruled | None:
    """What the methods that use advice are given; None where no rules held and no reward was proposed."""
    found, start = findings.rules, findings.start
    if found is None or not found.rules or start is None:
        return None
    rules = parse_rules(found.rules, interface_of(context.environment))
    rewarding = rules if found.rewards and (rules.document.potential or rules.document.reward) else None
    moves = findings.copy is not None or (findings.table is not None and findings.table.acts)
    if not found.held and (rewarding is None or moves):  # what held comes before a reward that nothing confirmed
        return None
    acts = start.chosen.endswith("+rules")
    network = start.copy if start.copy is not None else context.policy
    layer = RulePolicy(network, rules, context.environment) if start.chosen != "policy" else None

    def over(policy: Policy) -> Policy:
        return RulePolicy(policy, rules, context.environment)

    def modulation(variant: Variant) -> Modulation | None:
        shown, rewarded = layer if "a" in variant else None, rewarding if "r" in variant else None
        learn = way_to_learn(context.algorithm.learns, rules.corrects)
        if shown is not None and not acts and learn != "imitate":
            shown = None
        if shown is None and rewarded is None:
            return None
        return RuleModulation(
            shown, rewarded, context.environment.quantities, context.modulation,
            acts=acts, learn=learn,
        )  # fmt: skip

    learnt_to_add = rules.needs_own and start.copy is not None and not acts
    puts = over if found.held and not learnt_to_add else None
    return Ruled(network, puts, acts, modulation, f"from {start.headline}", corrects=rules.corrects)


def _wanted(config: Config, test: RuleTest | None, can_imitate: bool) -> tuple[StartName, ...]:
    """What may be begun from. A copy is not made where it could not be chosen."""
    wanted, mode = ENTRANTS[config.advice.apply], config.imitation.mode
    if test is None and config.advice.apply == "auto" and mode != "always":
        mode = "never"  # believed rules are put in force; nothing was compared that a copy could win
    if mode == "never" or not can_imitate:
        return tuple(name for name in wanted if "copy" not in name)
    if test is not None and test.coverage == 1.0:  # no state is left to the network, whichever it is
        return tuple(name for name in wanted if name != "copy+rules")
    return wanted


# -- the choice --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Compared:
    """Environment steps, gain over the policy with its interval by entrant, and why the comparison ended."""

    env_steps: int = 0
    gains: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    stopped: str = ""


def _compared(
    context: RunContext, test: RuleTest, entrants: dict[StartName, Entrant], alone: bool
) -> tuple[StartName, _Compared]:
    """The episodes of the test of the rules, played by all of them, until it is known which is better than the policy.

    Of those that are surely better the first is taken, a network alone before one with rules, unless a later one is
    surely better than it; as long as the best of them stands out against that choice, more is played. A copy that
    earned less than the policy alone comes last, for the network is what remains where no rule acts. Where none is
    surely better, rules in force stay the choice, having passed the test before; with `alone` the policy does. Where
    `imitation.mode` is `better`, whatever earned most is taken then, if that is more than the policy.
    """
    config, terms = context.config, rule_terms(context.config)
    policy = entrants["policy"]
    at = looks(terms.min_pairs, terms.pairs)
    rule = rule_of(terms, at, test.spread)
    budget = Budget(config.refine.steps // SHARE)
    streams, horizon = episodes_of(terms, rule_streams(context), test.pairs_of)  # its pairs go on here
    others = [name for name in entrants if name != "policy"]
    choice: StartName | None = None
    leader: StartName = "policy"
    gains, stopped, good = dict[str, tuple[float, float, float]](), "steps", list[StartName]()
    settings = context.environment, context.policy, streams, horizon, budget
    with Episodes(*settings, width=at[0], workers=config.verification.workers, strict=False) as episodes:
        for look in at:
            context.check_stop()
            context.emit(StageProgress("start", look, at[-1], "paired episodes of the possible starts"))
            if not episodes.extend(list(entrants.values()), look):
                break
            verdicts = {name: decide(_differences(entrants[name], policy), rule) for name in others}
            gains = {name: _ends(_differences(entrants[name], policy), rule) for name in others}
            good, stopped, choice = [name for name in others if verdicts[name] == "good"], "pairs", None
            if "copy" in gains and gains["copy"][0] < 0:
                good.sort(key=lambda name: name == "copy+rules")
            for name in good:
                if choice is None or decide(_differences(entrants[name], entrants[choice]), rule) == "good":
                    choice = name
            leader = max(others, key=lambda name: gains[name][0])
            if choice is not None:
                ahead = _differences(entrants[leader], entrants[choice])
                if not stands_out(np.array(ahead)) or decide(ahead, rule) is not None:
                    stopped = "good"
                    break
            if all(verdict in ("bad", "hopeless") for verdict in verdicts.values()):
                break
    if choice == "policy+rules" and "copy+rules" not in entrants and "copy" in good:
        choice = "copy+rules"  # the rules leave no state to the network: the better one alone stands below
    if choice is None and config.imitation.mode == "better" and leader in gains and gains[leader][0] > 0:
        choice = leader
    untried: StartName = "policy" if alone or "policy+rules" not in entrants else "policy+rules"
    return choice or untried, _Compared(budget.spent, gains, stopped)


def _differences(one: Entrant, other: Entrant) -> list[float]:
    """What one earned more than the other, pair by pair, as far as both have played."""
    return [mine - its for mine, its in zip(one.returns, other.returns, strict=False)]


def _ends(found: Sequence[float], rule: Rule) -> tuple[float, float, float]:
    ends = interval(found, rule)
    return ends.mean, ends.low, ends.high


def _headline(chosen: StartName, gains: Mapping[str, tuple[float, float, float]], learning: Lessons) -> str:
    words = {
        "policy": "the policy",
        "copy": "a copy that learnt the rules",
        "policy+rules": "the policy with its rules in force",
        "copy+rules": "a copy that learnt the rules, with the rules in force",
    }
    text = words[chosen]
    if chosen in gains:
        mean, low, high = gains[chosen]
        text += f": {spanned(mean, low, high)} per episode over the policy"
    if learning.labels:
        text += f"; {learning.labels:,} labelled states, {learning.env_steps:,} environment steps"
    return text
