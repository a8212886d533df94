"""What a comparison found, as JSON types: `report.json`, from which the page and the tables are made.

Protocol of `docs/method.md`, "How a comparison is made": unmodulated returns on evaluation seeds that no training has
seen, the last and the best checkpoint apart, every environment step charged, differences paired by seed with the
baseline (`continue`). Normalised scores put each seed's starting policy at 0 and the task's reference at 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ultra_agents.config import baseline_of, default_baseline, variant_of
from ultra_agents.evaluation.statistics import (
    Interval,
    paired_difference,
    performance_profile,
    probability_of_improvement,
    proportion_interval,
    stratified_improvement,
    stratified_interval,
    t_interval,
)
from ultra_agents.experiments.cells import CellOutcome, CellResult
from ultra_agents.experiments.presets import controls, preset
from ultra_agents.experiments.spec import Cell, Experiment
from ultra_agents.records import Returns
from ultra_agents.runs.files import COMPUTING, PROCESSOR

CONFIDENCE = 0.95
ONE_SEED = "a single training seed has no spread to make an interval of; differences have one over paired episodes"
UNTOLD = "settings that are not recorded: runs of a version whose policy files carried none"
Row = dict[str, Any]


def summarise(
    experiment: Experiment,
    cells: Sequence[Cell],
    results: Mapping[str, CellResult],
    outcomes: Mapping[str, CellOutcome],
    references: Mapping[str, float | None],
) -> Row:
    """Everything the report shows.

    Args:
        experiment: What was compared.
        cells: All of its cells.
        results: Those of finished cells, by the cell's name.
        outcomes: How cells ended that did not finish, by name.
        references: The return that counts as 1, by task.
    """
    methods, baseline = [one.name for one in experiment.methods], baseline_name(experiment)
    found = {(r.cell.task, r.cell.method, r.cell.seed): r for r in results.values()}
    tasks = {
        task: {
            "budget": _budget(cells, task),
            "reference": references[task],
            "refining": _refining(_cells_of(results, task)),
            "before": _asdict(t_interval([_mean(r.method.before.values) for r in _of(results, task)]))
            if _of(results, task)
            else None,
            "methods": {
                method: _method(experiment, found, task, method, baseline)
                for method in methods
                if any((task, method, seed) in found for seed in experiment.seeds_of(task))
            },
        }
        for task in experiment.tasks
    }
    single = [task for task in experiment.tasks if len(experiment.seeds_of(task)) == 1]
    return {
        "schema": 1,
        "name": experiment.name,
        "seeds": list(experiment.seeds),
        "methods": methods,
        "baseline": baseline,
        "confidence": CONFIDENCE,
        "why_no_interval": ONE_SEED if single else None,
        "single_seed": single,
        "controls_missing": [
            name for name in controls() if not {name, f"rules-{name}"} & {one.method for one in experiment.methods}
        ],
        "tasks": tasks,
        "overall": _overall(experiment, found, references, baseline),
        "mixed": _mixed(found, baseline),
        "cells": [_cell(cell, results.get(cell.name), outcomes.get(cell.name)) for cell in cells],
    }


def baseline_name(experiment: Experiment) -> str:
    """What the comparison calls the method others are held against; the built-in one where none is compared."""
    plain = [one.name for one in experiment.methods if one.name == one.method]
    named = {one.name: preset(one.method)["methods"][0] for one in experiment.methods}
    others = (name for name, method in named.items() if baseline_of([method]) is not None)
    return baseline_of(plain) or next(others, default_baseline())


def _of(results: Mapping[str, CellResult], task: str) -> list[CellResult]:
    """One result per seed of a task: the starting policy's score is the same for all methods."""
    by_seed = {result.cell.seed: result for result in results.values() if result.cell.task == task}
    return list(by_seed.values())


def _cells_of(results: Mapping[str, CellResult], task: str) -> list[CellResult]:
    return [result for result in results.values() if result.cell.task == task]


def _mixed(found: Mapping[tuple[str, str, int], CellResult], baseline: str) -> list[Row]:
    """How many cells were made with another version, or on another processor, than that of the baseline on their seed.

    One row for each such package, with one pair of its versions. Cells that do not say count as alike.
    """
    rows: dict[str, Row] = {}
    for (task, _, seed), one in found.items():
        base = found.get((task, baseline, seed))
        for name in (*COMPUTING, PROCESSOR):
            value, other = (None if cell is None else cell.made_with.get(name) for cell in (one, base))
            if value is not None and other is not None and value != other:
                row = rows.setdefault(name, {"name": name, "cells": 0, "there": other, "here": value})
                row["cells"] += 1
    return list(rows.values())


def _refining(results: Sequence[CellResult]) -> list[Row]:
    """What the methods of one task refined with: one row for each that differs, with those it is of."""
    rows: dict[str, Row] = {}
    for one in results:
        told = one.refining or {"words": UNTOLD, "values": {}, "sources": {}, "unused": ""}
        kept = {key: told.get(key) for key in ("words", "values", "sources", "unused")}
        row = rows.setdefault(json.dumps(kept, sort_keys=True), {**kept, "methods": []})
        if one.cell.method not in row["methods"]:
            row["methods"].append(one.cell.method)
    return list(rows.values())


def _budget(cells: Sequence[Cell], task: str) -> int:
    return next(cell.config.refine.steps for cell in cells if cell.task == task)


def _method(
    experiment: Experiment, found: Mapping[tuple[str, str, int], CellResult], task: str, method: str, baseline: str
) -> Row:
    here = {seed: found[task, method, seed] for seed in experiment.seeds_of(task) if (task, method, seed) in found}
    last = {seed: _mean(one.method.last.values) for seed, one in here.items()}
    best = {seed: _mean(one.method.best.values) for seed, one in here.items()}
    bases = {seed: found[task, baseline, seed].method.last for seed in here if (task, baseline, seed) in found}
    base = {seed: _mean(one.values) for seed, one in bases.items()}
    endings = {seed: one.method.acting for seed, one in here.items()}
    ended = {seed: _mean(one.values) for seed, one in endings.items()}
    ruled = any(one.method.with_rules is not None for one in here.values())
    compared = method != baseline
    apart_ruled = {seed: ended[seed] - base[seed] for seed in base} if ruled and compared else {}
    apart = {seed: last[seed] - base[seed] for seed in base} if compared else {}
    purposes = sorted({purpose for one in here.values() for purpose in one.method.env_steps})
    return {
        "seeds": list(here),
        "last": _asdict(t_interval(list(last.values()), CONFIDENCE)),
        "iqm": _asdict(stratified_interval(np.array(list(last.values()))[:, None], CONFIDENCE)),
        "best": _asdict(t_interval(list(best.values()), CONFIDENCE)),
        "with_rules": _asdict(t_interval(list(ended.values()), CONFIDENCE)) if ruled else None,
        "difference_with_rules": _difference(apart_ruled, endings, bases) if apart_ruled else None,
        "difference_with_rules_by_seed": {str(seed): value for seed, value in apart_ruled.items()},
        "by_seed": {str(seed): value for seed, value in last.items()},
        "difference": _difference(apart, {seed: one.method.last for seed, one in here.items()}, bases)
        if apart
        else None,
        "difference_by_seed": {str(seed): value for seed, value in apart.items()},
        "improvement": _asdict(
            probability_of_improvement(list(last.values()), list(base.values()), CONFIDENCE)
        ) if apart else None,
        "env_steps": {
            purpose: _mean([one.method.env_steps.get(purpose, 0) for one in here.values()]) for purpose in purposes
        },
        "seconds": _mean([one.method.seconds for one in here.values()]),
        "reach": _reach(here, {seed: found[task, baseline, seed] for seed in bases}),
        "curve": _curve(list(here.values())),
        "rules": _rules([_worth(one) for one in here.values() if (one.measures or {}).get("rules")]),
        "advice": _advice([one for one in here.values() if one.measures is not None]),
        "cells": [one.cell.name for one in here.values()],
    }  # fmt: skip


def _difference(apart: Mapping[int, float], ended: Mapping[int, Returns], bases: Mapping[int, Returns]) -> Row:
    """Paired by training seed with Student's interval; of one seed by evaluation episode, with a bootstrap's.

    The key `episodes` is the number of paired episodes in the second case, which says nothing of how another training
    would end, and None in the first. Too few episodes for any claim have no interval.
    """
    if len(apart) > 1:
        return {**_asdict(t_interval(list(apart.values()), CONFIDENCE)), "episodes": None}
    ((seed, base),) = bases.items()
    found = paired_difference(ended[seed], base, CONFIDENCE)
    row = _asdict(found.interval)
    return {**row, **({} if found.enough else {"low": None, "high": None}), "episodes": len(found.differences)}


def _charged_curve(result: CellResult) -> list[tuple[int, float]]:
    """Environment steps, those charged before refining included, and mean return on the selection seeds."""
    before = _paid_before(result)
    return [(point.steps + before, point.value) for point in result.method.curve]


def _paid_before(result: CellResult) -> int:
    """Environment steps charged before refining."""
    return sum(steps for purpose, steps in result.method.env_steps.items() if purpose not in ("refine", "confirm"))


def _reach(here: Mapping[int, CellResult], bases: Mapping[int, CellResult]) -> Row | None:
    """Charged steps until the curve is where the baseline's of the same seed ended, on the same episodes.

    The first scored point that is as high counts. Seeds that never get there have none: the median over seeds is of
    all, and None where half of them or more never do.
    """
    first = {}
    for seed, base in bases.items():
        level = base.method.curve[-1].value if base.method.curve else None
        if level is not None:
            steps = [steps for steps, value in _charged_curve(here[seed]) if value >= level]
            first[seed] = steps[0] if steps else None
    if not first:
        return None
    median = float(np.median([np.inf if steps is None else steps for steps in first.values()]))
    reached = sum(steps is not None for steps in first.values())
    return {"seeds": len(first), "reached": reached, "steps": median if np.isfinite(median) else None}


def _curve(results: Sequence[CellResult]) -> list[Row]:
    """Mean and interval over seeds at the places all seeds have, steps charged before refining included."""
    rows = [_charged_curve(one) for one in results]
    points = []
    for place in range(min((len(row) for row in rows), default=0)):
        values = [row[place][1] for row in rows]
        spread = t_interval(values, CONFIDENCE)
        points.append({"steps": _mean([row[place][0] for row in rows]), **_asdict(spread)})
    return points


def _advice(cells: Sequence[CellResult]) -> Row | None:
    measures = [one.measures for one in cells if one.measures is not None]
    if not measures:
        return None
    acted = [one.moves_acted for one, found in zip(cells, measures, strict=True) if found["accepted"]]
    tested, held = sum(one["tested"] for one in measures), sum(one["held"] for one in measures)
    accepted = sum(one["accepted"] for one in measures)
    cost = {key: sum(one["cost"][key] for one in measures) for key in measures[0]["cost"]}
    share = proportion_interval(held, tested, CONFIDENCE)
    fidelity = [one["fidelity"] for one in measures if one.get("fidelity")]
    gains = [one["gain"]["value"] for one in measures if one.get("gain")]
    return {
        "proposed": sum(one["proposed"] for one in measures),
        "tested": tested,
        "held": held,
        "accepted": accepted,
        "acted": sum(one is not False for one in acted),
        "precision": None if share is None else _asdict(share),
        "gain": _asdict(t_interval(gains, CONFIDENCE)) if gains else None,
        "cost": cost,
        "per_accepted": {key: value / accepted for key, value in cost.items()} if accepted else None,
        "fidelity": fidelity or None,
    }


def _worth(cell: CellResult) -> Row:
    """What the rules of one cell were worth; a reward counts where its method takes rewards."""
    found: Row = dict((cell.measures or {})["rules"])
    return {**found, "rewards": bool(found.get("rewards")) and "r" in (variant_of(cell.method.method) or "")}


def _rules(worth: Sequence[Mapping[str, Any]]) -> Row | None:
    """What the rules of all seeds were worth: the gain is that of their test, in force against the policy alone."""
    if not worth:
        return None
    gains = [one["gain"] for one in worth if one["pairs"]]
    covered = [one["coverage"] for one in worth if one["coverage"] is not None]
    return {
        "seeds": len(worth),
        "held": sum(one["held"] for one in worth),
        "rewarded": sum(one["rewards"] for one in worth),
        "verdicts": {
            name: [one["verdict"] for one in worth].count(name) for name in {one["verdict"] for one in worth}
        },
        "sets": sum(one["sets"] for one in worth),
        "gain": _asdict(t_interval(gains, CONFIDENCE)) if gains else None,
        "coverage": _mean(covered) if covered else None,
        "env_steps": _mean([one["env_steps"] for one in worth]),
        "text": next((one.get("text", "") for one in worth if one["held"] or one["rewards"]), ""),
    }


def _overall(
    experiment: Experiment,
    found: Mapping[tuple[str, str, int], CellResult],
    references: Mapping[str, float | None],
    baseline: str,
) -> Row:
    """Aggregates over the tasks that have a reference and the seeds these share, of normalised scores.

    Methods with every such cell finished only. A task is left out where a starting policy is at its reference already:
    between the two there is nothing to be a share of.
    """
    scored = [task for task in experiment.tasks if references[task] is not None]
    tasks = [task for task in scored if not _beaten(found, task, references[task])]
    seeds = [seed for seed in experiment.seeds if all(seed in experiment.seeds_of(task) for task in tasks)]
    scores: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}
    for method in (one.name for one in experiment.methods):
        table = [[_normalised(found.get((task, method, seed)), references[task]) for task in tasks]
                 for seed in seeds]  # fmt: skip
        if tasks and seeds and all(value is not None for row in table for value in row):
            scores[method] = np.array(table, dtype=np.float64)
    beaten = [task for task in scored if task not in tasks]
    if not scores:
        return {"tasks": tasks, "beaten": beaten, "methods": {}, "levels": []}
    top = max(1.0, *(float(table.max()) for table in scores.values()))
    low = min(0.0, *(float(table.min()) for table in scores.values()))
    levels = np.linspace(low - 0.02, top, 41)
    rows = {
        method: {
            "iqm": _asdict(stratified_interval(table, CONFIDENCE)),
            "mean": _asdict(stratified_interval(table, CONFIDENCE, trimmed=0.0)),
            "improvement": None
            if method == baseline or baseline not in scores
            else _asdict(stratified_improvement(table, scores[baseline], CONFIDENCE)),
            "profile": performance_profile(table, levels).tolist(),
        }
        for method, table in scores.items()
    }
    return {"tasks": tasks, "beaten": beaten, "methods": rows, "levels": levels.tolist()}


def _beaten(found: Mapping[tuple[str, str, int], CellResult], task: str, reference: float | None) -> bool:
    """Whether some seed's starting policy is as good as the reference."""
    starts = (_mean(one.method.before.values) for (its, _, _), one in found.items() if its == task)
    return reference is not None and any(start >= reference for start in starts)


def _normalised(result: CellResult | None, reference: float | None) -> float | None:
    if result is None or reference is None:
        return None
    before = _mean(result.method.before.values)
    return None if reference <= before else (_mean(result.method.last.values) - before) / (reference - before)


def _cell(cell: Cell, result: CellResult | None, outcome: CellOutcome | None) -> Row:
    row: Row = {"name": cell.name, "task": cell.task, "method": cell.method, "seed": cell.seed}
    if result is not None:
        made, ruled = result.method, result.method.with_rules
        return {
            **row,
            "status": "finished",
            "last": _mean(made.last.values),
            "best": _mean(made.best.values),
            "before": _mean(made.before.values),
            "with_rules": None if ruled is None else _mean(ruled.values),
            "env_steps": sum(made.env_steps.values()),
            "env_steps_before_refining": _paid_before(result),
            "seconds": result.seconds,
        }
    if outcome is not None:
        return {**row, "status": outcome.status, "error": outcome.error}
    return {**row, "status": "missing", "error": ""}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _asdict(interval: Interval) -> Row:
    return asdict(interval)
