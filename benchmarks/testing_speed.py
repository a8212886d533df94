"""Do the tests of an episode's suggestions keep the simulators busy? Steps per second beside those of bare stepping.

Bare stepping is the most this machine gives: in each of as many processes, 16 environments built by the plugin are
stepped with random actions by the process that holds them, without messages and without a policy. Testing is
`CounterfactualTester.test_all` on 120 random suggestions for one episode: restoring, the policy, values, statistics
and whatever passes between the processes are in its time.

    python benchmarks/testing_speed.py

Both by turns in short rounds, by the clock and by processor time of all processes, for a shared machine makes seconds
a poor measure. Verdicts must be the same whatever the number of workers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import numpy as np

NUM_ENVS = 16
STEPS = 300
FREE = {"max_steps": 10**12, "max_test_steps": 10**9}


def stepping(pipe: Any, name: str) -> None:
    """A process that steps on demand; answers with its processor time."""
    from ultra_agents.registry import create_environment

    envs: Any = create_environment(name).make(NUM_ENVS)
    envs.reset(seed=list(range(NUM_ENVS)))
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(STEPS)]
    pipe.send("ready")
    while pipe.recv():
        began = time.process_time()
        for row in actions:
            envs.step(row)
        pipe.send(time.process_time() - began)


class Bare:
    """Bare stepping in `count` processes at once."""

    def __init__(self, name: str, count: int) -> None:
        context = get_context("spawn")
        self._pipes, self._processes = [], []
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=stepping, args=(there, name), daemon=True)
            process.start()
            self._pipes.append(here)
            self._processes.append(process)
        for pipe in self._pipes:
            pipe.recv()

    def rates(self) -> Any:
        """Steps per second by the clock and by processor time."""
        began = time.perf_counter()
        for pipe in self._pipes:
            pipe.send(True)
        spent = sum(pipe.recv() for pipe in self._pipes)
        return len(self._pipes) * STEPS * NUM_ENVS / np.array([time.perf_counter() - began, spent])

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.send(False)
        for process in self._processes:
            process.join()


def compare(name: str, workers: Sequence[int], args: argparse.Namespace) -> None:
    """Print a line for each number of workers; 0 tests in a thread of this process."""
    from ultra_agents.config import VerificationConfig
    from ultra_agents.policies import load_policy
    from ultra_agents.records import Plan, Suggestion
    from ultra_agents.registry import create_environment
    from ultra_agents.rollout.collect import collect
    from ultra_agents.rollout.simulators import make_simulators
    from ultra_agents.seeding import Streams
    from ultra_agents.verification import CounterfactualTester

    environment = create_environment(name)
    policy = load_policy(environment.policies()["suboptimal"], name, environment).policy
    streams, names = Streams(args.seed), environment.actions.names
    with make_simulators(environment, 1) as simulators:
        (episode,) = collect(policy, environment, simulators, [7], streams, 1000)
    rng = streams.generator("throughput")
    asked = [
        Suggestion(0, int(step), Plan(((names[int(rng.integers(len(names)))], int(rng.integers(1, 9))),)))
        for step in rng.choice(len(episode), min(args.suggestions, len(episode)), replace=False)
    ]
    config, verdicts, tested = VerificationConfig(**FREE), [], 0
    for count in workers:
        bare, ratios = Bare(name, max(count, 1)), []
        for _ in range(args.rounds):
            with CounterfactualTester(
                environment, policy, config, streams, max_tests=1, workers=count, slots=args.slots
            ) as tester:
                before, began = bare.rates(), np.array([time.perf_counter(), processor_time()])
                verdicts.append(tester.test_all(episode, asked))
                rates = tester.env_steps / (np.array([time.perf_counter(), processor_time()]) - began)
                ratios.append(rates / ((before + bare.rates()) / 2))
                tested = tester.env_steps
        bare.close()
        columns = [
            f"{np.median(found):.2f} ({min(found):.2f} to {max(found):.2f})" for found in zip(*ratios, strict=True)
        ]
        print(f"| {name} | {count} | {tested} | {columns[0]} | {columns[1]} |", flush=True)
    if not all(one == verdicts[0] for one in verdicts):
        raise SystemExit("the results depend on the number of workers")


def processor_time() -> float:
    """Seconds of processor time of this process and its workers; of this one alone where there is no /proc."""
    import os

    total = time.process_time()
    for child in active_children():
        stat = Path(f"/proc/{child.pid}/stat")
        if stat.is_file():
            fields = stat.read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def main() -> None:
    """Compare where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["pong", "hopper"])
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--suggestions", type=int, default=120, help="of one episode")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1903)
    args = parser.parse_args()
    print("steps per second of tests over those of bare stepping: median of rounds (lowest to highest)\n")
    print("| task | workers | steps of a round | by the clock | by processor time |\n|---|---|---|---|---|")
    for name in args.tasks:
        compare(name, args.workers, args)
    print("\nresults identical whatever the number of workers")


if __name__ == "__main__":
    main()
