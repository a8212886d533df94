"""What does a test of a suggestion cost, how often is it wrong, and does it keep the simulators busy? Pong.

A fixed set of suggestions (oracle and random) on episodes of the shipped `suboptimal` policy is tested three ways: the
naive test (4 pairs of 120 steps, as in the first sketch of the method), the default test, and a long reference test of
64 pairs of 300 steps under other random numbers, which says what is true:

    python benchmarks/verification.py --workers 2 --reference /tmp/reference.json

The reference takes half an hour on two slow cores; where a file is named it is kept there, and suggestions that are
not in the file are then left out. Prints steps a suggestion, false accepts, misses and precision with 95 % intervals
(repeats count as independent, which makes them too narrow), and the environment steps per second of testing beside
those of bare stepping; then, on MountainCar, what tests of single rows and of whole sets accept. `--parts` chooses
among `errors`, `throughput` and `joint`.
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

NAIVE = {"screen_pairs": 0, "min_pairs": 4, "max_pairs": 4, "horizon": 120, "noise": 0.0, "min_gain": 0.0}
LONG = {"screen_pairs": 0, "min_pairs": 64, "max_pairs": 64, "horizon": 300, "noise": 0.0, "min_gain": 0.0}
FREE = {"max_steps": 10**12, "max_test_steps": 10**9}


def suggestions_for(environment: Any, trajectories: Sequence[Any], streams: Any) -> dict[str, list[Any]]:
    """At nine steps of each episode where the expert differs: its action while it keeps to it, and a random one."""
    from ultra_agents.records import Suggestion

    expert, names = environment.expert(), environment.actions.names
    found: dict[str, list[Any]] = {"oracle": [], "random": []}
    for episode in trajectories:
        rng, wanted = streams.generator("suggestions", episode.episode), np.asarray(expert(episode.observations))
        for step in sorted(rng.permutation(np.flatnonzero(wanted != episode.actions))[:9].tolist()):
            changes = np.flatnonzero(wanted[step : step + 8] != wanted[step])
            hold = int(changes[0]) if len(changes) else len(wanted[step : step + 8])
            others = [action for action in range(3) if action != episode.actions[step]]
            other, other_hold = others[int(rng.integers(2))], int(rng.integers(1, 9))
            found["oracle"].append(Suggestion(episode.episode, step, names[int(wanted[step])], hold, ""))
            found["random"].append(Suggestion(episode.episode, step, names[other], other_hold, ""))
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

    config, results = VerificationConfig(**{**options, **FREE}), {}
    with CounterfactualTester(
        environment, policy, config, streams, max_tests=1, workers=args.workers, slots=args.slots
    ) as tester:
        for episode in trajectories:
            of_it = [one for one in asked if one.episode == episode.episode]
            began = time.monotonic()
            results.update(zip(of_it, tester.test_all(episode, of_it), strict=True))
            if options is LONG:
                print(f"  reference, episode {episode.episode}: {time.monotonic() - began:.0f} s", flush=True)
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
        f"{share(~passed, true > interesting)} | {share(~passed, true > 4 * interesting)} | {gain} | {per_step:.3f} |"
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
        trajectories = collect(policy, environment, simulators, seeds, streams.child("c"), 20_000)
    asked = suggestions_for(environment, trajectories, streams)
    everything = asked["oracle"] + asked["random"]
    spread = float(np.mean([returns_spread(one.rewards, 0.99) for one in trajectories]))
    print(
        f"{len(asked['oracle'])} oracle and {len(asked['random'])} random suggestions; "
        f"episodes' returns {[one.episode_return for one in trajectories]}"
    )

    def test(which: Sequence[Any], options: Any, name: str) -> list[Any]:
        return measured(environment, policy, trajectories, which, options, streams.child(name), args)

    def address(one: Any) -> str:
        return f"{one.episode}:{one.step}:{one.action}:{one.hold}"

    known = {}
    if args.reference is not None and args.reference.is_file():
        known = json.loads(args.reference.read_text())
        asked = {kind: [one for one in part if address(one) in known] for kind, part in asked.items()}
        if not all(asked.values()):
            raise SystemExit(f"{args.reference} is of other suggestions: remove it")
    else:
        for one, result in zip(everything, test(everything, LONG, "reference"), strict=True):
            known[address(one)] = result.gain
        if args.reference is not None:
            args.reference.write_text(json.dumps(known))
    everything = asked["oracle"] + asked["random"]
    truth = [known[address(one)] for one in everything]
    interesting = 0.1 * spread
    true = np.array(truth)
    print(
        f"reference gains: {np.mean(true <= 0):.0%} not positive, {np.sum(true > interesting)} good (above "
        f"{interesting:.3f}, the default min_gain), {np.sum(true > 4 * interesting)} very good (above 4 times that)\n"
    )
    columns = ("test", "median steps", "mean", "accepted of bad", "bad of accepted", "missed of good")
    print(f"| {' | '.join(columns)} | missed of very good | gain accepted | gain per 1000 steps |")
    print("|---" * 9 + "|")
    numbers = range(args.repeats)
    if args.naive_repeats:
        often = range(args.naive_repeats)
        naive = [r for n in often for kind in asked for r in test(asked[kind], NAIVE, f"naive-{n}")]
        rows("naive, 4 pairs of 120", naive, truth, interesting)
    alone = [r for n in numbers for kind in asked for r in test(asked[kind], {}, f"new-{n}")]
    rows("default", alone, truth, interesting)
    for kind in asked:
        part = [
            result for result, one in zip(alone, everything * args.repeats, strict=True) if one in set(asked[kind])
        ]
        where = [value for value, one in zip(truth, everything, strict=True) if one in set(asked[kind])]
        rows(f"default, {kind} only", part, where, interesting)
    shared = test(everything, {}, "new-0")
    rows("default, base arm shared by both proposers", shared, truth, interesting)
    same = all((a.gain, a.passed) == (b.gain, b.passed) for a, b in zip(alone, shared, strict=False))
    print(f"\nsharing the base arm leaves every gain and verdict as it was: {same}")


def throughput(environment: Any, policy: Any, args: Any) -> None:
    """The second part: environment steps per second of tests and of bare stepping, in turn."""
    from ultra_agents.config import VerificationConfig
    from ultra_agents.records import Suggestion
    from ultra_agents.rollout.collect import collect
    from ultra_agents.rollout.simulators import make_simulators
    from ultra_agents.seeding import Streams
    from ultra_agents.verification import CounterfactualTester

    streams, names = Streams(args.seed), environment.actions.names
    with make_simulators(environment, 1) as simulators:
        (episode,) = collect(policy, environment, simulators, [7], streams, 2000)
    rng = streams.generator("throughput")
    asked = [
        Suggestion(0, int(step), names[int(rng.integers(3))], int(rng.integers(1, 9)), "")
        for step in rng.choice(len(episode), args.suggestions, replace=False)
    ]
    print("\n| workers | bare steps/s | test steps/s | ratio, each round | median ratio |\n|---|---|---|---|---|")
    verdicts = []
    for workers in (1, 2):
        ratios, rates = [], []
        for _ in range(args.rounds):
            with make_simulators(environment, 16 * workers, workers) as simulators:
                simulators.reset(seed=list(range(simulators.num_envs)))
                count = 3000 // 16
                actions = rng.integers(0, 3, (count, simulators.num_envs))
                began = time.perf_counter()
                for row in actions:
                    simulators.step(row)
                bare = count * simulators.num_envs / (time.perf_counter() - began)
            config = VerificationConfig(**FREE)
            with CounterfactualTester(
                environment, policy, config, streams, max_tests=1, workers=workers, slots=args.slots
            ) as tester:
                began = time.perf_counter()
                results = tester.test_all(episode, asked)
                rate = tester.env_steps / (time.perf_counter() - began)
            verdicts.append([(one, result) for one, result in zip(asked, results, strict=True)])
            ratios.append(rate / bare)
            rates.append((bare, rate))
        bare, rate = np.median(rates, axis=0)
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {workers} | {bare:.0f} | {rate:.0f} | {each} | {np.median(ratios):.2f} |", flush=True)
    print(f"\nresults identical in all {len(verdicts)} runs: {all(one == verdicts[0] for one in verdicts)}")


def together(args: Any) -> None:
    """The third part: MountainCar, where no single push shows a gain and the whole table reaches the flag."""
    from ultra_agents.advice import build_table
    from ultra_agents.config import ModulationConfig, VerificationConfig
    from ultra_agents.modulation import ModulationEngine
    from ultra_agents.records import Advice, Suggestion
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
                rows.append(Advice(episode.episode, step, action, 1, 1.0, taken, -1.0, "", "", "", 1.0, kind))

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
                        [
                            Suggestion(r.episode, r.step, r.action, r.hold, "")
                            for r in rows
                            if r.episode == episode.episode
                        ],
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
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--episodes", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5, help="default tests of the set, each with other uniforms")
    parser.add_argument("--naive-repeats", type=int, default=2, help="the same of the naive test")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--suggestions", type=int, default=60, help="of one episode, for the throughput")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--reference", type=Path, help="JSON file to keep the reference gains in, and to take them from"
    )
    parser.add_argument("--seeds", type=int, default=4, help="starting policies of MountainCar")
    parser.add_argument("--parts", default="errors,throughput,joint")
    args = parser.parse_args()

    from ultra_agents.policies import load_policy
    from ultra_agents.registry import create_environment

    environment = create_environment("pong")
    policy = load_policy(environment.policies()["suboptimal"], "pong", environment).policy
    parts = args.parts.split(",")
    if "errors" in parts:
        errors(environment, policy, args)
    if "throughput" in parts:
        throughput(environment, policy, args)
    if "joint" in parts:
        together(args)


if __name__ == "__main__":
    main()
