"""Can states be restored here, exactly? Asked once per run, before anything is built on it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from ultra_agents.contracts import capabilities
from ultra_agents.events import Warned
from ultra_agents.plugin_calls import plugin_name
from ultra_agents.stages.context import RunContext
from ultra_agents.verification import Probe, restore_is_exact

FILE = "probe.json"


def restores(context: RunContext, otherwise: str) -> bool:
    """Whether states of this environment can be restored; if not, a warning says what is done instead.

    The probe's steps are charged to nobody: they ask whether a plugin keeps its contract, and would be the same for
    every method.

    Args:
        context: The run.
        otherwise: What happens where they cannot, as the end of a sentence.
    """
    name = f"the environment {plugin_name(context.environment)}"
    if "snapshot" not in capabilities(context.environment):
        context.emit(Warned(f"{name} cannot restore states: {otherwise}"))
        return False
    dataset = (context.folder.stage_done("collect") or {}).get("dataset")
    if dataset is not None:
        context.emit(Warned(f"the episodes of the dataset {dataset} have no simulator states: {otherwise}"))
        return False
    found = probe_of(context)
    if found is None:
        found = restore_is_exact(context.environment, context.policy, context.streams.child("probe"))
        context.folder.write_json(FILE, asdict(found))
    if not found.ok:
        context.emit(Warned(f"{name} does not restore states exactly ({found.differed}): {otherwise}"))
    return found.ok


def probe_of(context: RunContext) -> Probe | None:
    """What the probe of this run found; None where it was not asked."""
    path = context.folder.path / FILE
    if not path.is_file():
        return None
    row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Probe(**row)
