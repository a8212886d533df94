"""Advice with reach: who proposes sets of rules, and the test that one of them must pass before it acts anywhere.

Proposed sets race; what is left of the best is confirmed on fresh episodes (`verification.rules`). Every environment
step is charged to the methods that use advice. A potential or a reward is held against the collected episodes, which
costs nothing, and raced in short training arms where that is asked for; what is refuted there is not used, and noted
with its reason. With `verification.mode: none` or `reflect` the first set is believed untested, as the ULTRA paper
believes its advice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ultra_agents.agents.checkpoint import checkpoint_of
from ultra_agents.agents.rules import most_trials, propose_rules
from ultra_agents.config import Config, RuleTestConfig
from ultra_agents.contracts import Environment
from ultra_agents.events import RulesShown, StageProgress, StepsSpent, Warned
from ultra_agents.records import RuleProposal
from ultra_agents.records.cases import Note
from ultra_agents.rules import RuleSet, interface_of, load_rules, parse_rules
from ultra_agents.rules.drawing import quantiles_of, random_constants, random_reward, random_rules
from ultra_agents.seeding import Streams
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.explain import asking, source_of
from ultra_agents.stages.findings import Findings, RulesFound
from ultra_agents.stages.reward_race import race_reward
from ultra_agents.stages.tools import tools_of
from ultra_agents.text import counted, spanned
from ultra_agents.verification import RuleTest, RuleTester
from ultra_agents.verification.reward import RewardTest, hold_against
from ultra_agents.verification.trials import RuleTrials

PURPOSES = {
    "windows": "sets compared in windows from stored states",
    "race": "sets compared in whole episodes",
    "tune": "settings of the constants tried",
    "settle": "the best settings against the one written, fresh episodes",
    "confirm": "in force against the policy alone, fresh episodes",
    "leave out": "each rule left out in turn, for it did not hold",
    "confirm the rest": "what is left of it against the policy alone, fresh episodes",
}
"""What a test is doing, for people, by what it charges its steps to."""
SHARE, TUNING_SHARE = 3, 2
"""A test may take one in so many of the environment steps that each method has, and the tuning of constants one in so
many, which brings more there than training on: the rest is for refining."""


def rules_file(config: Config, environment: Environment) -> RuleSet:
    """The set in `advice.file`, bound to the environment.

    Raises:
        RuleError: It cannot be read, or does not fit.
    """
    assert config.advice.file is not None, "the configuration asks for it"
    return load_rules(Path(config.advice.file), interface_of(environment))


def find_rules(context: RunContext, findings: Findings) -> RulesFound:
    """Let the proposer of this run propose sets of rules, and test them."""
    config, environment = context.config, context.environment
    if config.verification.simulates and (warning := _unaffordable(config)):
        context.emit(Warned(warning))  # before anybody is asked: answers may cost money
    proposals = propose(context, findings)
    interface = interface_of(environment)
    sets = {index: parse_rules(one.text, interface) for index, one in enumerate(proposals) if one.text}
    acting = {index: rules for index, rules in sets.items() if rules.document.rules}

    def found_of(index: int, best: RuleSet, test: RuleTest | None, headline: str, untested: bool) -> RulesFound:
        reward = test_reward(context, findings, best)
        noted = _noted(proposals, index, reward)
        return RulesFound(noted, test, best.to_yaml(), None, headline, untested, index, reward=reward)

    def believed(index: int, headline: str, untested: bool) -> RulesFound:
        if untested:
            context.emit(RulesShown(proposals[index].source, 1, in_words(sets[index]), "untested"))
        return found_of(index, sets[index], None, headline, untested)

    if not sets:
        return RulesFound(tuple(proposals), headline="no usable set of rules was proposed")
    if not acting:
        return believed(_best_paid(sets, context, findings), "a reward alone, no rule acts", untested=False)
    if not config.verification.simulates:
        return believed(next(iter(acting)), "used untested, as verification.mode asks", untested=True)
    terms = rule_terms(config)
    source = ", ".join(dict.fromkeys(one.source for one in proposals))
    single = next(iter(acting.values())) if len(acting) == 1 else None
    context.emit(RulesShown(source, len(acting), () if single is None else in_words(single)))
    tester = RuleTester(
        environment,
        context.policy,
        terms,
        rule_streams(context),
        trajectories=findings.trajectories,
        workers=config.verification.workers,
        engine=config.engine,
        progress=lambda purpose, steps: _told(context, purpose, steps, terms),
    )
    found = tester.test(list(acting.values()))
    context.emit(StepsSpent("rules", found.env_steps, "sets"))
    headline = (
        f"{found.verdict}: {spanned(found.gain, found.low, found.high)}"
        f" per episode in {counted(found.pairs, 'pair')}"
        f"{f', best of {len(acting)} sets' if len(acting) > 1 else ''}"
    )
    if not found.pairs:
        headline = f"undecided: the budget of {terms.max_steps:,} steps did not pay for a first look"
    if found.saturates:
        headline += f"; its gains saturate: {found.saturated:.0%} of the actions are at their bounds"
    best = parse_rules(found.rules, interface)
    context.emit(
        RulesShown(source, len(acting), in_words(best), found.verdict, found.gain, found.low, found.high, found.pairs)
    )
    return found_of(list(acting)[found.chosen], best, found, headline, untested=False)


def _unaffordable(config: Config) -> str:
    """Why no set can be confirmed, whatever is proposed; empty where one can."""
    terms, own = rule_terms(config), config.verification.rules
    least = terms.min_pairs * (terms.horizon + 1)  # the policy alone, and a step of each episode under the rules
    if terms.max_steps >= least:
        return ""
    share = "" if terms.max_steps == own.max_steps else f" (one of {SHARE} of refine.steps: {config.refine.steps:,})"
    return (
        f"no set of rules can be confirmed: its test may take {terms.max_steps:,} environment steps{share}, and a "
        f"first look at {terms.min_pairs} pairs of up to {terms.horizon:,} steps has to be able to pay for {least:,}; "
        f"lower verification.rules.horizon, or raise {'refine.steps' if share else 'verification.rules.max_steps'}"
    )


def test_reward(context: RunContext, findings: Findings, rules: RuleSet) -> RewardTest | None:
    """What the collected episodes, and a race where one is asked for, say of the implicit reward of a set.

    None where it has none. What the episodes refute is not raced.
    """
    terms = context.config.verification.rules
    found = hold_against(rules, context.environment, findings.trajectories, terms.confidence)
    if found is None or not found.acts or not terms.reward_pairs:
        return found
    if not context.config.verification.simulates:
        return found
    return found.with_race(race_reward(context, rules))


def _best_paid(sets: Mapping[int, RuleSet], context: RunContext, findings: Findings) -> int:
    """Of sets that are a reward alone, the one that agrees best with the collected episodes: it is the one tested.

    Those that cannot be judged come after those that agree and before those that do not; the first of equals.
    """

    def rank(index: int) -> float:
        confidence = context.config.verification.rules.confidence
        found = hold_against(sets[index], context.environment, findings.trajectories, confidence)
        return -2.0 if found is None or not found.acts else found.rank or 0.0

    return max(sets, key=rank) if len(sets) > 1 else next(iter(sets))


def _noted(proposals: Sequence[RuleProposal], index: int, reward: RewardTest | None) -> tuple[RuleProposal, ...]:
    """The proposals, with the reason in the notes of the one at `index` where its reward is refused."""
    if reward is None or reward.acts:
        return tuple(proposals)
    note = Note("reward", reward.reason, reward.words)
    changed = replace(proposals[index], notes=(*proposals[index].notes, note))
    return (*proposals[:index], changed, *proposals[index + 1 :])


def propose(context: RunContext, findings: Findings) -> Sequence[RuleProposal]:
    """Sets of rules by the proposer of this run."""
    config, environment = context.config, context.environment
    if config.proposer == "file":
        rules = rules_file(config, environment)
        why = "; ".join(one.why for one in rules.document.rules if one.why)
        return [RuleProposal(rules.to_yaml(), "file", why)]
    rng = context.streams.generator("proposer", "rules")
    count = config.advice.candidates
    if config.proposer == "constants":
        structure = rules_file(config, environment)
        return [RuleProposal(random_constants(structure, rng).to_yaml(), "constants") for _ in range(count)]
    if config.proposer == "random":
        interface = interface_of(environment)
        seen = np.concatenate([one.observations for one in findings.trajectories])
        quantiles = quantiles_of(environment.quantities(seen))

        def drawn() -> RuleSet:
            if config.advice.draws == "reward":
                return random_reward(interface, quantiles, rng)
            return random_rules(interface, quantiles, rng, tunable=config.verification.rules.tune)

        return [RuleProposal(drawn().to_yaml(), "random") for _ in range(count)]
    return _from_models(context, findings)


def _from_models(context: RunContext, findings: Findings) -> Sequence[RuleProposal]:
    """A set from each episode that is told, by the agents, who hear of short tests where advice is simulated."""
    config = context.config
    episodes = len({one.segment.episode for one in findings.narrations})
    trials = RuleTrials(
        context.environment,
        context.policy,
        rule_terms(config),
        context.telling(findings.trajectories).child("rules", "trials"),
        trials=max(most_trials(episodes, config.agents), 1),
        workers=config.verification.workers,
    )
    with asking(context) as gateway, tools_of(context, findings, gateway) as tools:
        return propose_rules(
            environment=context.environment,
            policy=context.policy,
            config=config,
            trajectories=findings.trajectories,
            narrations=findings.narrations,
            gateway=gateway,
            tester=trials if config.verification.simulates else None,
            checkpoint=checkpoint_of(context.folder),
            emit=context.emit,
            stop=context.stop,
            source=source_of(config),
            effects=findings.effects.text,
            tools=tools,
        )


def rule_streams(context: RunContext) -> Streams:
    """The random numbers of the test of rules."""
    return context.streams.child("rules")


def rule_terms(config: Config) -> RuleTestConfig:
    """How rules are tested in this run: a test that ate the budget would leave nothing to refine with."""
    terms, steps = config.verification.rules, config.refine.steps
    most = {"max_steps": SHARE, "trial_steps": SHARE, "tune_max_steps": TUNING_SHARE}
    return terms.model_copy(update={name: min(getattr(terms, name), steps // share) for name, share in most.items()})


def in_words(rules: RuleSet) -> tuple[str, ...]:
    """`when CONDITION: ACTION`, one line a rule."""
    return tuple(
        f"when {one.when}: "
        + (one.do if isinstance(one.do, str) else ", ".join(f"{name} = {text}" for name, text in one.do.items()))
        for one in rules.document.rules
    )


def _told(context: RunContext, purpose: str, steps: int, terms: RuleTestConfig) -> None:
    context.check_stop()
    limit = terms.max_steps + (terms.tune_max_steps if terms.tune else 0)
    context.emit(StageProgress("rules", min(steps, limit), limit, PURPOSES.get(purpose, purpose)))
