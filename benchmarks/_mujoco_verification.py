"""Tests of suggestions and the search for plans on both ways of stepping MuJoCo, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _mujoco_loop import LOOPS
from rich.console import Console

from ultra_agents.config import SearchConfig, VerificationConfig
from ultra_agents.policies import load_policy
from ultra_agents.records import Plan, Suggestion
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.verification import CounterfactualTester
from ultra_agents.verification.search import PlanSearch, SearchTerms

ROUNDS, SUGGESTIONS, SEARCHED, SEED = 7, 40, 3, 1903
FREE = {"max_steps": 10**12, "max_test_steps": 10**9}


def compare(console: Console, task: str, part: str) -> None:
    """Print how many steps a second of processor time brings, `mujoco.batch` over one `MjData` each.

    Raises:
        SystemExit: They do not find the same.
    """
    plain = create_environment(task)
    streams = Streams(SEED)
    policy = load_policy(plain.policies()["suboptimal"], task, plain).policy
    with make_simulators(plain, 1) as simulators:
        (episode,) = collect(policy, plain, simulators, [7], streams, 1000)
    ways = {"one MjData each": LOOPS[task](LOOPS[task].Options()), "mujoco.batch": plain}
    run: Callable[..., tuple[int, Any]] = _tests if part == "tests" else _search
    rates: dict[str, list[float]] = {name: [] for name in ways}
    found: list[Any] = []
    for _ in range(ROUNDS):
        for name, environment in ways.items():
            began = time.process_time()
            steps, told = run(environment, policy, episode, streams)
            rates[name].append(steps / (time.process_time() - began))
            found.append(told)
    if any(told != found[0] for told in found):
        raise SystemExit(f"{part} of {task} differ")
    ratios = np.array(rates["mujoco.batch"]) / np.array(rates["one MjData each"])
    console.print(
        f"{task}, {part}: mujoco.batch {np.median(ratios):.2f} times as fast as one MjData each "
        f"({ratios.min():.2f} to {ratios.max():.2f}), {np.median(rates['mujoco.batch']):,.0f} steps/s; same results"
    )


def _tests(environment: Any, policy: Any, episode: Any, streams: Streams) -> tuple[int, Any]:
    rng, names = np.random.default_rng(0), environment.actions.names
    asked = [
        Suggestion(0, int(step), Plan(((names[int(rng.integers(len(names)))], int(rng.integers(1, 9))),)))
        for step in rng.choice(len(episode), min(SUGGESTIONS, len(episode)), replace=False)
    ]
    with CounterfactualTester(environment, policy, VerificationConfig(**FREE), streams, max_tests=1) as tester:
        verdicts = tester.test_all(episode, asked)
        return tester.env_steps, verdicts


def _search(environment: Any, policy: Any, episode: Any, streams: Streams) -> tuple[int, Any]:
    terms = SearchTerms(SearchConfig(), 2, 1, 6, 12, 0.99, 0.1, 1)
    with PlanSearch(environment, policy, terms, streams) as search:
        found = [search.find(episode, step) for step in range(0, len(episode), len(episode) // SEARCHED)]
        return search.env_steps, found
