"""Runs that take over what another run has made already, because it would come out the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from ultra_agents.config import Config
from ultra_agents.errors import RunError
from ultra_agents.files import whole_file
from ultra_agents.runs import RunFolder
from ultra_agents.runs.files import PLAYED, SCORED, round_copies

ADVICE_STAGES = ("probe", "narrate", "explain", "tabulate", "rules", "measure", "imitate")
_TOLD = 3
"""As many differences from a configuration are told one by one."""
_ADVICE_FILES = ("advice.jsonl", "measures.json", "transcript.jsonl")


def take_up(root: Path, config: Config, again: str) -> RunFolder:
    """The run folder of `config` below `root`: made, or taken up again, wherever its files lie by now.

    Args:
        root: Where run folders are.
        config: What shall be run.
        again: How to name another folder, for the error message.

    Raises:
        RunError: There is a run of that name with another configuration.
    """
    path = root / config.name
    if not path.exists():
        return RunFolder.create(root, config)
    folder = found_again(path, config, again)
    folder.go_on_with(config)
    return folder


def found_again(path: Path, config: Config, again: str) -> RunFolder:
    """The run in the folder `path`, which is there, as it is.

    Raises:
        RunError: It has another configuration, or read other files than those that are there now.
    """
    folder = RunFolder.open(path)
    if apart := folder.differs_from(config):
        more = f"; and {len(apart) - _TOLD} more" if len(apart) > _TOLD else ""
        raise RunError(
            f"the run {path} exists already, with another configuration",
            found="; ".join(apart[:_TOLD]) + more,
            expected="the same configuration, to go on with it",
            hint=f"see what it found: {path}, or start another: {again}",
        )
    return folder


def share_episodes(source: RunFolder, target: RunFolder) -> None:
    """Give `target` the starting policy of `source`, its episodes and its scores: the same for the same seed.

    Raises:
        RunError: They cannot be copied.
    """
    collected = source.stage_done("collect")
    if collected is None or target.stage_done("collect") is not None:
        return
    try:
        shutil.copytree(source.trajectories, target.trajectories, dirs_exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot copy the episodes of {source.path}", found=str(error)) from error
    _copy((source.checkpoint("start"),), target.checkpoints)
    _copy((source.path / PLAYED, source.path / SCORED), target.path)
    target.mark_done("collect", collected)


def share_advice(source: RunFolder, target: RunFolder) -> None:
    """Give `target` the advice of `source`, explained, tested and imitated, with what all that has cost.

    Only for runs that differ in nothing that advice depends on.

    Raises:
        RunError: It cannot be copied.
    """
    if source.stage_done("measure") is None or target.stage_done("measure") is not None:
        return
    _copy((source.path / name for name in _ADVICE_FILES), target.path)
    rounds = round_copies(source.done)
    copies = ("imitated", "tested-together", *rounds.values())
    _copy((source.checkpoint(name) for name in copies), target.checkpoints)
    for stage in (*ADVICE_STAGES, *rounds):
        done = source.stage_done(stage)
        if done is not None:
            target.mark_done(stage, done)


def _copy(files: Iterable[Path], folder: Path) -> None:
    """Copy those that are there; each appears whole or not at all."""
    for file in files:
        if not file.exists():
            continue
        try:
            with file.open("rb") as source, whole_file(folder / file.name) as target:
                shutil.copyfileobj(source, target)
        except OSError as error:
            raise RunError(f"cannot copy {file}", found=str(error)) from error
