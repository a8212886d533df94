"""Stages 0 and 1: the starting policy, and its episodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ultra_agents.contracts import Policy, capabilities
from ultra_agents.errors import ConfigError
from ultra_agents.events import StageProgress, StepsSpent, Warned
from ultra_agents.policies import save_policy
from ultra_agents.records import Trajectory
from ultra_agents.rollout.collect import collect
from ultra_agents.stages.check import recorded_episodes, starting_policy_at, untrained_policy
from ultra_agents.stages.context import RunContext
from ultra_agents.text import counted
from ultra_agents.training import policy_file, trained_with

SAME_VALUES = 1e-3
"""How far the values stored with episodes may lie from the policy's own: machines round differently."""


def starting_policy(context: RunContext) -> Policy:
    """Stage 0: read the policy, or train one from scratch for the steps asked."""
    config, environment, algorithm = context.config, context.environment, context.algorithm
    path = policy_file(config, environment)
    if path is None:
        path = context.folder.checkpoint("start")
        if not path.exists():
            _train_start(context, path)
    return starting_policy_at(path, config, environment, algorithm)


def _train_start(context: RunContext, path: Path) -> None:
    config, environment, streams = context.config, context.environment, context.streams.child("start")
    assert config.policy.train_steps is not None
    policy = untrained_policy(config, environment, context.algorithm)
    simulators = context.simulators(config.refine.num_envs)
    try:
        trainer = context.algorithm.trainer(policy, simulators, config.policy.train_steps, streams, fresh=True)
        while trainer.steps < config.policy.train_steps:
            context.check_stop()
            trainer.update()
            context.emit(
                StageProgress("policy", min(trainer.steps, config.policy.train_steps), config.policy.train_steps)
            )
    finally:
        simulators.close()
    save_policy(
        path,
        trainer.policy,
        algorithm=config.refine.algorithm.name,
        environment_name=config.environment.name,
        environment=environment,
        provenance={"trained_by": "ultra run", "steps": trainer.steps, "seed": config.seed},
        score=None,
        training=trained_with(config.refine.algorithm.name, context.algorithm),
    )


def collect_episodes(context: RunContext) -> list[Trajectory]:
    """Stage 1: episodes of the starting policy, played or recorded before, with simulator states where there are any.

    Raises:
        UltraError: Episodes recorded before do not fit the environment, or are another policy's.
    """
    config = context.config
    if config.collect.folder is not None:
        return _recorded(context, config.collect.folder)
    streams = context.streams.child("collect")
    count = config.collect.episodes
    simulators = context.simulators(min(count, config.refine.num_envs))
    done = 0

    def progress(trajectory: Trajectory) -> None:
        nonlocal done
        done += 1
        context.emit(StageProgress("collect", done, count, repr(trajectory)))
        context.emit(StepsSpent("collect", len(trajectory), str(trajectory.episode)))

    try:
        made = collect(
            context.policy,
            context.environment,
            simulators,
            streams.integers(count, "reset"),
            streams,
            config.collect.max_steps,
            snapshots="snapshot" in capabilities(context.environment),
            on_episode=progress,
            poll=context.check_stop,
        )
    finally:
        simulators.close()
    return made


def _recorded(context: RunContext, folder: Path) -> list[Trajectory]:
    """The first episodes of a folder."""
    made, asked = recorded_episodes(folder, context.config, context.environment), context.config.collect.episodes
    if len(made) < asked:
        context.emit(Warned(f"{folder} has {counted(len(made), 'episode')}, fewer than collect.episodes: {asked}"))
    for number, one in enumerate(made, 1):
        expected = context.policy.value(one.observations)
        if not np.allclose(one.values, expected, rtol=SAME_VALUES, atol=SAME_VALUES):
            raise ConfigError(
                f"the episodes in {folder} were not played by the starting policy",
                found=f"values that differ by up to {np.max(np.abs(one.values - expected)):.3g}",
                expected="episodes of the policy that is refined",
                hint="name the policy they are of under policy, or leave collect.folder out",
            )
        context.emit(StageProgress("collect", number, len(made), repr(one)))
        context.emit(StepsSpent("collect", len(one), str(one.episode)))
    return made
