"""The part `rules` of `benchmarks/verification.py`: how often the test of a set of rules is wrong.

Starting policies follow a good rule at times and act at random else, so that they score between the two. Over each,
sets of rules are drawn: decision lists of one or two atoms with random actions, and the good rule restricted to a part
of the states or with some of its actions exchanged, so that true gains lie on both sides of 0. Every set is tested
with the defaults several times, with other seeds, and what the test confirmed (rules may have been left out) is played
in `--rule-pairs` paired episodes of other seeds, which say what is true.

The sets drawn decide how many of them are nearly harmless, and only those are accepted wrongly. So the error is also
had where it is worst: the differences of each set's reference are shifted to a mean of exactly 0 and drawn from anew,
and the looks of the test are applied to them; the same with their mean shifted to a gain says what the test can see.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ultra_agents.config import RuleTestConfig
from ultra_agents.contracts import Policy
from ultra_agents.evaluation.statistics import proportion_interval
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.rules import RuleSet, interface_of, parse_rules
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.rules.ruleset import build
from ultra_agents.seeding import Streams
from ultra_agents.verification import RuleTester
from ultra_agents.verification.paired import Budget, Entrant, Episodes, Horizon
from ultra_agents.verification.sequential import Rule, decide, looks, returns_spread

RULES = Path(__file__).parent.parent / "examples" / "rules"
CORRIDOR = {"length": 21, "max_steps": 80, "slip": 0.2, "lure": 0.6}
WORLDS: dict[str, tuple[str, dict[str, Any], str, float]] = {
    "corridor": ("corridor", CORRIDOR, "rules: [{when: cell > 0, do: RIGHT}]", 0.05),
    "cartpole": ("gymnasium:CartPole-v1", {}, (RULES / "cartpole.yaml").read_text(encoding="utf-8"), 0.55),
    "mountain-car": ("mountain-car", {}, (RULES / "mountain_car.yaml").read_text(encoding="utf-8"), 0.6),
}
"""Environment, its options, a good rule, and how often the starting policy follows it."""
BINS = {"0.3": (0.15, 0.5), "1": (0.6, 1.6)}
"""Gains called so, in standard deviations of the policy's return."""
DRAWS = 1000
"""Sequences drawn from the shifted differences of a set."""


class Careless(Policy):
    """Follows a rule with a fixed chance, and else acts at random."""

    def __init__(self, rules: RuleSet, environment: Any, chance: float) -> None:
        self._layer = RulePolicy(self, rules, environment)
        self._count, self._chance = int(environment.action_space.n), chance

    def act_with_uniforms(self, observations: Any, uniforms: Any) -> Any:
        """One number decides both whether the rule is followed and what is done else."""
        draws = uniforms[:, 0]
        wild = np.clip((draws - self._chance) / (1 - self._chance), 0, 1 - 1e-9)
        own = np.floor(wild * self._count).astype(np.int64)
        quantities = self._layer.environment.quantities(observations)
        ruled, covered = self._layer.rules.act(quantities, own)[:2]
        return np.where((draws < self._chance) & covered, ruled, own)

    def act(self, observations: Any, rng: Any = None, deterministic: bool = False) -> Any:
        """The same with numbers of its own."""
        return self.act_with_uniforms(observations, rng.random((len(observations), 1)))

    def value(self, observations: Any) -> Any:
        """Nothing is known of it; episodes are not cut here."""
        return np.zeros(len(observations))

    def state(self) -> Any:
        """Never saved."""
        raise NotImplementedError


@dataclass(frozen=True)
class World:
    """Where sets are tested; `seen` holds the quantities of the states that the policy visits, by name."""

    name: str
    environment: Any
    policy: Policy
    good: RuleSet
    seen: dict[str, Any]


def world_of(name: str, streams: Streams) -> World:
    """A world with its starting policy."""
    environment_name, options, text, chance = WORLDS[name]
    environment = create_environment(environment_name, options)
    good = parse_rules(text, interface_of(environment))
    policy = Careless(good, environment, chance)
    with make_simulators(environment, 16) as simulators:
        episodes = collect(policy, environment, simulators, streams.integers(16, "seen"), streams.child("seen"), 500)
    seen = environment.quantities(np.concatenate([one.observations for one in episodes]))
    return World(name, environment, policy, good, {key: np.asarray(value) for key, value in seen.items()})


def drawn(world: World, count: int, rng: np.random.Generator) -> list[tuple[str, RuleSet]]:
    """Sets of rules of two kinds, each with the name of its kind."""
    actions = interface_of(world.environment).actions
    names = [name for name, values in world.seen.items() if np.ptp(values) > 0]

    def atom() -> str:
        name = names[int(rng.integers(len(names)))]
        edge = float(np.quantile(world.seen[name], rng.uniform(0.05, 0.95)))
        return f"{name} {'><'[int(rng.integers(2))]} {edge:.4g}"

    def action() -> str:
        return str(actions[int(rng.integers(len(actions)))])

    found: list[tuple[str, RuleSet]] = []
    for number in range(count):
        if number % 2:
            rules = [f"{{when: {atom()}, do: {action()}}}" for _ in range(int(rng.integers(1, 3)))]
            text = f"rules: [{', '.join(rules)}]"
            found.append(("random", parse_rules(text, world.good.interface)))
        else:
            part, document = atom(), world.good.document
            changed = tuple(
                rule.model_copy(
                    update={"when": f"({rule.when}) and {part}"} | ({"do": action()} if rng.random() < 0.25 else {})
                )
                for rule in document.rules
            )
            found.append(("degraded", build(document.model_copy(update={"rules": changed}), world.good.interface)))
    return found


class Reference:
    """What sets are truly worth: paired episodes of seeds that no test plays."""

    def __init__(self, world: World, streams: Streams, pairs: int, config: RuleTestConfig) -> None:
        self._world, self._pairs, self.alone = world, pairs, Entrant(world.policy)
        horizon = Horizon(config.horizon, config.discount, value_at_truncation=False)
        self._episodes = Episodes(
            world.environment, world.policy, streams.child("reference"), horizon, Budget(10**12), width=64
        )
        self._episodes.extend([self.alone], pairs)
        self.deviation = float(np.std(self.alone.returns, ddof=1))
        self.differences = cache(self._differences)

    def _differences(self, text: str) -> Any:
        rules = parse_rules(text, self._world.good.interface)
        entrant = Entrant(RulePolicy(self._world.policy, rules, self._world.environment))
        self._episodes.extend([entrant], self._pairs)
        return np.subtract(entrant.returns, self.alone.returns)


def shifted(differences: Any, gain: float, rule: Rule, rng: np.random.Generator) -> float:
    """Share of sequences drawn from these differences, with their mean moved to `gain`, that would be accepted."""
    moved, accepted = differences - differences.mean() + gain, 0
    for _ in range(DRAWS):
        drawn_ones = rng.choice(moved, rule.looks[-1])
        for look in rule.looks:
            verdict = decide(drawn_ones[:look].tolist(), rule)
            if verdict is not None:
                accepted += verdict == "good"
                break
    return accepted / DRAWS


def share(hits: list[bool]) -> str:
    """With its interval."""
    found = proportion_interval(sum(hits), len(hits))
    return "-" if found is None else f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}] of {len(hits)}"


def rules_part(args: Any) -> None:
    """Print the table."""
    config = RuleTestConfig()
    at = looks(config.min_pairs, config.pairs)
    print(
        f"\nsets of rules, tested with the defaults {args.repeats} times each; true: {args.rule_pairs} paired "
        f"episodes; gains in standard deviations of the policy's return\n\n"
        "| world | return | sets | accepted of gain <= 0 | undecided of those | accepted of gain 0.15 to 0.5 | "
        "of 0.6 to 1.6 | steps: median, mean | at exactly 0: mean, worst | at 0.3 | at 1 |\n" + "|---" * 11 + "|"
    )
    totals: dict[str, list[bool]] = defaultdict(list)
    edges: dict[float, list[float]] = defaultdict(list)
    steps_of_all: list[int] = []
    for name in args.rule_worlds.split(","):
        streams = Streams(args.seed).child(name)
        world = world_of(name, streams)
        reference = Reference(world, streams, args.rule_pairs, config)
        spread = returns_spread(reference.alone.rewards, config.discount)
        rule = Rule(at, config.confidence, config.noise * spread, config.min_gain * spread)
        of: dict[str, list[bool]] = defaultdict(list)
        shares: dict[float, list[float]] = defaultdict(list)
        steps = []
        for number, (_, rules) in enumerate(drawn(world, args.sets, streams.generator("sets"))):
            for repeat in range(args.repeats):
                tester = RuleTester(
                    world.environment, world.policy, config, streams.child("test", str(number), str(repeat))
                )
                found = tester.test([rules])
                steps.append(found.env_steps)
                gain = float(reference.differences(found.rules).mean()) / reference.deviation
                if gain <= 0:
                    of["bad"].append(found.verdict == "accepted")
                    of["open"].append(found.verdict == "undecided")
                for key, (low, high) in BINS.items():
                    if low <= gain <= high:
                        of[key].append(found.verdict == "accepted")
            differences = reference.differences(rules.to_yaml())
            if np.ptp(differences) > 0:
                for gain in (0.0, 0.3, 1.0):
                    draws = streams.generator("shifted", str(number), str(gain))
                    shares[gain].append(shifted(differences, gain * reference.deviation, rule, draws))
        print(row(name, reference, args.sets, of, steps, shares), flush=True)
        for key, some in of.items():
            totals[key] += some
        for gain, each in shares.items():
            edges[gain] += each
        steps_of_all += steps
    print(row("all", None, len(edges[0.0]), totals, steps_of_all, edges), flush=True)


def row(name: str, reference: Reference | None, sets: int, of: Any, steps: list[int], shares: Any) -> str:
    """A line of the table."""
    alone = "" if reference is None else f"{np.mean(reference.alone.returns):.2f} +- {reference.deviation:.2f}"
    edge = f"{np.mean(shares[0.0]):.3f}, {np.max(shares[0.0]):.3f}"
    middle = f"{np.median(steps):,.0f}, {np.mean(steps):,.0f}"
    return (
        f"| {name} | {alone} | {sets} | {share(of['bad'])} | {share(of['open'])} | {share(of['0.3'])} | "
        f"{share(of['1'])} | {middle} | {edge} | {np.mean(shares[0.3]):.2f} | {np.mean(shares[1.0]):.2f} |"
    )
