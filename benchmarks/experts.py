"""Are the experts of the MuJoCo tasks strong where the sub-optimal policies lead, and can these learn it from them?

    python benchmarks/experts.py --task hopper
    python benchmarks/experts.py --task hopper --expert hopper_expert.safetensors other.safetensors

For each expert file, over fresh episodes: the return from reset (sampled actions, and the likeliest, which are the
oracle's); the return over the next 300 steps from states of the sub-optimal policy's own episodes, in pairs with that
policy under the same draws; and what clones of it are worth. A clone is the sub-optimal policy after it has learnt
the expert's likeliest actions (`Algorithm.imitate`), which leaves its spread alone. The `perfect` one acts as the
expert under that spread, so no clone can be much better; `at its states` learnt in the states of the sub-optimal
policy's episodes only; `DAgger` in those the clones themselves came to (arXiv 1011.0686: each round adds episodes of
the newest clone). Scores of clones are of sampled and of likeliest actions.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _keep import FOLDER
from _weak_states import AsCloned, returns_from, states_of, weak_episodes, weak_policy

from ultra_agents.contracts import Demonstrations, Environment, Policy
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.policies import load_policy
from ultra_agents.records import Array, FloatArray
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.seeding import Streams

TASKS = ("hopper", "walker2d", "half-cheetah", "reacher")
STEPS = 300


def main() -> None:
    """Measure each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="hopper")
    parser.add_argument("--expert", type=Path, nargs="*", help="policy files; the one that ships is the default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=32, help="for each score from reset")
    parser.add_argument("--states", type=int, default=128, help="of the sub-optimal policy, played on from")
    parser.add_argument("--rounds", type=int, default=6, help="of the clone that also sees its own states")
    parser.add_argument("--round-episodes", type=int, default=8, help="episodes labelled in a round")
    args = parser.parse_args()
    environment, streams = create_environment(args.task), Streams(50_000 + args.seed)
    paths = args.expert or [FOLDER / f"{args.task.replace('-', '_')}_expert.safetensors"]
    weak = weak_policy(environment, args.task)
    with make_simulators(environment, 16) as simulators:
        child = streams.child("states")
        states = states_of(weak_episodes(weak, environment, simulators, child, 16), args.states, child)

        def from_states(policy: Policy, deterministic: bool) -> FloatArray:
            at = streams.child("from states")
            return returns_from(policy, environment, simulators, states, at, STEPS, deterministic)

        def score(policy: Any, deterministic: bool = False) -> str:
            at = streams.child("score")
            seeds = at.integers(args.episodes, "reset")
            return told(np.array(evaluate_returns(policy, environment, simulators, seeds, at, deterministic).values))

        base = from_states(weak, False)
        print(f"sub-optimal: from reset {score(weak)}; {STEPS} steps from its own states {told(base)}", flush=True)
        for path in paths:
            expert = load_policy(path, args.task, environment).policy
            print(f"{path}\n  from reset: sampled {score(expert)}, likeliest {score(expert, True)}", flush=True)
            for name, deterministic in (("sampled", False), ("likeliest", True)):
                made = from_states(expert, deterministic)
                print(f"  from its states, {name}: {told(made)}, minus sub-optimal {told(made - base)}", flush=True)
            print(f"  perfect clone: {score(AsCloned(expert, weak))}", flush=True)
            cloning = Cloning(environment, simulators, weak, expert, streams.child("clone"), args.round_episodes)
            for name, clone in cloning.clones(args.rounds):
                print(f"  clone, {name}: sampled {score(clone)}, likeliest {score(clone, True)}", flush=True)


class Cloning:
    """Lets copies of a policy learn an expert's likeliest actions.

    Args:
        environment: The plugin.
        simulators: Of it.
        weak: Where clones start.
        expert: Who is asked.
        streams: Source of all draws.
        episodes: Played in a round.
    """

    def __init__(
        self,
        environment: Environment,
        simulators: Simulators,
        weak: Policy,
        expert: Policy,
        streams: Streams,
        episodes: int,
    ) -> None:
        self._environment, self._simulators, self._weak, self._expert = environment, simulators, weak, expert
        self._streams, self._episodes = streams, episodes
        self._algorithm = create_algorithm("ppo", {"log_std_floor": -2.5})

    def clones(self, rounds: int) -> Iterator[tuple[str, Policy]]:
        """Name and policy: in the states of the starting policy, of as many episodes; then of each round but one."""
        yield "at its states", self._learnt([self._seen(self._weak, number) for number in range(rounds)])
        seen: list[Array] = []
        clone = self._weak
        for number in range(rounds):
            seen.append(self._seen(clone, number))
            clone = self._learnt(seen)
            if number:
                yield f"DAgger, {number + 1} rounds", clone

    def _seen(self, policy: Policy, number: int) -> Array:
        child = self._streams.child("round", number)
        played = weak_episodes(policy, self._environment, self._simulators, child, self._episodes)
        return np.concatenate([episode.observations for episode in played])

    def _learnt(self, seen: Sequence[Array]) -> Policy:
        observations = np.concatenate(list(seen))
        actions = self._expert.act(observations, deterministic=True)
        shown = Demonstrations(observations, actions, np.ones(len(actions)), observations[:0])
        return self._algorithm.imitate(self._weak, shown, self._streams.child("learn", len(seen)))


def told(values: FloatArray) -> str:
    """Mean and its standard error."""
    return f"{np.mean(values):.1f} +- {np.std(values, ddof=1) / math.sqrt(len(values)):.1f}"


if __name__ == "__main__":
    main()
