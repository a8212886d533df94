"""The work of each stage of one run: configuration and records in, records out.

`pipeline.py` calls these in order and remembers what they return; each is short because the work itself lives in the package
the stage is named after.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ultra_agents import runs
from ultra_agents.advice import AdviceTable, build_table, measured_rewards
from ultra_agents.advice.table import advice_to_lines
from ultra_agents.agents.explain import Explainer
from ultra_agents.agents.proposers import ControlProposer
from ultra_agents.config import Config, variant_of
from ultra_agents.contracts import Algorithm, Environment, Policy, capabilities
from ultra_agents.errors import ConfigError, Interrupted, did_you_mean
from ultra_agents.evaluation.report import ReportInputs, write_report
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.events import Emit, Evaluated, StageProgress, Warned
from ultra_agents.llm.gateway import Gateway
from ultra_agents.modulation import ModulationEngine
from ultra_agents.narration import choose_segments, narrate
from ultra_agents.policies import load_policy, save_policy
from ultra_agents.records import Advice, Array, Explanation, MethodResult, Narration, Returns, Trajectory, Usage
from ultra_agents.refinement.refine import refine
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.rollout.store import load_trajectories, save_trajectories
from ultra_agents.runs import RunFolder
from ultra_agents.seeding import Streams
from ultra_agents.verification import CounterfactualTester, max_tests

FRAMES_IN_REPORT = 12


@dataclass
class RunContext:
    """What every stage needs.

    Attributes:
        start: The starting policy, once stage 0 read or trained it.
        gateway: The models' gateway; entered only by the stage that asks.
    """

    folder: RunFolder
    config: Config
    emit: Emit
    stop: Callable[[], bool]
    environment: Environment
    algorithm: Algorithm
    streams: Streams
    start: Policy | None = None

    @property
    def policy(self) -> Policy:
        """The starting policy."""
        assert self.start is not None, "stage 0 comes first"
        return self.start

    def simulators(self, num_envs: int, workers: int | None = None) -> Simulators:
        """Parallel environments of this run."""
        count = min(self.config.refine.workers if workers is None else workers, num_envs)
        return make_simulators(self.environment, num_envs, count)

    def check_stop(self) -> None:
        """Raise `Interrupted` when asked to stop."""
        if self.stop():
            raise Interrupted("stopped; everything so far is kept", hint=f"ultra resume {self.folder.path}")


@contextmanager
def open_context(folder: RunFolder, config: Config, emit: Emit, stop: Callable[[], bool]) -> Iterator[RunContext]:
    """Build the plugins of a run and check, before anything is spent, that they fit together."""
    environment = create_environment(config.environment.name, config.environment.options)
    algorithm = create_algorithm(config.refine.algorithm.name, config.refine.algorithm.options)
    if config.modulation.learn not in algorithm.learns:
        raise ConfigError(
            f"the algorithm {config.refine.algorithm.name!r} cannot learn from overridden steps by "
            f"{config.modulation.learn!r}",
            expected=f"modulation.learn: one of {', '.join(sorted(algorithm.learns)) or 'none'}",
        )
    if config.proposer == "oracle" and "expert" not in capabilities(environment):
        raise ConfigError(
            f"the environment {config.environment.name!r} has no expert", expected="proposer: llm or random"
        )
    yield RunContext(folder, config, emit, stop, environment, algorithm, Streams(config.seed))


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
    context.start = load_policy(path, name, environment).policy


def _train_start(context: RunContext, path: Any) -> None:
    config, environment, streams = context.config, context.environment, context.streams.child("start")
    assert config.policy.train_steps is not None
    policy = context.algorithm.create_policy(
        environment.observation_space, environment.action_space, streams.integer("weights")
    )
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
        )
    finally:
        simulators.close()
    save_trajectories(folder.trajectories, made)
    folder.mark_done("collect", {"episodes": len(made)})
    return made


def narrations(context: RunContext, trajectories: Sequence[Trajectory]) -> list[tuple[Trajectory, Narration]]:
    """Stage 2: the segments worth telling, told."""
    config = context.config.narration
    told = []
    for trajectory in trajectories:
        rng = context.streams.generator("segments", trajectory.episode)
        for segment in choose_segments(trajectory, context.environment, config, rng):
            told.append((trajectory, narrate(trajectory, segment, context.environment, config)))
    return told


def explain_episodes(context: RunContext, trajectories: Sequence[Trajectory]) -> list[Explanation]:
    """Stages 2-6: one state machine per segment, many side by side."""
    config, environment = context.config, context.environment
    items = narrations(context, trajectories)
    verification = config.verification
    if verification.mode in ("simulate", "both") and "snapshot" not in capabilities(environment):
        context.emit(Warned(f"{environment.env_id} cannot restore states: advice is reflected on, not simulated"))
        verification = verification.model_copy(update={"mode": "reflect"})
    simulators: Simulators | None = None
    tester: CounterfactualTester | None = None
    try:
        if verification.mode in ("simulate", "both"):
            simulators = context.simulators(2 * verification.max_pairs, workers=0)
            tests = max_tests(len(items), config.agents.max_critical, config.agents.max_revisions)
            tester = CounterfactualTester(
                environment, simulators, context.policy, verification, context.streams.child("test"), tests
            )
        if config.proposer != "llm":
            control = ControlProposer(
                kind=config.proposer,
                environment=environment,
                agents=config.agents,
                tester=tester,
                streams=context.streams.child("proposer"),
                emit=context.emit,
            )
            return control.explain_all(items, config.agents.concurrency, context.stop)
        with Gateway(config.llms, config.gateway, context.folder.path, context.emit) as gateway:
            explainer = Explainer(
                environment=environment,
                gateway=gateway,
                agents=config.agents,
                verification=verification,
                tester=tester,
                checkpoint=context.folder.explain,
                emit=context.emit,
                source=config.llms[config.agents.advisor.llm or next(iter(config.llms))].provider,
            )
            return explainer.explain_all(items, config.agents.concurrency, context.stop)
    finally:
        if simulators is not None:
            simulators.close()


def tabulate(
    context: RunContext, trajectories: Sequence[Trajectory], explanations: Sequence[Explanation]
) -> list[Advice]:
    """Stage 7: what survived goes to the table."""
    advice = [row for explanation in explanations for row in explanation.advice]
    if context.config.advice.reward == "measured":
        advice = measured_rewards(advice)
    context.folder.write_text(context.folder.advice, advice_to_lines(advice))
    if not advice:
        context.emit(
            Warned("no suggestion survived: refining with an empty table equals `continue` on a smaller budget")
        )
    return advice


def advice_table(context: RunContext, trajectories: Sequence[Trajectory], advice: Sequence[Advice]) -> AdviceTable:
    """The table that `advice` makes, with this run's matching."""
    config = context.config.advice
    return build_table(
        advice,
        trajectories,
        context.environment,
        match=config.match,
        hit_rate=config.hit_rate,
        adaptive=config.adaptive,
    )


def refine_method(
    context: RunContext,
    method: str,
    trajectories: Sequence[Trajectory],
    explanations: Sequence[Explanation],
    advice: Sequence[Advice],
) -> MethodResult:
    """Stages 8-9: train on under the engine; the same seeds, environments and budget for every method."""
    config, folder = context.config, context.folder
    variant = variant_of(method)
    spent: dict[str, int] = {}
    engine: ModulationEngine | None = None
    if variant is not None:
        spent = {"collect": sum(map(len, trajectories)), "test": sum(e.env_steps for e in explanations)}
        engine = ModulationEngine(
            advice_table(context, trajectories, advice),
            context.environment.features,
            variant,
            config.modulation,
            context.streams.generator("modulation"),
            continuous=bool(context.environment.action_space.shape),
        )
    selection = context.streams.child("selection")
    seeds = selection.integers(config.refine.curve_episodes, "reset")
    simulators = context.simulators(config.refine.num_envs)
    scoring = context.simulators(min(len(seeds), config.refine.num_envs))

    def score(policy: Policy, steps: int) -> Sequence[float]:
        return evaluate_returns(policy, context.environment, scoring, seeds, selection).values

    def save(which: str, policy: Policy) -> None:
        save_policy(
            folder.checkpoints / f"{method}-{which}.safetensors",
            policy,
            algorithm=config.refine.algorithm.name,
            environment_name=config.environment.name,
            environment=context.environment,
            provenance={"method": method, "run": config.name, "config_hash": config.hash(), "seed": config.seed},
            score=None,
        )

    try:
        done = refine(
            method=method,
            start=context.policy,
            algorithm=context.algorithm,
            simulators=simulators,
            total_steps=config.refine.steps,
            already_spent=sum(spent.values()),
            streams=context.streams.child("refine"),
            modulation=engine,
            score=score,
            evaluate_every=config.refine.evaluate_every,
            checkpoint=folder.checkpoints / f"{method}-trainer.safetensors",
            save=save,
            emit=context.emit,
            stop=context.stop,
        )
    finally:
        simulators.close()
        scoring.close()
    nothing = Returns((), (), ())
    return MethodResult(
        method, nothing, nothing, nothing, done.best_step, {**spent, "refine": done.env_steps}, done.curve,
        {key: value for key, value in done.metrics.items() if np.isfinite(value)}, done.seconds,
    )  # fmt: skip


def evaluate_methods(context: RunContext, results: Sequence[MethodResult]) -> list[MethodResult]:
    """Stage 10: the starting, last and best policies on the same seeds, which no training has seen."""
    config = context.config
    streams = context.streams.child("evaluate")
    seeds = streams.integers(config.evaluate.episodes, "reset")
    simulators = context.simulators(min(len(seeds), config.refine.num_envs))
    done, total = 0, 1 + 2 * len(results)

    def play(policy: Policy, method: str, purpose: str, step: int) -> Any:
        nonlocal done
        context.check_stop()
        returns = evaluate_returns(policy, context.environment, simulators, seeds, streams)
        done += 1
        context.emit(Evaluated(method, step, purpose, returns.values))
        context.emit(StageProgress("evaluate", done, total))
        return returns

    def read(method: str, which: str) -> Policy:
        path = context.folder.checkpoints / f"{method}-{which}.safetensors"
        return load_policy(path, config.environment.name, context.environment).policy

    try:
        before = play(context.policy, "none", "before", 0)
        return [
            replace(
                result,
                before=before,
                last=play(read(result.method, "last"), result.method, "last", sum(result.env_steps.values())),
                best=play(read(result.method, "best"), result.method, "best", result.best_step),
            )
            for result in results
        ]
    finally:
        simulators.close()


def report(
    context: RunContext,
    trajectories: Sequence[Trajectory],
    explanations: Sequence[Explanation],
    advice: Sequence[Advice],
    results: Sequence[MethodResult],
    seconds: dict[str, float],
) -> str:
    """Stage 10: `report.json` and `report.html`; the sentence that answers the run's question."""
    config, folder, environment = context.config, context.folder, context.environment
    table = advice_table(context, trajectories, advice)
    told = {n.segment.name: n for _, n in narrations(context, trajectories)} if explanations else {}
    purposes: dict[str, int] = {"collect": sum(map(len, trajectories)), "test": sum(e.env_steps for e in explanations)}
    purposes |= {f"refine {r.method}": r.env_steps["refine"] for r in results}
    purposes["evaluate"] = sum(results[0].before.lengths) + sum(
        sum(r.last.lengths) + sum(r.best.lengths) for r in results
    )
    usage: dict[str, Usage] = runs.read_usage(folder.transcript)
    data = write_report(
        folder.path,
        ReportInputs(
            config=config,
            config_hash=config.hash(),
            versions=runs.versions(),
            results=results,
            explanations=explanations,
            narrations=told,
            usage=usage,
            frames=_frames(context, trajectories, advice),
            env_steps_by_purpose=purposes,
            table={
                "entries": len(table),
                "radius": table.radius,
                "hit_rate": next(
                    (r.metrics.get("modulation/hit_rate_mean", 0.0) for r in results if variant_of(r.method)), 0.0
                ),
            },
            command=f"ultra run {folder.config_path}",
            started=_stamp(folder.versions_path.stat().st_mtime),
            finished=_stamp(time.time()),
            seconds_by_stage=seconds,
            reference=environment.reference_returns if "reference_returns" in capabilities(environment) else None,
            peak_memory_mb=_peak_memory_mb(),
            warnings=_warnings(folder),
        ),
    )
    return str(data["headline"])


def _frames(
    context: RunContext, trajectories: Sequence[Trajectory], advice: Sequence[Advice]
) -> dict[tuple[int, int], Array]:
    """RGB frames of some critical states, drawn from their snapshots."""
    if not {"snapshot", "render"} <= capabilities(context.environment) or not advice:
        return {}
    by_episode = {t.episode: t for t in trajectories}
    chosen = sorted(advice, key=lambda row: -(row.test.gain if row.test else row.importance))[:FRAMES_IN_REPORT]
    frames: dict[tuple[int, int], Array] = {}
    with context.simulators(1, workers=0) as simulators:
        simulators.reset(seed=[0])
        for row in chosen:
            snapshots = by_episode[row.episode].snapshots
            if snapshots is not None:
                simulators.restore([0], [snapshots[row.step]])
                frames[row.episode, row.step] = np.asarray(simulators.render_frame(0))
    return frames


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))


def _warnings(folder: RunFolder) -> list[str]:
    """Every warning of the run, interrupted parts included, each once."""
    lines = folder.events.read_text(encoding="utf-8").splitlines() if folder.events.exists() else []
    rows = [json.loads(line) for line in lines if '"Warned"' in line]
    return list(dict.fromkeys(row["text"] for row in rows if row.get("event") == "Warned"))


def _peak_memory_mb() -> float:
    unit = 1024.0 if sys.platform != "darwin" else 1024.0**2
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (own + children) / unit


def summary(stage: str, made: Any) -> str:
    """One line about what a stage made, for a person."""
    if isinstance(made, str):
        return made
    if isinstance(made, MethodResult):
        last = made.curve[-1].value if made.curve else float("nan")
        return f"{made.env_steps['refine']:,} steps, return {last:.2f} on the selection seeds"
    if isinstance(made, list) and made and isinstance(made[0], Explanation):
        kept, proposed = sum(len(e.advice) for e in made), sum(e.proposed for e in made)
        return f"{len(made)} segments, {proposed} suggestions, {kept} kept"
    if isinstance(made, list) and made and isinstance(made[0], Trajectory):
        return f"mean return {np.mean([t.episode_return for t in made]):.2f}, {sum(map(len, made)):,} steps"
    if isinstance(made, list):
        return f"{len(made)} entries"
    return ""
