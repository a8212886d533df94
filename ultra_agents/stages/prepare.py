"""Stages 0 and 1: the starting policy, and its episodes."""

from __future__ import annotations

from pathlib import Path

from ultra_agents.contracts import Policy, capabilities
from ultra_agents.events import StageProgress, StepsSpent
from ultra_agents.policies import save_policy
from ultra_agents.records import Trajectory
from ultra_agents.rollout.collect import collect
from ultra_agents.stages.check import starting_policy_at, untrained_policy
from ultra_agents.stages.context import RunContext
from ultra_agents.training import policy_file, trained_with


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
    """Stage 1: play episodes with the starting policy, keeping the simulator's states where it can give them."""
    config = context.config
    streams = context.streams.child("collect")
    count = config.collect.episodes
    simulators = context.simulators(min(count, config.refine.num_envs))
    done = 0

    def progress(trajectory: Trajectory) -> None:
        nonlocal done
        done += 1
        context.emit(StageProgress("collect", done, count, repr(trajectory)))
        context.emit(StepsSpent("collect", len(trajectory)))

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
