"""The trainers that `train.py` compares, each in a process of its own: told to go, it trains for so many seconds.

All meet this project's environments through the same simulators, with the same hyperparameters (`Settings`). SB3 and
SBX get them through `Adaptor`, which adds a few microseconds a step. `cleanrl` is written here in the structure of
CleanRL's `ppo.py` and `ppo_continuous_action.py` from the algorithm's description: one storage tensor per quantity,
one network call per step, minibatches by index, one Adam over actor and critic.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of everybody; `pixels` is for the convolutional network."""

    num_envs: int = 16
    num_steps: int = 128
    epochs: int = 4
    minibatches: int = 16
    learning_rate: float = 1e-3
    ent_coef: float = 0.01

    @property
    def rollout(self) -> int:
        """Environment steps per update."""
        return self.num_envs * self.num_steps


VECTOR, PIXELS = Settings(), Settings(num_envs=8, minibatches=4, learning_rate=2.5e-4)
Train = Callable[[], int]
"""Trains a little; environment steps made."""


def settings(task: str) -> Settings:
    """Of a task."""
    return PIXELS if task == "pong-pixels" else VECTOR


def simulators(task: str, workers: int) -> Any:
    """The environments all are given."""
    from ultra_agents.registry import create_environment
    from ultra_agents.rollout.simulators import make_simulators

    return make_simulators(create_environment(task), settings(task).num_envs, workers)


def bound(task: str, sims: Any, seed: int) -> Train:
    """Nothing but stepping, with random actions."""
    from gymnasium.spaces import Discrete

    rng, space, n = np.random.default_rng(seed), sims.single_action_space, sims.num_envs
    discrete = isinstance(space, Discrete)
    shape = (64, n) if discrete else (64, n, *space.shape)
    batches = rng.integers(0, space.n, shape) if discrete else rng.uniform(-1, 1, shape).astype(np.float32)
    sims.reset(seed=list(range(n)))

    def train() -> int:
        if hasattr(sims, "send_half"):  # the fastest way to step: neither half waits for the other
            for index in range(64):
                for half, envs in enumerate(sims.halves):
                    if index:
                        sims.receive_half(half)
                    sims.send_half(half, batches[index][envs])
            for half in range(len(sims.halves)):
                sims.receive_half(half)
        else:
            for batch in batches:
                sims.step(batch)
        return 64 * n

    return train


def ours(
    task: str, sims: Any, seed: int, entries: int = 0, total: int = 10**9, autograd: bool = False, **options: Any
) -> Train:
    """`plugins/algorithms/ppo`, with a table of advice of `entries` rows if there are any.

    With `autograd` the gradient of tanh networks comes from PyTorch instead of the formulas in `ppo/mlp.py`.
    """
    from ultra_agents.registry import create_algorithm
    from ultra_agents.seeding import Streams

    s = settings(task)
    own = {"num_steps": s.num_steps, "update_epochs": s.epochs, "num_minibatches": s.minibatches}
    own |= {"learning_rate": s.learning_rate, "ent_coef": s.ent_coef, "anneal_lr": False, "target_kl": None}
    algorithm = create_algorithm("ppo", {**own, **options})
    policy = algorithm.create_policy(sims.single_observation_space, sims.single_action_space, seed)
    modulation = advised(sims, entries) if entries else None
    trainer = algorithm.trainer(policy, sims, total, Streams(seed), modulation, fresh=True)
    if autograd:
        from ultra_agents_plugins.algorithms.ppo.autograd import AutogradLearner

        trainer._learner = AutogradLearner(trainer.policy, trainer.options)

    def train() -> int:
        before = trainer.steps
        trainer.update()
        return trainer.steps - before

    return train


def advised(sims: Any, entries: int) -> Any:
    """An engine over a table of `entries` rows near states random actions visit; it aims at a tenth of all states."""
    from ultra_agents.advice import AdviceTable
    from ultra_agents.config import ModulationConfig
    from ultra_agents.modulation import ModulationEngine

    rng, space, environment = np.random.default_rng(0), sims.single_action_space, sims.environment
    space.seed(0)
    seen = [sims.reset(seed=list(range(sims.num_envs)))[0]]
    for _ in range(300):
        seen.append(sims.step(np.stack([space.sample() for _ in range(sims.num_envs)]))[0])
    visited = environment.features(np.concatenate(seen)).astype(np.float64)
    scale = np.where(visited.std(0) > 1e-8, visited.std(0), 1.0)
    rows = visited[rng.integers(len(visited), size=entries)] / scale
    actions = np.stack([space.sample() for _ in range(256)])
    table = AdviceTable(
        features=rows + rng.normal(0, 0.05, rows.shape),
        scale=scale,
        plans=actions[rng.integers(0, 256, (entries, 8))],
        holds=rng.integers(1, 9, entries),
        rewards=rng.uniform(-1, 1, entries),
        taken_actions=actions[rng.integers(0, 256, entries)],
        taken_rewards=rng.uniform(-1, 1, entries),
        weights=np.ones(entries),
        radius=0.1,
        match="nearest",
        target=0.1,
    )
    config = ModulationConfig(probability=0.3, schedule="constant")
    return ModulationEngine(
        table, environment.features, "ra", config, np.random.default_rng(0), continuous=bool(space.shape)
    )


def stable_baselines(task: str, sims: Any, seed: int, library: str = "sb3", **changes: Any) -> Train:
    """SB3's PPO, or SBX's."""
    model = baseline_model(task, sims, seed, library, **changes)
    model.learn(settings(task).rollout)

    def train() -> int:
        before = model.num_timesteps
        model.learn(settings(task).rollout, reset_num_timesteps=False)
        return int(model.num_timesteps - before)

    return train


def baseline_model(task: str, sims: Any, seed: int, library: str, normalize: bool = False, **changes: Any) -> Any:
    """The model, with `Settings`; `normalize` lets SB3's VecNormalize treat observations as our policy does."""
    from _train_adaptor import adapted

    s, pixels = settings(task), task == "pong-pixels"
    if library == "sbx":
        from sbx import PPO
    else:
        from stable_baselines3 import PPO  # type: ignore[assignment]
    return PPO(
        "CnnPolicy" if pixels else "MlpPolicy",
        adapted(sims, normalize),
        **{
            "n_steps": s.num_steps, "batch_size": s.rollout // s.minibatches, "n_epochs": s.epochs,
            "learning_rate": s.learning_rate, "ent_coef": s.ent_coef, "device": "cpu", "seed": seed,
            "policy_kwargs": {} if pixels else {"net_arch": [64, 64]}, **changes,
        },
    )  # fmt: skip


def cleanrl(task: str, sims: Any, seed: int) -> Train:
    """PPO in CleanRL's structure."""
    from _train_cleanrl import make

    return make(settings(task), sims, seed, pixels=task == "pong-pixels")


CONTENDERS: dict[str, Callable[..., Train]] = {
    "bound": bound,
    "ours": ours,
    "sb3": stable_baselines,
    "sbx": lambda task, sims, seed: stable_baselines(task, sims, seed, "sbx"),
    "cleanrl": cleanrl,
}


def serve() -> None:
    """A contender's life: `name task workers threads options` from the command line, then one turn per line read."""
    name, task, workers, threads, options = sys.argv[2:7]
    if name != "bound":
        import torch

        torch.set_num_threads(int(threads))
    sims = simulators(task, int(workers))
    train = CONTENDERS[name](task, sims, 0, **json.loads(options))
    train()
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, steps, began, busy = float(line), 0, time.perf_counter(), _core_seconds()
        while (spent := time.perf_counter() - began) < seconds or not steps:
            steps += train()
        print(json.dumps({"steps": steps, "seconds": spent, "core": _core_seconds() - busy}), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + sum(_peak_kib(pid) for pid in _workers())
    sims.close()
    print(json.dumps({"peak_mib": peak / 1024}), flush=True)


def _workers() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid]


def _core_seconds() -> float:
    """Processor time of this process and its workers; Linux tells of running children."""
    total = time.process_time()
    for pid in _workers():
        if os.path.exists(f"/proc/{pid}/stat"):
            with open(f"/proc/{pid}/stat", encoding="ascii") as status:
                user, system = status.read().rpartition(")")[2].split()[11:13]
            total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return total


def _peak_kib(pid: int) -> int:
    if not os.path.exists(f"/proc/{pid}/status"):
        return 0
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next((int(line.split()[1]) for line in status if line.startswith("VmHWM")), 0)
