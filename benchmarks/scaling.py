"""What does a second worker save, and what does it cost to hand a cell to a cluster? Corridor, a few minutes.

Two parts, chosen with `--parts`, by default both:

    workers   wall time of the same cells on one and on two workers, as processes and on a local Ray cluster; the
              returns of every cell are compared, and the benchmark fails if they are not the same everywhere
    nodes     a simulated cluster of many one-core nodes on this machine (`ray.cluster_utils.Cluster`): empty cells,
              which measure scheduling alone, one at a time and all at once, and real cells; then one node is lost

    python benchmarks/scaling.py --cells 8 --nodes 8

Worker processes import what they need when they begin; that is told apart from the cells where it can be, because it
is paid once whatever the cells' length. Real cells on more nodes than the machine has cores share those cores: what is
of interest there is that all of them finish, each on its node, not how fast. On a shared machine believe the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ultra_agents.experiments import Cell, Experiment, cells_of
from ultra_agents.experiments.cells import CellOutcome, result_of, run_cell
from ultra_agents.experiments.engines import Engine, LocalEngine
from ultra_agents.experiments.ray_engine import RayEngine

LOOPBACK = {"include_dashboard": False, "log_to_driver": False, "_node_ip_address": "127.0.0.1"}


def cells(root: Path, count: int, steps: int) -> list[Cell]:
    """PPO continued on a corridor, `count` seeds."""
    task = {"environment": {"name": "corridor", "options": {"length": 21, "max_steps": 60}},
            "policy": {"train_steps": 512}}  # fmt: skip
    refine = {"steps": steps, "num_envs": 4, "workers": 0, "evaluate_every": steps, "curve_episodes": 2}
    common = {"collect": {"episodes": 1}, "refine": refine, "evaluate": {"episodes": 4}}
    asked = {"name": "scaling", "seeds": count, "methods": ["continue"], "tasks": {"corridor": task}, "common": common}
    return cells_of(Experiment.model_validate(asked), root)


def empty(cell: Cell, root: Path) -> CellOutcome:
    """A cell in which nothing is done."""
    return CellOutcome(cell.name, "finished", 0.0)


def placed(cell: Cell, root: Path) -> CellOutcome:
    """A real cell that says which node ran it."""
    ray: Any = import_module("ray")
    outcome = run_cell(cell, root)
    (root / f"node-{cell.name}").write_text(ray.get_runtime_context().get_node_id(), encoding="utf-8")
    return outcome


def timed(engine: Engine, some: list[Cell], root: Path, tick: Callable[[frozenset[str]], bool] | None = None) -> Any:
    """Seconds until all cells are finished, seconds inside the cells, and when each ended after the first."""
    root.mkdir(parents=True, exist_ok=True)
    began, ends, inside = time.monotonic(), list[float](), 0.0
    for outcome in engine.run(some, root, frozenset(), tick or (lambda running: False)):
        if outcome.status != "finished":
            raise SystemExit(f"{outcome.cell} {outcome.status}: {outcome.error}")
        ends.append(time.monotonic() - began)
        inside += outcome.seconds
    return ends[-1], inside, ends


def returns(some: list[Cell], root: Path) -> dict[str, Any]:
    """What every cell found."""
    found = {cell.name: result_of(cell, root) for cell in some}
    return {name: None if one is None else one.method.last.values for name, one in found.items()}


def workers_part(folder: Path, count: int, steps: int) -> dict[str, Any]:
    """One and two workers, processes and Ray."""
    ray: Any = import_module("ray")
    rows: list[dict[str, Any]] = []
    seen: dict[str, Any] = {}
    for kind in ("local", "ray"):
        for number in (1, 2):
            root = folder / f"{kind}-{number}"
            some = cells(root, count, steps)
            engine: Engine = LocalEngine(number)
            if kind == "ray":
                ray.init(address="local", num_cpus=number, **LOOPBACK)
                engine = RayEngine(None)
            try:
                seconds, inside, ends = timed(engine, some, root)
            finally:
                ray.shutdown()
            seen[f"{kind}-{number}"] = returns(some, root)
            rows.append({"engine": kind, "workers": number, "seconds": seconds, "first": ends[0], "inside": inside})
            print(f"{kind:6}{number} workers {seconds:7.1f} s, first cell after {ends[0]:5.1f} s, "
                  f"inside cells {inside:6.1f} s", flush=True)  # fmt: skip
    if any(found != seen["local-1"] for found in seen.values()):
        raise SystemExit("the engines disagree about the returns")
    by = {(row["engine"], row["workers"]): row for row in rows}
    for kind in ("local", "ray"):
        one, two = by[kind, 1], by[kind, 2]
        steady = (one["seconds"] - one["first"]) / max(two["seconds"] - two["first"], 1e-9)
        print(f"{kind}: two workers are {one['seconds'] / two['seconds']:.2f} times as fast as one in all, "
              f"{steady:.2f} times after the first cell")  # fmt: skip
    print(f"returns of {count} cells equal on all four: yes", flush=True)
    return {"rows": rows, "equal": True}


def nodes_part(folder: Path, count: int, steps: int, nodes: int, empties: int) -> dict[str, Any]:
    """Many one-core nodes on this machine."""
    ray: Any = import_module("ray")
    utils: Any = import_module("ray.cluster_utils")

    began = time.monotonic()
    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = utils.Cluster(initialize_head=True, head_node_args=head)
    for _ in range(nodes):
        cluster.add_node(num_cpus=1, wait=False)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    print(f"cluster of {nodes} nodes up after {time.monotonic() - began:.1f} s", flush=True)
    try:
        some = cells(folder / "empty", empties, steps)
        warm, _, _ = timed(RayEngine(None, work=empty), some, folder / "empty")
        every, _, _ = timed(RayEngine(None, work=empty), some, folder / "empty")
        one = [timed(RayEngine(None, work=empty), [cell], folder / "empty")[0] for cell in some[:8]]
        alone = 1000 * sorted(one)[len(one) // 2]
        print(f"{empties} empty cells: {every:.2f} s, {1000 * every / empties:.1f} ms each (first time, with workers "
              f"beginning: {warm:.1f} s); one alone {alone:.0f} ms", flush=True)  # fmt: skip
        root = folder / "nodes"
        real = cells(root, count, steps)
        seconds, inside, _ = timed(RayEngine(None, work=placed), real, root)
        used = {(root / f"node-{cell.name}").read_text(encoding="utf-8") for cell in real}
        overhead = every / empties / max(inside / count, 1e-9)
        print(f"{count} real cells on {len(used)} nodes: {seconds:.1f} s, {inside / count:.1f} s inside each, "
              f"scheduling {overhead:.2%} of that", flush=True)  # fmt: skip
        lost = cluster.list_all_nodes()[-1]
        cluster.remove_node(lost)
        after, _, _ = timed(RayEngine(None, work=empty), some, folder / "empty")
        print(f"one node lost: {empties} empty cells on the other {nodes - 1} in {after:.2f} s", flush=True)
    finally:
        ray.shutdown()
        cluster.shutdown()
    return {"nodes": nodes, "empty_ms": 1000 * every / empties, "empty_first_s": warm, "real_s": seconds,
            "inside_s": inside / count, "nodes_used": len(used), "after_loss_s": after}  # fmt: skip


def main() -> None:
    """Run the parts and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("workers", "nodes"), default=["workers", "nodes"])
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4096, help="environment steps of a cell")
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--empty", type=int, default=64, help="empty cells")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found: dict[str, Any] = {"cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "workers" in asked.parts:
            found["workers"] = workers_part(folder, asked.cells, asked.steps)
        if "nodes" in asked.parts:
            found["nodes"] = nodes_part(folder, asked.cells, asked.steps, asked.nodes, asked.empty)
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
