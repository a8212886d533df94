"""What does a test of a suggestion cost, and how often is it wrong? Pong.

Four parts, chosen with `--parts`, by default the first three:

    errors      a fixed set of suggestions on episodes of the shipped `suboptimal` policy - oracle and random, single
                actions and plans - is tested by the naive rule (4 pairs of 120 steps), by the default rule, and by a
                reference of 64 pairs under other random numbers, which says what is true
    prescreen   what share of random suggestions holds where the simulator or the value function was asked where to
                look, the steps of asking counted
    joint       MountainCar: what tests of single rows and of whole sets accept
    rules       corridor, CartPole, MountainCar: errors of the test of a set of rules (`_verification_rules.py`)

    python benchmarks/verification.py --parts errors --reference /tmp/reference.json

The set of the errors takes 10 minutes on one slow core, most of them for the reference; where a file is named it is
kept there. The default rule was chosen on sets of seed 502 and before; the default seed is another. Intervals are
95 %, and repeated tests count as independent, which makes them too narrow.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

NAIVE = {"screen_pairs": 0, "min_pairs": 4, "max_pairs": 4, "horizon": 120, "noise": 0.0, "min_gain": 0.0}
LONG = {"screen_pairs": 0, "min_pairs": 64, "max_pairs": 64, "horizon": 120, "noise": 0.0, "min_gain": 0.0}
FREE = {"max_steps": 10**12, "max_test_steps": 10**9}


def suggestions_for(environment: Any, trajectories: Sequence[Any], streams: Any, states: int) -> dict[str, list[Any]]:
    """At `states` steps of each episode where the expert differs: its action, its plan, a random action and plan."""
    from itertools import groupby

    from ultra_agents.records import Plan, Suggestion

    expert, names = environment.expert(), environment.actions.names
    found: dict[str, list[Any]] = {"oracle": [], "random": [], "random plan": [], "oracle plan": []}
    world = environment.make(1)
    world.reset(seed=[0])

    def add(kind: str, episode: int, step: int, moves: list[tuple[str, int]]) -> None:
        found[kind].append(Suggestion(episode, step, Plan(tuple(moves))))

    for episode in trajectories:
        rng, wanted = streams.generator("suggestions", episode.episode), np.asarray(expert(episode.observations))
        for step in sorted(rng.permutation(np.flatnonzero(wanted != episode.actions))[:states].tolist()):
            seen, played = environment.restore(world, [0], [episode.snapshots[step]]), list[str]()
            while len(played) < 24:
                action = np.asarray(expert(np.asarray(seen)))
                seen, _, terminated, truncated, _ = world.step(action)
                played.append(names[int(action[0])])
                if terminated[0] or truncated[0]:
                    break
            plan = [(name, len(list(run))) for name, run in groupby(played)]
            others = [name for index, name in enumerate(names) if index != episode.actions[step]]
            add("oracle", episode.episode, step, [(plan[0][0], min(plan[0][1], 8))])
            add("random", episode.episode, step, [(others[int(rng.integers(2))], int(rng.integers(1, 9)))])
            moves: list[tuple[str, int]] = []
            for _ in range(int(rng.integers(2, 5))):
                choice = [name for name in names if not moves or name != moves[-1][0]]
                moves.append((choice[int(rng.integers(len(choice)))], int(rng.integers(1, 7))))
            add("random plan", episode.episode, step, moves)
            add("oracle plan", episode.episode, step, plan)
    world.close()
    return found


def measured(
    environment: Any,
    policy: Any,
    trajectories: Sequence[Any],
    asked: Sequence[Any],
    options: Any,
    streams: Any,
    args: Any,
) -> list[Any]:
    """Results of testing `asked`, in order."""
    from ultra_agents.config import VerificationConfig
    from ultra_agents.verification import CounterfactualTester

    config, results = VerificationConfig(**{**options, **FREE}), dict[Any, Any]()
    with CounterfactualTester(
        environment, policy, config, streams, max_tests=1, workers=args.workers, slots=args.slots
    ) as tester:
        for episode in trajectories:
            of_it = [one for one in asked if one.episode == episode.episode]
            results.update(zip(of_it, tester.test_all(episode, of_it), strict=True))
    return [results[one] for one in asked]


def rows(name: str, tests: Sequence[Any], truth: Sequence[float], interesting: float) -> None:
    """One line of the table."""
    from ultra_agents.evaluation.statistics import proportion_interval

    steps, passed = np.array([t.env_steps for t in tests]), np.array([t.passed for t in tests])
    true = np.tile(np.asarray(truth), len(tests) // len(truth))
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(steps, (2000, len(steps))), axis=1)
    middle = f"{np.median(steps):.0f} [{np.quantile(medians, 0.025):.0f}, {np.quantile(medians, 0.975):.0f}]"

    def share(hits: Any, of: Any) -> str:
        found = proportion_interval(int(hits[of].sum()), int(of.sum()))
        return "-" if found is None else f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}] of {int(of.sum())}"

    gain = f"{true[passed].mean():+.3f}" if passed.any() else "-"
    per_step = 1000 * true[passed].sum() / steps.sum()
    print(
        f"| {name} | {middle} | {steps.mean():.0f} | {share(passed, true <= 0)} | {share(true <= 0, passed)} | "
        f"{share(~passed, true > interesting)} | {share(~passed, true > 0.2)} | {gain} | {per_step:.3f} |",
        flush=True,
    )


def errors(environment: Any, policy: Any, args: Any) -> None:
    """The first part: costs and errors against the reference."""
    from ultra_agents.rollout.collect import collect
    from ultra_agents.rollout.simulators import make_simulators
    from ultra_agents.seeding import Streams
    from ultra_agents.verification.sequential import returns_spread

    streams = Streams(args.seed)
    with make_simulators(environment, args.episodes) as simulators:
        seeds = streams.integers(args.episodes, "collect")
        trajectories = collect(policy, environment, simulators, seeds, streams.child("c"), 1250)
    asked = suggestions_for(environment, trajectories, streams, args.states)
    kinds = [kind for kind, part in asked.items() for _ in part]
    everything = [one for part in asked.values() for one in part]
    spread = float(np.mean([returns_spread(one.rewards, 0.99) for one in trajectories]))
    print(f"{len(everything)} suggestions: {', '.join(f'{len(part)} {kind}' for kind, part in asked.items())}")

    def test(which: Sequence[Any], options: Any, name: str) -> list[Any]:
        return measured(environment, policy, trajectories, which, options, streams.child(name), args)

    addresses = [f"{one.episode}:{one.step}:{one.plan.moves}" for one in everything]
    kept = args.reference is not None and args.reference.is_file()
    known: dict[str, float] = json.loads(args.reference.read_text()) if kept else {}
    for episode in trajectories:
        began, rows_of_it = (
            time.monotonic(),
            [row for row, one in enumerate(everything) if one.episode == episode.episode],
        )
        missing = [row for row in rows_of_it if addresses[row] not in known]
        if missing:
            found = test([everything[row] for row in missing], LONG, "reference")
            known |= {addresses[row]: result.gain for row, result in zip(missing, found, strict=True)}
            print(f"  reference, episode {episode.episode}: {time.monotonic() - began:.0f} s", flush=True)
            if args.reference is not None:
                args.reference.write_text(json.dumps(known))
    truth, interesting = [known[address] for address in addresses], 0.1 * spread
    true = np.array(truth)
    print(
        f"reference gains: {np.mean(true <= 0):.0%} not positive (bad), {np.sum(true > interesting)} good (above "
        f"{interesting:.3f}, the default min_gain), {np.sum(true > 0.2)} very good (above 0.2 points)\n"
    )
    columns = ("test", "median steps", "mean", "accepted of bad", "bad of accepted", "missed of good")
    print(f"| {' | '.join(columns)} | missed of very good | gain accepted | gain per 1000 steps |")
    print("|---" * 9 + "|")
    naive = [test(everything, NAIVE, f"repeat-{number}") for number in range(args.repeats)]
    quantile = stats.t.ppf(0.9, 3) / stats.t.ppf(0.8, 3)  # the same four pairs, asked with another confidence
    strict = [[replace(r, passed=r.gain > quantile * (r.gain - r.low)) for r in one] for one in naive]
    default = [test(everything, {}, f"repeat-{number}") for number in range(args.repeats)]
    for name, tests in (("naive", naive), ("naive, confidence 0.9", strict), ("default", default)):
        rows(name, [result for one in tests for result in one], truth, interesting)
        for kind in asked:
            which = [index for index, one in enumerate(kinds) if one == kind]
            some = [one[index] for one in tests for index in which]
            rows(f"{name}: {kind}", some, [truth[index] for index in which], interesting)


def prescreened(environment: Any, policy: Any, args: Any) -> None:
    """The second part: random suggestions at random steps, and at steps that a pre-screening pointed out."""
    from ultra_agents.config import NarrationConfig
    from ultra_agents.evaluation.statistics import proportion_interval
    from ultra_agents.narration import choose_segments
    from ultra_agents.narration.prescreen import by_simulator, by_value
    from ultra_agents.records import Narration, Plan, Suggestion
    from ultra_agents.rollout.collect import collect
    from ultra_agents.rollout.simulators import make_simulators
    from ultra_agents.seeding import Streams

    config = NarrationConfig(segments_per_episode=8)
    found: dict[str, list[tuple[int, int, list[Any]]]] = {"none": [], "value": [], "simulator": []}
    for seed in range(args.seed, args.seed + args.seeds):
        streams = Streams(seed)
        with make_simulators(environment, args.episodes) as simulators:
            seeds = streams.integers(args.episodes, "collect")
            trajectories = collect(policy, environment, simulators, seeds, streams.child("c"), 1250)
        asked: dict[str, list[Any]] = {kind: [] for kind in found}
        asking = dict.fromkeys(found, 0)
        with make_simulators(environment, 16) as simulators:
            for episode in trajectories:
                for segment in choose_segments(episode, environment, config, streams.generator("s", episode.episode)):
                    shown = Narration(segment, "", tuple(range(segment.start, segment.stop, config.stride)), 0)
                    screened = by_simulator(
                        episode,
                        shown,
                        config,
                        environment=environment,
                        policy=policy,
                        simulators=simulators,
                        streams=streams,
                        hold=8,
                        discount=0.99,
                    )
                    asking["simulator"] += screened.env_steps
                    rng = streams.generator("steps", segment.name)
                    anywhere = rng.permutation(np.arange(segment.start, segment.stop)).tolist()
                    pointed = {
                        "none": [],
                        "value": by_value(episode, shown, config).steps,
                        "simulator": screened.steps,
                    }
                    for number in range(3):  # nothing pointed out: anywhere
                        for kind, steps in pointed.items():
                            step = int(steps[number] if number < len(steps) else anywhere[number])
                            draw = streams.generator("action", segment.name, number)
                            names = [
                                n for n, name in enumerate(environment.actions.names) if n != episode.actions[step]
                            ]
                            name = environment.actions.names[names[int(draw.integers(len(names)))]]
                            plan = Plan(((name, int(draw.integers(1, 9))),))
                            asked[kind].append(Suggestion(episode.episode, step, plan))
        for kind, some in asked.items():
            results = measured(environment, policy, trajectories, some, {}, streams.child("tests"), args)
            found[kind].append((asking[kind], sum(r.env_steps for r in results), results))
    print(f"\nrandom actions on Pong, three a segment, {args.seeds} seeds of {args.episodes} episodes\n")
    print(
        "| where to look | suggestions | hold | mean gain | of those held | steps asking | steps testing | per 1000 |"
    )
    print("|---" * 8 + "|")
    for kind, parts in found.items():
        results = [result for _, _, some in parts for result in some]
        held = [result.gain for result in results if result.passed]
        share = proportion_interval(len(held), len(results))
        assert share is not None
        first, second = sum(part[0] for part in parts), sum(part[1] for part in parts)
        print(
            f"| {kind} | {len(results)} | {share.value:.3f} [{share.low:.3f}, {share.high:.3f}] | "
            f"{np.mean([r.gain for r in results]):+.4f} | {np.mean(held or [0]):+.3f} | {first} | {second} | "
            f"{1000 * len(held) / (first + second):.2f} |"
        )


def together(args: Any) -> None:
    """The third part: MountainCar, where no single push shows a gain and the whole table reaches the flag."""
    from ultra_agents.advice import build_table
    from ultra_agents.config import ModulationConfig, VerificationConfig
    from ultra_agents.modulation import ModulationEngine
    from ultra_agents.records import Advice, Plan, Suggestion
    from ultra_agents.registry import create_algorithm, create_environment
    from ultra_agents.rollout.collect import collect
    from ultra_agents.rollout.simulators import make_simulators
    from ultra_agents.seeding import Streams
    from ultra_agents.verification import CounterfactualTester, JointTester

    environment, algorithm = create_environment("mountain-car"), create_algorithm("ppo")
    expert, names = environment.expert(), environment.actions.names
    print(
        "\nsixty rows `push along the velocity` (rule), against it (wrong), or half and half\n`as used`: followed "
        "with chance 0.5 within the radius that hits 65 % of the collected states\n`full`: always, the nearest row"
    )
    print("\n| seed | rows | single: kept | steps | joint | gain | kept | sets | steps |\n" + "|---" * 9 + "|")
    for seed in range(1, args.seeds + 1):
        streams = Streams(seed)
        policy = algorithm.create_policy(
            environment.observation_space, environment.action_space, streams.integer("weights")
        )
        with make_simulators(environment, 16) as simulators:
            trainer = algorithm.trainer(policy, simulators, 50_000, streams.child("start"), None, True)
            while trainer.steps < 50_000:
                trainer.update()
        policy = trainer.policy
        with make_simulators(environment, 8) as simulators:
            episodes = collect(policy, environment, simulators, streams.integers(8, "collect"), streams, 200)
        for kind in ("rule", "half wrong", "wrong"):
            rng, rows = streams.generator("entries"), []
            for number in range(60):
                episode = episodes[int(rng.integers(len(episodes)))]
                step = int(rng.integers(len(episode)))
                right = int(expert(episode.observations[step][None])[0])
                wrong = kind == "wrong" or (kind == "half wrong" and number >= 30)
                action, taken = names[2 - right if wrong else right], names[int(episode.actions[step])]
                plan = Plan(((action, 1),))
                rows.append(Advice(episode.episode, step, plan, 1.0, taken, -1.0, "", "", "", 1.0, kind))

            def build(part: Sequence[Any], force: bool, episodes: Any = episodes, streams: Any = streams) -> Any:
                table = build_table(part, episodes, environment, hit_rate=0.65)
                if force:
                    table = replace(table, radius=np.inf, target=None)
                config = ModulationConfig(probability=1.0 if force else 0.5, until=1.0)
                return ModulationEngine(table, environment.features, "a", config, streams.generator("coins"))

            config = VerificationConfig(**FREE)
            with CounterfactualTester(environment, policy, config, streams, max_tests=1) as tester:
                single = [
                    result
                    for episode in episodes
                    for result in tester.test_all(
                        episode,
                        [Suggestion(r.episode, r.step, r.plan) for r in rows if r.episode == episode.episode],
                    )
                ]
            for force in (False, True):
                with JointTester(
                    environment,
                    policy,
                    VerificationConfig(),
                    streams,
                    partial(build, force=force),
                    streams.integers(16, "joint"),
                ) as joint:
                    found = joint.select(rows)
                kept = f"{len(found.kept)} of {len(rows)}"
                if kind == "half wrong":
                    kept += f", {sum(index >= 30 for index in found.kept)} of them wrong"
                print(
                    f"| {seed} | {kind} | {sum(r.passed for r in single)} | {sum(r.env_steps for r in single)} | "
                    f"{'full' if force else 'as used'} | {found.gain:+.1f} [{found.low:+.1f}, {found.high:+.1f}] "
                    f"{found.stopped} | {kept} | {found.sets} | {found.env_steps} |",
                    flush=True,
                )


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1903)
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--states", type=int, default=4, help="of each episode, with four suggestions each")
    parser.add_argument("--repeats", type=int, default=3, help="tests of the set by each rule, with other uniforms")
    parser.add_argument("--workers", type=int, default=0, help="processes that play the tests of the errors")
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument(
        "--reference", type=Path, help="JSON file to keep the reference gains in, and to take them from"
    )
    parser.add_argument("--seeds", type=int, default=4, help="of prescreening, and starting policies of MountainCar")
    parser.add_argument("--sets", type=int, default=40, help="sets of rules drawn in each world")
    parser.add_argument(
        "--rule-pairs", type=int, default=400, help="paired episodes of the reference of a set of rules"
    )
    parser.add_argument("--rule-worlds", default="corridor,cartpole,mountain-car")
    parser.add_argument("--parts", default="errors,prescreen,joint")
    args = parser.parse_args()

    from ultra_agents.policies import load_policy
    from ultra_agents.registry import create_environment

    environment = create_environment("pong")
    policy = load_policy(environment.policies()["suboptimal"], "pong", environment).policy
    parts = args.parts.split(",")
    if "errors" in parts:
        errors(environment, policy, args)
    if "prescreen" in parts:
        prescreened(environment, policy, args)
    if "joint" in parts:
        together(args)
    if "rules" in parts:
        from _verification_rules import rules_part

        rules_part(args)


if __name__ == "__main__":
    main()
