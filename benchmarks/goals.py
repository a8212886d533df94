"""Are goals a help to the simulator's search? Goals drawn at random, the search alone, and random moves, on Hopper.

The same states of the same episodes of the shipped `suboptimal` policy: those over which its value estimate fell most.
Every proposer suggests at one state after the other and begins again, with new draws, until its searches and tests
have taken `--budget` environment steps. No model is asked, so this says what the search makes of goals that know
nothing: a model's goals have to beat it.

    goals     a goal on a quantity, drawn with its target among the values collected; the sequence that comes nearest
    search    the sequence that earned most, without a goal
    moves     random moves, no search

    nice -n 5 python benchmarks/goals.py --seeds 3 --budget 30000

Printed are the share of tested suggestions that hold, the gain of a tested one, and what the steps bring, with 95 %
intervals: Wilson's of shares, else the bootstrap over states. Who tests thousands accepts some by luck, so whatever
held is played again in `PAIRS` pairs under other random numbers that are not charged: nobody selected that gain.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PROPOSERS = ("goals", "search", "moves")
EPISODES, STATES, MOST_HOLD, MOST_MOVES = 4, 8, 6, 4
"""Episodes of a seed, states of an episode, and the bounds of a plan, as in `benchmarks/advice.py`."""
PAIRS, AHEAD = 16, 60
"""Pairs in which what held is played again, and environment steps after the plan."""


@dataclass
class Tally:
    """What came of one proposer at one state; `again` has the second gain of each suggestion that held."""

    steps: int = 0
    gains: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    fates: list[str] = field(default_factory=list)

    @property
    def held(self) -> int:
        """Suggestions that held."""
        return len(self.again)


def falls(episodes: Sequence[Any]) -> list[tuple[Any, int]]:
    """The steps of each episode over which the value fell most, one of each episode in turn."""
    rows = []
    for one in episodes:
        values = np.asarray(one.values, np.float64)
        fell = values[:-1] - values[1:]
        rows.append(sorted(np.argsort(-fell)[:STATES].tolist()))
    return [(one, steps[index]) for index in range(STATES) for one, steps in zip(episodes, rows, strict=True)]


def moves_at_random(environment: Any, rng: np.random.Generator) -> Any:
    """A plan of named actions, every number of moves, hold and action equally likely."""
    from ultra_agents.records import Plan

    names, count = environment.actions.names, int(rng.integers(1, MOST_MOVES + 1))
    moves = [(names[int(rng.integers(len(names)))], int(rng.integers(1, MOST_HOLD + 1))) for _ in range(count)]
    return Plan.of(moves)


def measured(seed: int, budget: int, share: int) -> dict[str, list[Tally]]:
    """By proposer, a tally for each state."""
    from ultra_agents.agents.goal_control import draw_goal
    from ultra_agents.agents.goal_terms import Goals
    from ultra_agents.config import SearchConfig, VerificationConfig
    from ultra_agents.policies import load_policy
    from ultra_agents.records import Searched, Suggestion
    from ultra_agents.registry import create_environment
    from ultra_agents.rollout.collect import collect
    from ultra_agents.rollout.simulators import make_simulators
    from ultra_agents.seeding import Streams
    from ultra_agents.verification import CounterfactualTester, GoalMeter, PlanSearch, SearchTerms

    environment, streams = create_environment("hopper"), Streams(seed)
    policy = load_policy(environment.policies()["suboptimal"], "hopper", environment).policy
    with make_simulators(environment, EPISODES) as simulators:
        seeds = streams.integers(EPISODES, "collect")
        episodes = collect(policy, environment, simulators, seeds, streams.child("c"), 1000)
    states, meter = falls(episodes), GoalMeter(environment, episodes)
    config = SearchConfig(max_steps=share, total_steps=10**9)
    terms = SearchTerms(config, MOST_MOVES, 1, MOST_HOLD, None, 0.99, 0.1, 1)
    tests = VerificationConfig(max_steps=10**12)
    longer = VerificationConfig(
        max_steps=10**12, max_test_steps=10**9, screen_pairs=0, min_pairs=PAIRS, max_pairs=PAIRS, horizon=AHEAD
    )
    found: dict[str, list[Tally]] = {}
    for name in PROPOSERS:
        tallies = found[name] = [Tally() for _ in states]
        spent = cycle = 0
        with (
            CounterfactualTester(environment, policy, tests, streams.child("test"), max_tests=1) as tester,
            CounterfactualTester(environment, policy, longer, streams.child("again"), max_tests=1) as once_more,
        ):
            while spent < budget:
                mine = streams.child(f"{name}-{cycle}")
                with PlanSearch(environment, policy, terms, mine.child("search")) as search:
                    goals = Goals(meter, lambda e, s, g: search.reach(e, s, g, meter), 1, 24, config)
                    propose: dict[str, Callable[[Any, int, Any], Any]] = {
                        "goals": lambda e, s, rng: _toward(goals, draw_goal(goals, rng), e, s),  # noqa: B023
                        "search": lambda e, s, rng: search.find(e, s),
                        "moves": lambda e, s, rng: Searched(moves_at_random(environment, rng)),
                    }
                    for tally, (episode, step) in zip(tallies, states, strict=True):
                        if spent >= budget:
                            break
                        made = propose[name](episode, step, mine.generator(episode.episode, step))
                        steps, fate = made.env_steps, made.reason
                        if made.plan is not None and not made.reason:
                            suggestion = Suggestion(episode.episode, step, made.plan)
                            result = tester(episode, suggestion)
                            assert result is not None, "the cap of a test is never reached"
                            steps += int(result.env_steps)
                            tally.gains.append(result.gain)
                            if result.passed and (second := once_more(episode, suggestion)) is not None:
                                tally.again.append(second.gain)
                            reached = made.toward is not None and made.toward.reached
                            fate = f"{'reached' if reached else 'tested'}, {'held' if result.passed else 'not held'}"
                        tally.steps += steps
                        tally.fates.append(fate)
                        spent += steps
                cycle += 1
    return found


def _toward(goals: Any, goal: Any, episode: Any, step: int) -> Any:
    from ultra_agents.records import Searched

    return Searched(reason="no goal can be set") if goal is None else goals.reach(episode, step, goal)


def table(found: dict[str, list[Tally]]) -> None:
    """What the proposers came to, as Markdown."""
    from ultra_agents.evaluation.statistics import proportion_interval

    rng = np.random.default_rng(0)

    def interval(tallies: Sequence[Tally], value: Callable[[Sequence[Tally]], float], digits: int) -> str:
        if not np.isfinite(value(tallies)):
            return "-"
        draws = [value([tallies[i] for i in rng.integers(len(tallies), size=len(tallies))]) for _ in range(2000)]
        low, high = np.nanquantile(draws, [0.025, 0.975])
        return f"{value(tallies):+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"

    def gain(tallies: Sequence[Tally]) -> float:
        gains = [one for tally in tallies for one in tally.gains]
        return float(np.mean(gains)) if gains else np.nan

    def bought(tallies: Sequence[Tally]) -> float:
        return 10_000 * sum(one.held for one in tallies) / max(sum(one.steps for one in tallies), 1)

    def again(tallies: Sequence[Tally]) -> float:
        gains = [one for tally in tallies for one in tally.again]
        return float(np.mean(gains)) if gains else np.nan

    heads = "proposer", "steps", "suggestions tested", "hold", "gain of a tested one", "of one that held, again"
    print(f"| {' | '.join(heads)} | held per 10,000 steps | states helped |")
    print("|---|---|---|---|---|---|---|---|")
    for name, tallies in found.items():
        tested, held = sum(len(one.gains) for one in tallies), sum(one.held for one in tallies)
        share = proportion_interval(held, tested)
        words = "-" if share is None else f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]"
        helped = sum(any(gain > 0 for gain in one.again) for one in tallies)
        steps = sum(one.steps for one in tallies)
        print(
            f"| `{name}` | {steps:,} | {tested} | {words} | {interval(tallies, gain, 1)} | "
            f"{interval(tallies, again, 1)} | {interval(tallies, bought, 2)} | {helped} of {len(tallies)} |",
            flush=True,
        )
    for first, second in (("goals", "search"), ("goals", "moves"), ("search", "moves")):
        pairs = list(zip(found[first], found[second], strict=True))
        draws = []
        for _ in range(2000):
            some = [pairs[i] for i in rng.integers(len(pairs), size=len(pairs))]
            draws.append(bought([one for one, _ in some]) - bought([one for _, one in some]))
        low, high = np.quantile(draws, [0.025, 0.975])
        apart = bought(found[first]) - bought(found[second])
        print(f"held per 10,000 steps, `{first}` minus `{second}`: {apart:+.2f} [{low:+.2f}, {high:+.2f}]")
    for name, tallies in found.items():
        fates = [fate for one in tallies for fate in one.fates]
        counted = ", ".join(f"{fate} {fates.count(fate)}" for fate in sorted(set(fates)))
        print(f"{name}: {len(fates)} proposed; {counted}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=30_000, help="environment steps of each proposer and seed")
    parser.add_argument("--share", type=int, default=937, help="environment steps of one search, at most")
    args = parser.parse_args()
    found: dict[str, list[Tally]] = {name: [] for name in PROPOSERS}
    for seed in range(args.seeds):
        began = time.monotonic()
        for name, tallies in measured(600 + seed, args.budget, args.share).items():
            found[name] += tallies
        print(f"# seed {600 + seed}: {time.monotonic() - began:.0f} s", flush=True)
    table(found)


if __name__ == "__main__":
    main()
