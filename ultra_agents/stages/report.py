"""Stage 11: everything a person wants to know of a run, gathered for the report."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ultra_agents import runs
from ultra_agents.config import baseline_of, variant_of
from ultra_agents.contracts import capabilities
from ultra_agents.evaluation.report import ReportInputs, write_report
from ultra_agents.evaluation.video import Video, before_and_after
from ultra_agents.evaluation.wording import method_label
from ultra_agents.llm.transcript import Transcript
from ultra_agents.policies import load_policy
from ultra_agents.records import Advice, Array, MethodResult, Trajectory, Usage
from ultra_agents.runs import RunFolder, read_lines
from ultra_agents.runs.notes import note_rows
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings
from ultra_agents.stages.rules_overview import bound_of, rules_report
from ultra_agents.stages.table import advice_table

FRAMES_IN_REPORT = 12


def report(context: RunContext, findings: Findings, results: Sequence[MethodResult], seconds: dict[str, float]) -> str:
    """Stage 11: `report.json` and `report.html`; the sentence that answers the run's question."""
    config, folder, environment = context.config, context.folder, context.environment
    trajectories, explanations, advice = findings.trajectories, findings.explanations, findings.advice
    measures = findings.measures
    tested = findings.table
    untested = tested is None or tested.verdict == "untested"
    table = advice_table(context, trajectories, advice, None if untested or tested is None else tested.reaches)
    told = {narration.segment.name: narration for narration in findings.narrations}
    purposes: dict[str, int] = {"collect": sum(map(len, trajectories)), "test": sum(e.env_steps for e in explanations)}
    if findings.restoring.env_steps:
        purposes["probe of restoring"] = findings.restoring.env_steps
    for r in results:  # whatever else a method was charged for
        purposes |= {key: steps for key, steps in r.env_steps.items() if key not in ("collect", "test", "refine")}
    purposes |= {f"refine {r.method}": r.env_steps["refine"] for r in results}
    purposes["evaluate"] = sum(results[0].before.lengths) + sum(
        sum(r.last.lengths) + sum(r.best.lengths) + sum(r.with_rules.lengths if r.with_rules else ()) for r in results
    )
    rules = _rules(context, findings)
    usage: dict[str, Usage] = Transcript(folder.transcript).usage(inherited=True)
    data = write_report(
        folder.path,
        ReportInputs(
            config=config,
            config_hash=config.hash(),
            versions=runs.made_with(),
            results=results,
            explanations=explanations,
            narrations=told,
            usage=usage,
            frames=_frames(context, trajectories, advice, rules),
            env_steps_by_purpose=purposes,
            table={
                **({} if tested is None else asdict(tested)),
                "entries": len(table),
                "radius": table.radius,
                "hit_rate": next(
                    (r.metrics.get("modulation/hit_rate_mean") for r in results if variant_of(r.method)), None
                ),
            },
            refining=context.refining.record(),
            command=f"ultra run {folder.config_path}",
            started=_stamp(folder.versions_path.stat().st_mtime),
            finished=_stamp(time.time()),
            seconds_by_stage=seconds,
            reference=environment.reference_returns if "reference_returns" in capabilities(environment) else None,
            peak_memory_mb=_peak_memory_mb(),
            warnings=_warnings(folder),
            imitation=None if findings.imitation is None else asdict(replace(findings.imitation, copy=None)),
            rounds=[asdict(replace(one, copy=None)) for one in findings.rounds],
            measures=measures or None,
            rules=rules,
            start=_start(findings),
            video=_video(context, results),
            parent=None if folder.parent is None else asdict(folder.parent),
            notes=note_rows(folder.path),
        ),
    )
    return str(data["headline"])


def _rules(context: RunContext, findings: Findings) -> dict[str, Any] | None:
    """What was proposed, what the test left of it, and where it acts."""
    found = findings.rules
    if found is None:
        return None
    return rules_report(found, findings.trajectories, bound_of(found, context.environment))


def _start(findings: Findings) -> dict[str, Any] | None:
    start = findings.start
    return None if start is None else asdict(replace(start, copy=None))


def _frames(
    context: RunContext,
    trajectories: Sequence[Trajectory],
    advice: Sequence[Advice],
    rules: Mapping[str, Any] | None,
) -> dict[tuple[int, int], Array]:
    """RGB frames of some critical states and of one where each rule acts, drawn from their snapshots."""
    ordered = sorted(advice, key=lambda row: -(row.test.gain if row.test else row.importance))[:FRAMES_IN_REPORT]
    chosen = [(row.episode, row.step) for row in ordered]
    examples = [row["example"] for row in ({} if rules is None else rules).get("set", ()) if row["example"]]
    chosen += [(one["episode"], one["step"]) for one in examples][:FRAMES_IN_REPORT]
    if not {"snapshot", "render"} <= capabilities(context.environment) or not chosen:
        return {}
    by_episode = {t.episode: t for t in trajectories}
    frames: dict[tuple[int, int], Array] = {}
    with context.simulators(1, workers=0) as simulators:
        simulators.reset(seed=[0])
        for episode, step in dict.fromkeys(chosen):
            snapshots = by_episode[episode].snapshots
            if snapshots is not None:
                simulators.restore([0], [snapshots[step]])
                frames[episode, step] = np.asarray(simulators.render_frame(0))
    return frames


def _video(context: RunContext, results: Sequence[MethodResult]) -> Video | None:
    """The starting policy beside the one refined last by the run's first method that trains; also as a file."""
    trained = [r.method for r in results if r.env_steps.get("refine")]
    if not trained or not context.config.evaluate.video:
        return None
    advised = [method for method in trained if method != baseline_of(trained)]
    method = (advised or trained)[0]
    config, streams = context.config, context.streams.child("video")
    path = context.folder.checkpoints / f"{method}-last.safetensors"
    after = load_policy(path, config.environment.name, context.environment).policy
    with context.simulators(2, workers=0) as simulators:
        video = before_and_after(
            context.policy, after, context.environment, simulators, streams.integer("reset"), streams,
            method_label(method, config),
        )  # fmt: skip
    if video.data:
        (context.folder.path / f"before_and_after.{video.kind}").write_bytes(video.data)
    return video


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))


def _warnings(folder: RunFolder) -> list[str]:
    """Every warning of the run, interrupted parts included, each once."""
    rows = read_lines(folder.events)
    return list(dict.fromkeys(str(row.get("text")) for row in rows if row.get("event") == "Warned"))


def _peak_memory_mb() -> float:
    unit = 1024.0 if sys.platform != "darwin" else 1024.0**2
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (own + children) / unit
