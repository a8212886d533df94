"""What a fork takes over of finished stages: files as hard links where it can, logs as lines of its own.

What is replaced as a whole when it is written (episodes, policies, JSON) may be one file with two names: writing gives
the writer a new one. What is added to (transcript, events, metrics, the answer cache) is never shared: the lines of
the shared stages are written anew. TensorBoard begins a new file each time, so old ones are linked. What is left out:
the agents' checkpoints (they are of stages that run anew), trainer states, `calls.jsonl`, pictures and reports.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultra_agents.errors import RunError
from ultra_agents.events import AgentSpoke, StepsSpent, TrainingProgress, from_json
from ultra_agents.llm.transcript import usage_of_row
from ultra_agents.records import Usage
from ultra_agents.runs import RunFolder, read_lines
from ultra_agents.runs.files import PLAYED, SCORED, WITH_RULES, plain, round_copies
from ultra_agents.runs.lineage import Paid
from ultra_agents.runs.notes import NOTES
from ultra_agents.text import valid_text

ASKING = ("explain", "rules")
"""Stages that ask models."""
KEPT = {
    "AdviceDecided", "AgentSpoke", "Dropped", "Evaluated", "RulesDecided", "RulesShown", "StateShown", "StepsSpent",
    "TrainingProgress", "Warned",
}  # fmt: skip
"""Events of shared stages that screens, the report and sums need."""
COPIES = {"tested-together": "explain", "start-copy": "start", "imitated": "imitate"}
"""Policies that a stage keeps beside its value, if that says so."""
_CLONE = 0x40049409
"""Linux' FICLONE: a file that shares its blocks with another until either is written."""


@dataclass
class Counts:
    """How files were taken over.

    Attributes:
        linked: Hard links: one file, two names.
        cloned: Files of their own that share their blocks with the parent's until one of them is written.
        copied: Copies.
    """

    linked: int = 0
    cloned: int = 0
    copied: int = 0

    @property
    def words(self) -> str:
        """For people, with why where not all are links."""
        told = [f"{self.linked} files linked"]
        told += [f"{self.cloned} cloned (hard links are not possible here)"] if self.cloned else []
        told += [f"{self.copied} copied (neither hard links nor clones are possible here)"] if self.copied else []
        return ", ".join(told)


def files_of(run: RunFolder, stages: Sequence[str]) -> Iterator[tuple[Path, bool]]:
    """Files of finished stages that are replaced as a whole when written, and whether the stages cannot do without."""
    checkpoints = run.checkpoints
    yield run.checkpoint("start"), run.config.policy.train_steps is not None
    yield run.path / PLAYED, False
    yield run.path / SCORED, False
    if "collect" in stages:
        found = sorted(run.trajectories.glob("episode-*.npz"))
        yield from ((path, True) for path in found or [run.trajectories / "episode-000000.npz"])
    copies = COPIES | {name: stage for stage, name in round_copies(stages).items()}
    for name, stage in copies.items():
        value = (run.stage_done(stage) or {}).get("value") if stage in stages else None
        if isinstance(value, dict) and value.get("copy"):
            yield run.checkpoint(name), True
    if "tabulate" in stages:
        yield run.advice, True
    if "measure" in stages:
        yield run.path / "measures.json", True
    for method in _refined(stages):
        yield from ((checkpoints / f"{method}-{which}.safetensors", True) for which in ("last", "best"))
        yield checkpoints / f"{method}-{WITH_RULES}.safetensors", False
        if (run.tensorboard / method).is_dir():
            yield from ((path, False) for path in sorted((run.tensorboard / method).iterdir()) if path.is_file())


def missing(run: RunFolder, stages: Sequence[str]) -> list[Path]:
    """Files that the stages cannot do without, and that are gone."""
    return [path for path, needed in files_of(run, stages) if needed and not path.is_file()]


def take_over(parent: RunFolder, fork: RunFolder, stages: Sequence[str], *, asks: bool) -> tuple[Counts, Paid]:
    """Put files, lines and values of `stages` into a fork that is being made; how, and what they cost.

    Where it `asks` models anew it gets the parent's answers, so that no question is paid for twice.

    Raises:
        OSError: Something cannot be read or written.
        RunError: A line of the transcript, or the answer cache, is damaged.
    """
    counts = Counts()
    for path, needed in files_of(parent, stages):
        if needed or path.is_file():
            share(path, fork.path / path.relative_to(parent.path), counts)
    asked = [row for row in read_lines(parent.transcript) if _stage_asking(row) in stages]
    used = sum((usage_of_row({**row, "charged": row.get("charged") or row.get("paid_by")}) for row in asked), Usage())
    _write_lines(fork, fork.transcript, (_paid(row, parent.name) for row in asked))
    told = list(_events_of(parent, stages))
    _write_lines(fork, fork.events, (row | ({"charged": False} if _is_reply(row) else {}) for row in told))
    trained = set(_refined(stages))
    _write_lines(fork, fork.metrics, (row for row in read_lines(parent.metrics) if row.get("method") in trained))
    if (parent.path / NOTES).is_file():  # a person's notes: what is asked anew is asked with them
        _write_lines(fork, fork.path / NOTES, read_lines(parent.path / NOTES))
    if asks and fork.config.gateway.cache is None:
        _copy_answers(parent.cache, fork.cache)
    if (carried := parent.carried) is not None:
        fork.keep_carried(carried)
    for stage in stages:
        if (done := parent.stage_done(stage)) is not None:
            fork.mark_done(stage, done)
    tokens = used.prompt_tokens + used.completion_tokens
    return counts, Paid(used.calls, tokens, used.cost, _steps(told))


def share(source: Path, target: Path, counts: Counts) -> None:
    """Give a file a second name; where that cannot be, clone or copy it.

    Raises:
        OSError: It cannot be read, or the place cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_symlink():  # else the link would be what has two names
        with suppress(OSError):
            os.link(source, target, follow_symlinks=False)
            counts.linked += 1
            return
    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _CLONE, old.fileno())
            counts.cloned += 1
        except OSError:
            shutil.copyfileobj(old, new)
            counts.copied += 1


def _refined(stages: Sequence[str]) -> list[str]:
    return [stage.partition(" ")[2] for stage in stages if stage.startswith("refine ")]


def _stage_asking(row: Mapping[str, Any]) -> str:
    """The stage that a line of the transcript is of: questions about rules are about `EPISODE:rules...`."""
    return "rules" if ":rules" in str(row.get("segment", "")) else "explain"


def _paid(row: dict[str, Any], name: str) -> dict[str, Any]:
    """A line of the transcript as the fork keeps it: it counts against no cap of the fork."""
    if not (row.get("charged") or row.get("cached")):
        return row
    return {**row, "charged": False, "paid_by": row.get("paid_by") or name}


def _is_reply(row: Mapping[str, Any]) -> bool:
    return row.get("event") == AgentSpoke.__name__


def _events_of(run: RunFolder, stages: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The lines of `events.jsonl` that tell of these stages, each with its stage, which a fork of a fork looks at."""
    stage: str | None = None
    for row in read_lines(run.events):
        if row.get("event") == "StageStarted":
            stage = str(row.get("stage"))
        elif row.get("event") in KEPT and (of := row.get("of") or stage) in stages:
            yield {**row, "of": of}


def _steps(told: Iterable[Mapping[str, Any]]) -> int:
    """Environment steps that events tell of, each piece of work once."""
    spent: dict[object, int] = {}
    for number, row in enumerate(told):
        event = from_json(row)
        if isinstance(event, StepsSpent):
            spent[(event.purpose, event.work) if event.work else number] = event.steps
        elif isinstance(event, TrainingProgress):
            spent[event.method] = max(spent.get(event.method, 0), event.steps)
    return sum(spent.values())


def _write_lines(run: RunFolder, path: Path, rows: Iterable[dict[str, Any]]) -> None:
    text = "".join(f"{valid_text(json.dumps(plain(row), ensure_ascii=False))}\n" for row in rows)
    if text:
        run.write_text(path, text)


def _copy_answers(source: Path, target: Path) -> None:
    """A consistent copy of an answer cache, whoever writes to it meanwhile."""
    if not source.is_file():
        return
    in_use = source.with_name(f"{source.name}-wal").exists()
    how = "mode=ro" if in_use else "immutable=1"  # reading would leave files beside one that nobody uses
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?{how}", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
    except sqlite3.Error as error:
        if "full" in str(error):
            raise OSError(errno.ENOSPC, str(error), str(target)) from error
        raise RunError(
            f"the answer cache {source} cannot be copied",
            found=str(error),
            hint=f"move it aside, or name another with --set gateway.cache=FILE: mv {source} {source}.aside",
        ) from error
