"""Finished runs of a corridor with scripted agents: one put together from records, one that the pipeline makes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from ultra_agents.config import parse_config
from ultra_agents.contracts import Environment, Policy
from ultra_agents.evaluation.report import ReportInputs, write_report
from ultra_agents.events import Event, RunFinished
from ultra_agents.policies import save_policy
from ultra_agents.records import (
    Advice,
    Attempt,
    CriticalState,
    Critique,
    Explanation,
    MethodResult,
    Plan,
    Returns,
    Segment,
    TestResult,
    Trajectory,
    advice_of,
)
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import LocalSimulators
from ultra_agents.rollout.store import save_trajectories
from ultra_agents.runs import RunFolder
from ultra_agents.seeding import Streams

SETTINGS: dict[str, Any] = {
    "name": "walk",
    "environment": {"name": "corridor", "options": {"length": 31, "max_steps": 80, "lure": 0.5}},
    "policy": {"train_steps": 2_000},
    "methods": ["ultra-ra"],
    "llms": {
        "default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
    },
    "collect": {"episodes": 3},
    "agents": {"max_hold": 16, "max_revisions": 0},
    "verification": {"mode": "both", "max_pairs": 4, "decide": "single"},
    "refine": {
        "steps": 2_000, "num_envs": 8, "workers": 0, "evaluate_every": 1_000, "curve_episodes": 2,
        "algorithm": {"name": "ppo", "options": {"clone_steps": 100}},
    },
    "evaluate": {"episodes": 2},
}  # fmt: skip
PLAN = Plan((("RIGHT", 16),))
READING = Critique("accept", 1.0, -1.0, "scripted")
HELD = TestResult(1.25, 0.5, 2.0, 4, 400, True, "good", 4, 0)
REFUTED = TestResult(-0.25, -0.5, 0.125, 2, 200, False, "hopeless", 0, 2)


def run_pipeline_for(runs: Path, **changes: Any) -> RunFolder:
    """The run `walk` below `runs`, finished by the pipeline itself."""
    from ultra_agents.pipeline import run_pipeline

    folder = RunFolder.create(runs, parse_config({**SETTINGS, **changes}, "test"))

    def emit(event: Event) -> None:
        folder.append_event(event.to_json())

    run_pipeline(folder, folder.config, emit, lambda: False)
    folder.close()
    return RunFolder.open(folder.path)


def make_run(runs: Path) -> RunFolder:
    """The run `walk` below `runs`, every file that is looked into put together from records."""
    folder = RunFolder.create(runs, parse_config(SETTINGS, "test"))
    environment = create_environment("corridor", SETTINGS["environment"]["options"])
    policy = create_algorithm("ppo").create_policy(environment.observation_space, environment.action_space, 0)
    trajectories = _episodes(environment, policy)
    save_trajectories(folder.trajectories, trajectories)
    for name in ("start", "ultra-ra-best"):
        save_policy(
            folder.checkpoint(name), policy, algorithm="ppo", environment_name="corridor", environment=environment,
            provenance={}, score=None,
        )  # fmt: skip
    explanations = [explanation_of(environment, one) for one in trajectories]
    write_transcript(folder, explanations)
    finished = {one.segment.name: {"explanation": dumped(one, Explanation)} for one in explanations}
    write_checkpoints(folder.explain, finished)
    results = [method_result("ultra-ra")]
    advice = advice_of(explanations)
    folder.write_text(folder.advice, "".join(f"{json.dumps(row)}\n" for row in dumped(advice, list[Advice])))
    inputs = ReportInputs(folder.config, folder.config.hash(), {}, results, explanations)
    headline = write_report(folder.path, inputs)["headline"]
    folder.mark_done("collect", {"seconds": 1.0, "value": {"episodes": len(trajectories)}})
    for stage, value in (
        ("explain", {"explanations": dumped(explanations, list[Explanation]), "joint": None, "copy": False}),
        ("tabulate", dumped(advice, list[Advice])),
        ("evaluate", dumped(results, list[MethodResult])),
        ("report", headline),
    ):
        folder.mark_done(stage, {"seconds": 1.0, "value": value})
    folder.append_event(RunFinished("finished", 4.0, headline).to_json())
    folder.close()
    return RunFolder.open(folder.path)


def dumped(value: Any, kind: Any) -> Any:
    """`value` as the JSON that pydantic makes of records."""
    return TypeAdapter(kind).dump_python(value, mode="json")


def explanation_of(environment: Environment, trajectory: Trajectory) -> Explanation:
    """The whole episode as one segment: its first and its tenth step critical, one accepted and one not."""

    def case(step: int, test: TestResult) -> CriticalState:
        return CriticalState(
            step=step,
            rationale="scripted",
            importance=0.5,
            taken_action=str(environment.actions.decode(np.asarray(trajectory.actions[step]))),
            attempts=(Attempt(PLAN, "scripted", READING, test, READING if test.passed else None),),
            fate="accepted" if test.passed else "rejected",
            stage="" if test.passed else "test",
            reason="" if test.passed else "no gain in simulation",
        )

    segment = Segment(trajectory.episode, 0, len(trajectory), "whole episode")
    return Explanation(segment, (case(0, HELD), case(9, REFUTED)), env_steps=600, source="scripted")


def write_transcript(folder: RunFolder, explanations: list[Explanation]) -> None:
    """The calls behind `explanations`: the identifier once, advisor and critic for every attempt."""
    advised = {"reasoning": "scripted", "action": "RIGHT", "hold": 16}
    rows = []
    for one in explanations:
        rows.append(transcript_row("identifier", one.segment.name, None, {"cases": []}))
        for state in one.states:
            rows.append(transcript_row("advisor", one.segment.name, state.step, advised))
            rows.append(transcript_row("critic", one.segment.name, state.step, {"verdict": "accept", "reward": 1.0}))
    folder.write_text(folder.transcript, "".join(f"{json.dumps(row)}\n" for row in rows))


def transcript_row(agent: str, segment: str, step: int | None, reply: Mapping[str, Any]) -> dict[str, Any]:
    """One line of a transcript."""
    return {
        "agent": agent, "segment": segment, "step": step, "model": "scripted", "key": f"{agent} {step}", "attempt": 0,
        "messages": [["system", "Be brief."], ["user", "I am in a corridor"]], "reply": json.dumps(reply),
        "prompt_tokens": 10, "completion_tokens": 5, "seconds": 0.1, "cost": 0.0, "cached": False, "charged": True,
        "verdict": "ok",
    }  # fmt: skip


def method_result(name: str) -> MethodResult:
    """A method that gained one."""
    before, after = (Returns((value, value), (7, 8), (80, 80)) for value in (-0.5, 0.5))
    return MethodResult(name, before, after, after, 1_000, {"refine": 2_000})


def write_checkpoints(path: Path, segments: Mapping[str, Mapping[str, Any]]) -> None:
    """The agents' checkpoint file: the channel values of each segment, in the order in which they began."""
    import sqlite3
    from contextlib import closing

    from langgraph.checkpoint.base import empty_checkpoint
    from langgraph.checkpoint.sqlite import SqliteSaver

    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        saver = SqliteSaver(connection)
        for name, values in segments.items():
            checkpoint = {**empty_checkpoint(), "channel_values": dict(values)}
            config = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
            saver.put(config, checkpoint, {}, {})  # type: ignore[arg-type]


def _episodes(environment: Environment, policy: Policy) -> list[Trajectory]:
    streams = Streams(0).child("collect")
    count = int(SETTINGS["collect"]["episodes"])
    with LocalSimulators(environment, count) as simulators:
        return collect(policy, environment, simulators, streams.integers(count, "reset"), streams, 80)
