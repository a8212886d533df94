"""How fast environments step, side by side: this project's ways, Gymnasium's vector environments, and EnvPool.

    python benchmarks/environments.py
    python benchmarks/environments.py --tasks hopper --envs 1 8 --seconds 5

Random actions, one control step a call. All rows of a column are measured in turns, nine rounds, so that what else the
machine does hits them alike. Figures are agent steps per second over all environments (median), in brackets the ratio
to the first row (median over rounds), and where everything happens in this process the microseconds of processor time
per step, which a busy machine changes least. The rows:

  one MjData each       the plugin with MuJoCo's worlds stepped one by one, as it was before `mujoco.batch`
  sync, native, async   the plugin with `vector: sync | native | async`; async in one worker process per CPU core
  gymnasium sync/async  `gymnasium.make_vec` with that mode, resetting in the same step; async up to 32 processes
  ALE vector            `ale_py.vector_env.AtariVectorEnv`, which EnvPool's Atari is the model of (no RAM, no states)
  EnvPool               where it is installed (`pip install envpool`); other numbers for the same seeds, no states

With `--part restored` worlds are put back to stored states in turn, every 16 steps one of them, and saved as often, as
tests of suggestions do. `--part tests` and `--part search` run the tests of an episode and the search for
plans in one process on both ways of stepping MuJoCo, by processor time; verdicts and plans must agree.

Only the plugin's rows can save and restore a state; they agree with one another to the bit, and for MuJoCo with
Gymnasium's.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from rich.console import Console
from rich.table import Table

from ultra_agents.registry import create_environment
from ultra_agents.rollout.simulators import make_simulators

GYMNASIUM = {"pong": "ALE/Pong-v5", "hopper": "Hopper-v5", "half-cheetah": "HalfCheetah-v5"}
ENVPOOL = {"pong-pixels": "Pong-v5", "hopper": "Hopper-v5", "half-cheetah": "HalfCheetah-v5"}
TASKS = ("pong", "pong-pixels", "hopper", "half-cheetah")
ROUNDS = 9
MOST_PROCESSES = 32
Maker = Callable[[int], Any]
Rates = list[tuple[float, float]]
"""By round: steps per second, and microseconds of processor time of this process per step."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--envs", nargs="+", type=int, default=[1, 8, 32, 128])
    parser.add_argument("--part", choices=["stepping", "restored", "tests", "search"], default="stepping")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each cell")
    args = parser.parse_args()
    console = Console(width=130)
    console.print(f"{os.cpu_count()} CPU cores, load {os.getloadavg()[0]:.1f}; steps per second")
    warnings.simplefilter("ignore")
    if args.part in ("tests", "search"):
        from _mujoco_loop import LOOPS
        from _mujoco_verification import compare

        for task in (task for task in args.tasks if task in LOOPS):
            compare(console, task, args.part)
        return
    for task in args.tasks:
        made = makers(task) if args.part == "stepping" else restored(task)
        rates = {count: measure(made, count, args.seconds) for count in args.envs}
        table = Table("way", *(f"{count} env{'s' if count > 1 else ''}" for count in args.envs), title=task)
        for name in made:
            table.add_row(name, *(_cell(rates[count], name) for count in args.envs))
        console.print(table)
        for count in args.envs if args.part == "stepping" else ():
            ours = {
                name: np.median([rate for rate, _ in found])
                for name, found in rates[count].items()
                if name in ("sync", "native", "async")
            }
            console.print(f"  fastest of the plugin's ways at {count:>2}: {max(ours, key=lambda name: ours[name])}")


def _cell(rates: dict[str, Rates], name: str) -> str:
    if name not in rates:
        return "not there"
    rate, core = np.array(rates[name]).T
    ratio = np.median(rate / np.array(next(iter(rates.values())))[:, 0])
    apart = "async" in name
    return f"{np.median(rate):,.0f} ({ratio:.2f}x" + (")" if apart else f", {np.median(core):.1f} us)")


def makers(task: str) -> dict[str, Maker]:
    """Row -> what builds the environments."""
    fields = type(create_environment(task).options).model_fields
    ways = ("sync", "native", "async") if "native" in str(fields["vector"].annotation) else ("sync", "async")
    found: dict[str, Maker] = {way: plugin(task, way) for way in ways}
    if task in ENVPOOL and task != "pong-pixels":
        found = {"one MjData each": loop(task)} | found
    if task in GYMNASIUM:
        found |= {f"gymnasium {mode}": gymnasium_vector(task, mode) for mode in ("sync", "async")}
    if task == "pong-pixels":
        found["ALE vector"] = ale_vector
    if task in ENVPOOL:
        found["EnvPool"] = envpool(ENVPOOL[task])
    return found


def plugin(task: str, way: str) -> Maker:
    """The plugin as the engine steps it."""
    return lambda count: make_simulators(create_environment(task, {"vector": way}), count)


def loop(task: str) -> Maker:
    """The plugin as the engine steps it, with an `MjData` for each world."""
    from _mujoco_loop import LOOPS

    return lambda count: make_simulators(LOOPS[task](LOOPS[task].Options()), count)


class Restored:
    """Simulators of which, every 16 steps, each is saved once and put back to a stored state once."""

    def __init__(self, simulators: Any) -> None:
        self._simulators, self._steps, self._states = simulators, 0, list[bytes]()
        self.single_action_space = simulators.single_action_space

    def reset(self) -> None:
        """Begin, and store the states to be put back."""
        count = self._simulators.num_envs
        self._simulators.reset(seed=list(range(count)))
        self._states = self._simulators.snapshot(range(count))

    def step(self, actions: Any) -> None:
        """One step, with what is due of saving and putting back."""
        self._simulators.step(actions)
        self._steps += 1
        count = self._simulators.num_envs
        due = [index for index in range(count) if (self._steps + index) % 16 == 0]
        if due:
            self._simulators.snapshot(due)
            self._simulators.restore(due, [self._states[index] for index in due])

    def close(self) -> None:
        """Close them."""
        self._simulators.close()


def restored(task: str) -> dict[str, Maker]:
    """Row -> what builds the environments, for those that can save and restore."""
    ways = {"one MjData each": loop(task)} if task in ENVPOOL and task != "pong-pixels" else {}
    ways |= {"sync": plugin(task, "sync")}
    return {name: lambda count, make=make: Restored(make(count)) for name, make in ways.items()}


def gymnasium_vector(task: str, mode: str) -> Maker:
    """`gymnasium.make_vec`; Pong's observations are the RAM."""
    extra: dict[str, Any] = {"obs_type": "ram", "repeat_action_probability": 0.0} if task == "pong" else {}

    def make(count: int) -> Any:
        if task == "pong":
            import ale_py

            gymnasium.register_envs(ale_py)
        if mode == "async" and count > MOST_PROCESSES:
            return None
        return gymnasium.make_vec(
            GYMNASIUM[task],
            num_envs=count,
            vectorization_mode=mode,
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
            **extra,
        )

    return make


def ale_vector(count: int) -> Any:
    """ALE's own vector environment."""
    from ale_py.vector_env import AtariVectorEnv

    return AtariVectorEnv("pong", count, use_fire_reset=False)


def envpool(env_id: str) -> Maker:
    """EnvPool, if it is there."""

    def make(count: int) -> Any:
        try:
            import envpool as pool
        except ImportError:
            return None
        return pool.make(env_id, env_type="gymnasium", num_envs=count, seed=1)

    return make


def measure(made: dict[str, Maker], count: int, seconds: float) -> dict[str, Rates]:
    """Steps per second over `count` environments, and processor time per step, by row and round."""
    built = {name: envs for name, make in made.items() if (envs := make(count)) is not None}
    batches = {name: _actions(envs, count) for name, envs in built.items()}
    for name, envs in built.items():
        envs.reset()
        for batch in batches[name][:8]:
            envs.step(batch)
    rates: dict[str, Rates] = {name: [] for name in built}
    for _ in range(ROUNDS):
        for name, envs in built.items():
            steps, began, busy = 0, time.perf_counter(), time.process_time()
            while (spent := time.perf_counter() - began) < seconds / ROUNDS or steps == 0:
                envs.step(batches[name][steps % len(batches[name])])
                steps += 1
            rates[name].append((steps * count / spent, 1e6 * (time.process_time() - busy) / (steps * count)))
    for envs in built.values():
        envs.close()
    return rates


def _actions(envs: Any, count: int) -> list[Any]:
    """64 batches of random actions."""
    # EnvPool's `action_space` is that of one environment.
    single: Any = getattr(envs, "single_action_space", None) or envs.action_space
    rng = np.random.default_rng(0)
    if isinstance(single, gymnasium.spaces.Discrete):
        return [rng.integers(0, single.n, count) for _ in range(64)]
    return [rng.uniform(-1, 1, (count, *single.shape)).astype(single.dtype) for _ in range(64)]


if __name__ == "__main__":
    main()
