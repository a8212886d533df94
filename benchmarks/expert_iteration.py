"""How many accepted segments of a search does it take to move Hopper, learnt by a copy of the policy?

    python benchmarks/expert_iteration.py --seeds 0 1

For each seed the simulator searches plans in many states of episodes of the shipped `suboptimal` policy (`proposer:
search`), tests them, and keeps those that hold: a pool, whose environment steps are told. Of the pool the first 8, 32,
128 and all are replayed and cloned into copies of the policy:

    equal, gain           every demonstrated step counts alike, or by its plan's measured gain
    equal+s, gain+s       the same with `clone_spread: true`: the spread of the actions is learnt as well

Each copy plays 32 fresh paired episodes against the policy, which decide nothing and are not charged. Beside the gain:
how nearly policy and copy do what was demonstrated in the segments learnt from and in those of the pool left out
(`agreed`: 1 at best, 0 for the best constant), how far the copy's likeliest action moved in the policy's own states,
and the copy's spread. Two rows need no search: the policy acting without its noise, and `spread`, a copy that learnt
only how narrow the policy's likeliest actions are. `--rounds N` runs N rounds of the product's own loop instead
(`imitation.iterations`). Finished cells below `--out` are read back.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (8, 32, 128)
WAYS = {"equal": ("equal", False), "gain": ("gain", False), "equal+s": ("equal", True), "gain+s": ("gain", True)}
FRESH = 32
SEARCH = {"population": 8, "rounds": 2, "elites": 2, "horizon": 16, "max_steps": 600, "total_steps": 100_000_000}


def settings(seed: int, episodes: int, **changes: Any) -> dict[str, Any]:
    """A run on Hopper that searches."""
    return {
        "name": f"pool-{seed}",
        "seed": seed,
        "environment": {"name": "hopper"},
        "policy": {"shipped": "suboptimal"},
        "proposer": "search",
        "methods": ["ultra-a"],
        "collect": {"episodes": episodes},
        "narration": {"segments_per_episode": 6, "segment_steps": 60},
        "agents": {
            "max_critical": 4, "max_hold": 6, "max_moves": 4, "max_revisions": 0, "search": SEARCH, "concurrency": 24,
        },
        "verification": {"decide": "single", "max_steps": 100_000_000, "slots": 256},
        "refine": {"steps": 10_000_000, "workers": 0},
        "evaluate": {"video": False},
        **changes,
    }  # fmt: skip


def run(out: Path, config: dict[str, Any], last: str) -> Any:
    """The run's folder, with every stage up to `last` done."""
    from ultra_agents.config import parse_config
    from ultra_agents.errors import Interrupted
    from ultra_agents.events import ignore
    from ultra_agents.pipeline import run_pipeline
    from ultra_agents.runs import RunFolder

    path, whole = out / config["name"], parse_config(config, "benchmark")
    folder = RunFolder.open(path) if (path / "state.json").is_file() else RunFolder.create(out, whole)
    if folder.stage_done(last) is None:
        with folder.lock():
            try:
                until = "measure" if last == "measure" else None
                run_pipeline(folder, folder.config, ignore, lambda: folder.stage_done(last) is not None, until)
            except Interrupted:
                pass
    return folder


def cells(out: Path, seed: int, episodes: int) -> Iterator[dict[str, Any]]:
    """The copies of one seed, each row when it is there."""
    from ultra_agents import stages
    from ultra_agents.events import ignore
    from ultra_agents.stages.explain import rows_of_table
    from ultra_agents.stages.findings import Explained
    from ultra_agents.stages.keeping import WithCopy

    folder = run(out, settings(seed, episodes), "measure")
    kept = out / f"copies-{seed}.json"
    rows: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    context = stages.run_context(folder, folder.config, ignore, lambda: False)
    context = context.starting_with(stages.starting_policy(context))
    trajectories = stages.Episodes(context).read(folder.stage_done("collect")["value"])
    explained = WithCopy(context, Explained, "tested-together").read(folder.stage_done("explain")["value"])
    pool = rows_of_table(folder.config, explained.explanations)
    order = np.random.default_rng(seed).permutation(len(pool))
    pool = [pool[index] for index in order]
    tested = sum(attempt.test is not None for one in explained.explanations for attempt in one.attempts)
    spent = sum(map(len, trajectories)) + sum(one.env_steps for one in explained.explanations)
    print(
        f"# seed {seed}: {len(pool)} of {tested} tested suggestions held, {spent:,} environment steps in all",
        flush=True,
    )
    bench = Bench(context, trajectories, pool)
    sizes = [*(size for size in SIZES if size < len(pool)), len(pool)]
    wanted = [("-", 0), ("spread", 0), *((way, size) for size in sizes for way in WAYS)]
    for way, size in wanted:
        key = f"{way} {size}"
        if key not in rows:
            rows[key] = {"seed": seed, "way": way, "size": size, "pool": len(pool), "spent": spent}
            rows[key] |= bench.measured(way, size)
            kept.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        yield rows[key]


class Bench:
    """Makes copies from a pool of advice, and measures them."""

    def __init__(self, context: Any, trajectories: Sequence[Any], pool: Sequence[Any]) -> None:
        from ultra_agents.stages.imitate import Imitator

        self.context, self.pool = context, pool
        self.visited = np.concatenate([one.observations for one in trajectories])
        self._imitator = Imitator(context, trajectories)

    def measured(self, way: str, size: int) -> dict[str, Any]:
        """One row: the copy learnt, and what it is worth."""
        from dataclasses import replace

        from ultra_agents.contracts import Demonstrations, agreed
        from ultra_agents.stages.imitate import weights_of

        context, policy = self.context, self.context.policy
        if way == "-":
            gains, mine = self._paired(WithoutNoise(policy))
            return {"return": float(np.mean(mine)), "gain": float(np.mean(gains)), "error": _error(gains)}
        spread = way == "spread" or WAYS[way][1]
        options = context.algorithm.options.model_copy(update={"clone_spread": spread})
        algorithm = type(context.algorithm)(options)
        if way == "spread":
            own = policy.act(self.visited, deterministic=True)
            made = Demonstrations(self.visited, own, np.ones(len(own)), self.visited[:0])
        else:
            some = self.pool[:size]
            made = self._imitator.demonstrations(some)
            lengths = [len(self._imitator.demonstrations([row])) for row in some]
            made = replace(made, weights=weights_of(some, lengths, WAYS[way][0]))
        copy = algorithm.imitate(policy, made, context.streams.child("benchmark", "clone"))
        gains, mine = self._paired(copy)
        before, after = self._imitator.agreement(made, copy)
        found = {
            "return": float(np.mean(mine)),
            "gain": float(np.mean(gains)),
            "error": _error(gains),
            "steps": len(made),
            "agreed": [before, after],
            "moved": float(
                np.abs(
                    copy.act(self.visited, deterministic=True) - policy.act(self.visited, deterministic=True)
                ).mean()
            ),
            "spread": float(np.exp(copy.log_std.detach().numpy()).mean()),
        }
        rest = self.pool[size:][:64]
        if way != "spread" and rest:
            others = self._imitator.demonstrations(rest)
            acts = (one.act(others.observations, deterministic=True) for one in (policy, copy))
            found["left out"] = [agreed(each, others.actions) for each in acts]
        return found

    def _paired(self, copy: Any) -> tuple[list[float], list[float]]:
        """Paired differences of return, and the copy's own returns."""
        from ultra_agents.seeding import Streams
        from ultra_agents.verification.paired import Budget, Entrant, Episodes, Horizon

        context = self.context
        both = Entrant(context.policy), Entrant(copy)
        streams = Streams(10_000 + context.config.seed).child("fresh")
        horizon = Horizon(1000, 1.0, value_at_truncation=False)
        with Episodes(context.environment, context.policy, streams, horizon, Budget(10**9), width=FRESH) as episodes:
            episodes.extend(both, FRESH)
        return np.subtract(both[1].returns, both[0].returns).tolist(), list(both[1].returns)


def WithoutNoise(policy: Any) -> Any:
    """The policy's likeliest action, always."""
    from ultra_agents.contracts import Policy

    class Likeliest(Policy):
        stochastic = False

        def act(self, observations: Any, rng: Any = None, deterministic: bool = False) -> Any:
            return policy.act(observations, deterministic=True)

        def act_with_uniforms(self, observations: Any, uniforms: Any) -> Any:
            return policy.act(observations, deterministic=True)

        def value(self, observations: Any) -> Any:
            return policy.value(observations)

        def state(self) -> Any:
            return policy.state()

    return Likeliest()


def _error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


def rounds(out: Path, seed: int, episodes: int, count: int, weights: str, spread: bool) -> None:
    """The product's loop, a line for each round."""
    name = f"rounds-{weights}{'-s' if spread else ''}-{seed}"
    config = settings(seed, episodes, name=name, imitation={"iterations": count, "weights": weights, "mode": "better"})
    config["verification"]["joint_max_steps"] = 40_000
    config["refine"]["algorithm"] = {"name": "ppo", "options": {"clone_spread": spread}}
    folder = run(out, config, f"iterate {count}")
    first, found = (
        folder.stage_done("imitate")["value"],
        [folder.stage_done(f"iterate {n}") for n in range(2, count + 1)],
    )
    print(f"{name}: round 1: {first['headline']}; {first['env_steps']:,} steps of learning and comparing")
    for one in (done["value"] for done in found if done is not None):
        spent = one["collecting"] + one["testing"] + one["imitating"]
        print(f"{name}: round {one['number']}: {one['headline']}; {spent:,} steps", flush=True)


def main() -> None:
    """Run what is missing, print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/expert-iteration"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--episodes", type=int, default=40, help="searched of each seed; of each round with --rounds")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--weights", choices=["equal", "gain"], default="gain", help="with --rounds")
    parser.add_argument("--spread", action="store_true", help="with --rounds: learn the spread as well")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.rounds:
        for seed in args.seeds:
            rounds(args.out, seed, args.episodes, args.rounds, args.weights, args.spread)
        return
    columns = "seed", "segments", "learnt", "steps shown", "gain, s.e.", "return", "agreed, before and after"
    print(f"| {' | '.join((*columns, 'left out', 'moved', 'spread'))} |")
    print("|---" * 10 + "|")
    for seed in args.seeds:
        for row in cells(args.out, seed, args.episodes):
            pairs = (" to ".join(f"{one:.2f}" for one in row.get(key, ())) for key in ("agreed", "left out"))
            print(
                f"| {seed} | {row['size']} | {row['way']} | {row.get('steps', 0)} | {row['gain']:+,.0f} "
                f"({row['error']:.0f}) | {row['return']:,.0f} | {' | '.join(pairs)} | {row.get('moved', 0):.3f} | "
                f"{row.get('spread', 0):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
