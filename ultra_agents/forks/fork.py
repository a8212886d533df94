"""Makes a fork: a run whose first stages are another run's, and whose others run anew under changed settings."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ultra_agents.config import Config, load_config
from ultra_agents.errors import RunError, did_you_mean
from ultra_agents.forks.settings import Change, changes
from ultra_agents.forks.sharing import ASKING, Counts, missing, take_over
from ultra_agents.pipeline import plan_of
from ultra_agents.runs import RunFolder, with_absolute_paths
from ultra_agents.runs.files import plain, read_versions
from ultra_agents.runs.lineage import PARENT, PARENTS, Parent


def fork_config(parent: RunFolder, settings: Sequence[str], name: str) -> Config:
    """The parent's configuration with changed settings and another name; relative paths are of the working directory.

    Raises:
        ConfigError: Unknown key, bad value, or a name that is none.
    """
    named = f"name={json.dumps(name)}"
    return with_absolute_paths(load_config(parent.config_path, [*settings, named], base=Path.cwd()))


def shared_stages(parent: RunFolder, config: Config, stage: str) -> tuple[str, tuple[str, ...], list[Change]]:
    """What a fork under `config` from `stage` on would take over; everything that speaks against it is refused.

    Args:
        parent: The run.
        config: The fork's configuration.
        stage: The first stage that is run anew; `refine` is the first of those.

    Returns:
        The name of that stage, the stages taken over (without `policy`, which every run reads again), the settings
        that differ.

    Raises:
        RunError: No such stage, one before it that is not finished or was made under other settings, files gone.
    """
    if parent.config_changed:
        raise RunError(
            f"{parent.config_path} was changed after the run began: what its stages were made with is not known",
            expected="the configuration it began with",
            hint="undo the change, or start another run of it: ultra run CONFIG --name NAME",
        )
    plan = list(plan_of(config))
    first = _first(plan, stage, parent)
    before = plan[1 : plan.index(first)]
    _check_finished(parent, plan_of(parent.config), before, first)
    joint = ((parent.stage_done("explain") or {}).get("value") or {}).get("joint")
    found = changes(parent.config, config, plan, joint)
    _check_settings(parent, first, [one for one in found if one.stage in ("policy", *before)], plan)
    shared = tuple(one for one in before if parent.stage_done(one) is not None)
    if gone := missing(parent, shared):
        raise RunError(
            f"{parent.path} lacks files of stages that a fork would share",
            found=f"gone: {', '.join(str(path.relative_to(parent.path)) for path in gone[:4])}",
            hint="restore them, or fork from an earlier stage",
        )
    return first, shared, found


def make_fork(parent: RunFolder, config: Config, stage: str, runs: Path) -> tuple[RunFolder, Parent, Counts]:
    """Make the run folder of a fork; it appears complete or not at all, and nothing of the parent's is changed.

    The parent may be running: only stages that it has finished are taken over.

    Raises:
        RunError: As `shared_stages`; the name is taken, the place is within the parent or cannot be written.
    """
    place = Path(os.path.abspath(runs / config.name))
    if place.parent.resolve().is_relative_to(parent.path.resolve()):
        raise RunError(
            f"a fork cannot be made within its parent {parent.path}",
            found=f"--runs {runs}",
            expected="a folder of runs, beside the parent",
        )
    first, shared, found = shared_stages(parent, config, stage)
    plan = list(plan_of(config))
    asks = bool({*ASKING} & {*plan[plan.index(first) :]})
    made: list[tuple[Parent, Counts]] = []

    def fill(fork: RunFolder) -> None:
        counts, paid = take_over(parent, fork, shared, asks=asks)
        about = Parent(
            id=parent.id,
            name=parent.name,
            place=os.path.relpath(parent.path.absolute(), place),
            stage=first,
            shared=shared,
            changed={one.key: one.words for one in found},
            paid=paid,
            versions=_versions(parent),
        )
        fork.write_json(PARENT, plain(PARENTS.dump_python(about, mode="json")))
        made.append((about, counts))

    fork = RunFolder.create(runs, config, fill)
    return fork, *made[0]


def _first(plan: Sequence[str], stage: str, parent: RunFolder) -> str:
    """The stage of the plan that is meant."""
    if stage == "refine":
        return next(one for one in plan if one.startswith("refine "))
    if stage == plan[0]:
        raise RunError(
            f"a fork from {stage} would share nothing",
            expected=f"one of: {', '.join(plan[1:])}",
            hint=f"start another run: ultra run {parent.config_path} --name NAME --set ...",
        )
    if stage not in plan:
        raise RunError(
            f"the fork has no stage {stage!r}",
            expected=f"one of: {', '.join(plan[1:])}",
            hint=did_you_mean(stage, plan[1:]),
        )
    return stage


def _check_finished(parent: RunFolder, plan: dict[str, float], before: Sequence[str], first: str) -> None:
    """Every stage before the first must be finished, or passed over: rules that hold leave moves nothing to do."""
    order = list(plan)
    reached = max((order.index(one) for one in parent.done if one in order), default=0)
    for stage in before:
        passed = stage in order and order.index(stage) < reached
        if parent.stage_done(stage) is None and not passed:
            asked = "" if stage in order else ", nor planned there"
            raise RunError(
                f"the stage {stage!r}, which comes before {first!r}, is not finished in {parent.path}{asked}",
                found=f"finished: {', '.join(parent.done) or 'none'}",
                expected="a fork shares finished stages only",
                hint=f"fork from there: --from {_quoted(stage)}"
                + (f", or finish it: ultra resume {parent.path}" if stage in order else ""),
            )


def _check_settings(parent: RunFolder, first: str, wrong: Sequence[Change], plan: Sequence[str]) -> None:
    """Refuse settings that a shared stage was made under."""
    if not wrong:
        return
    wrong = sorted(wrong, key=lambda one: plan.index(one.stage or first))
    earliest = wrong[0].stage or first
    told = [f"{one.key}: {one.words[0]} -> {one.words[1]} (stage {one.stage})" for one in wrong]
    those = f"the setting {wrong[0].key} belongs to the stage {earliest!r}, which"
    if len(wrong) > 1:
        those = "these settings belong to stages that"
    hint = f"fork from there: --from {_quoted(earliest)}"
    if earliest == plan[0]:
        hint = f"it concerns every stage; start another run: ultra run {parent.config_path} --name NAME --set ..."
    raise RunError(
        f"{those} a fork from {first!r} shares with {parent.name}",
        found="; ".join(told),
        expected=f"settings that no stage before {first!r} reads",
        hint=hint,
    )


def _quoted(stage: str) -> str:
    return f'"{stage}"' if " " in stage else stage


def _versions(parent: RunFolder) -> dict[str, str]:
    """What made the parent's stages: what it was begun with, and what made those it took over itself."""
    return read_versions(parent.versions_path) | ({} if parent.parent is None else parent.parent.versions)
