"""Stages 0 and 1: the starting policy, and its episodes."""

from __future__ import annotations

from typing import Any

from ultra_agents.contracts import Policy, capabilities
from ultra_agents.errors import ConfigError, UltraError, did_you_mean
from ultra_agents.events import StageProgress, StepsSpent
from ultra_agents.policies import load_policy, save_policy
from ultra_agents.records import Trajectory
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.store import load_trajectories, save_trajectories
from ultra_agents.stages.context import RunContext


def starting_policy(context: RunContext) -> None:
    """Stage 0: read the policy, or train one from scratch for the steps asked."""
    config, folder = context.config.policy, context.folder
    trained = folder.checkpoints / "start.safetensors"
    name, environment = context.config.environment.name, context.environment
    if config.path is not None:
        path = config.path
    elif config.shipped is not None:
        shipped = environment.policies() if "policies" in capabilities(environment) else {}
        if config.shipped not in shipped:
            raise ConfigError(
                f"the environment {name!r} ships no policy {config.shipped!r}",
                expected=f"one of: {', '.join(shipped) or 'none ships'}",
                hint=did_you_mean(config.shipped, shipped),
            )
        path = shipped[config.shipped]
    else:
        path = trained
        if not trained.exists():
            _train_start(context, trained)
    loaded = load_policy(path, name, environment)
    wanted = context.config.refine.algorithm.name
    if loaded.algorithm != wanted and not _trains(context, loaded.policy):
        hint = f"--set refine.algorithm.name={loaded.algorithm}"
        if "imported_by" in (loaded.metadata.get("provenance") or {}) and context.algorithm.can_imitate:
            hint += f"; or import the original again with --algorithm {wanted}, which then imitates it"
        raise ConfigError(
            f"the algorithm {wanted!r} does not train policies of {loaded.algorithm!r}, which {path.name} is",
            found=f"refine.algorithm.name = {wanted}",
            expected=f"refine.algorithm.name = {loaded.algorithm}",
            hint=hint,
        )
    context.start = loaded.policy


def _trains(context: RunContext, policy: Policy) -> bool:
    """Whether the configured algorithm knows such a policy as one of its own."""
    if not isinstance(policy, type(_blank_policy(context))):
        return False
    spaces = context.environment.observation_space, context.environment.action_space
    try:  # several algorithms may share a class of policies, and not train each other's
        context.algorithm.load_policy(*policy.state(), *spaces)
    except UltraError:
        return False
    return True


def _blank_policy(context: RunContext) -> Policy:
    """A policy as the configured algorithm makes them."""
    environment = context.environment
    seed = context.streams.child("start").integer("weights")
    return context.algorithm.create_policy(environment.observation_space, environment.action_space, seed)


def _train_start(context: RunContext, path: Any) -> None:
    config, environment, streams = context.config, context.environment, context.streams.child("start")
    assert config.policy.train_steps is not None
    policy = _blank_policy(context)
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
    )


def collect_episodes(context: RunContext) -> list[Trajectory]:
    """Stage 1: play episodes with the starting policy, keeping the simulator's states where it can give them."""
    config, folder = context.config, context.folder
    if folder.stage_done("collect") is not None:
        return load_trajectories(folder.trajectories)
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
    save_trajectories(folder.trajectories, made)
    folder.mark_done("collect", {"episodes": len(made)})
    return made
