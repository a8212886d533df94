"""A run folder read for browsing: nothing in it is changed, and it may be of a run that is still going on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ultra_agents.config import colours_of
from ultra_agents.errors import RunError
from ultra_agents.records import HUMAN, Explanation, MethodResult, Trajectory
from ultra_agents.records.approval import refuse
from ultra_agents.runs.files import PACKAGES, PROCESSOR, read_versions
from ultra_agents.text import clean, counted
from ultra_agents.ui.inspect.run_view import ModelCall, RulesView, RunView
from ultra_agents.ui.text import count, took

if TYPE_CHECKING:
    from ultra_agents.runs import RunFolder

T = TypeVar("T", Explanation, MethodResult)


def read_run(
    folder: RunFolder, trajectories: Sequence[Trajectory], damage: Sequence[str] = (), rules: RulesView | None = None
) -> RunView:
    """Everything of a run that is looked up at once; `damage` are notes about what could not be read.

    Raises:
        RunError: The outcome of a stage is damaged.
    """
    explanations, finished = read_explanations(folder)
    lengths = {one.episode: len(one) for one in trajectories}
    shown = [
        replace(one, states=tuple(sorted((s for s in one.states if 0 <= s.step < length), key=lambda s: s.step)))
        for one in sorted(explanations, key=lambda one: (one.segment.episode, one.segment.start))
        if (length := lengths.get(one.segment.episode)) is not None
    ]
    status, notes = status_of(folder), list(damage)
    if not finished:
        notes.append(f"the agents are not finished: {counted(len(explanations), 'segment')} so far")
    elif not folder.config.of_moves:
        notes += [] if rules is not None else ["no rules yet" if status == "running" else "no rules were looked for"]
    elif not any(one.states for one in shown):
        notes.append("no critical states yet" if status == "running" else "no critical states were found")
    return RunView(
        name=folder.name,
        folder=str(folder.path),
        environment=folder.config.environment.name,
        status=status,
        proposer=folder.config.proposer,
        episodes=tuple(sorted(trajectories, key=lambda one: one.episode)),
        explanations=tuple(shown),
        methods=tuple(_validated((folder.stage_done("evaluate") or {}).get("value") or [], MethodResult, folder)),
        notes=(*family_notes(folder), *notes, *version_notes(folder)),
        colours=colours_of(folder.config.methods),
        rules=rules,
        remarks=remarks_of(folder),
    )


def remarks_of(folder: RunFolder) -> tuple[str, ...]:
    """What a person said to the agents, and the sets of rules of theirs that are not the run's."""
    from ultra_agents.runs.notes import note_rows
    from ultra_agents.stages.rules_overview import read_rules

    found = [
        f"note of {clean(row['time'])}, read with {counted(row['questions'], 'question')}: {clean(row['text'])}"
        for row in note_rows(folder.path)
    ]
    rules = read_rules(folder) if folder.config.of_rules else None
    for index, one in enumerate(() if rules is None else rules.proposals):
        if one.source == HUMAN and rules is not None and index != rules.chosen:
            told = "".join(f"{each.feedback} {each.gain or 0:+.3g} per episode" for each in one.attempts[-1:])
            found.append(f"rules: {told}, not in use: {clean(one.text, 160)}")
    return tuple(found)


def status_of(folder: RunFolder) -> str:
    """`finished`, `running` (another process that holds the folder lives), or `stopped`."""
    if "report" in folder.done:
        return "finished"
    last = ""
    try:
        holder = int((folder.path / ".lock").read_text(encoding="utf-8").strip() or 0)
        with folder.events.open("rb") as file:
            file.seek(max(folder.events.stat().st_size - 4096, 0))
            last = file.read().decode("utf-8", "replace").rstrip().rpartition("\n")[2]
        os.kill(holder, 0)
    except (OSError, ValueError, OverflowError):
        return "stopped"
    mine = holder == os.getpid()  # a person's advice was tested here
    return "stopped" if mine or holder <= 0 or '"RunFinished"' in last else "running"


def read_explanations(folder: RunFolder) -> tuple[list[Explanation], bool]:
    """What came of the segments, and whether that is all.

    Raises:
        RunError: What the stage kept cannot be read.
    """
    done = folder.stage_done("explain")
    if done is not None:
        value = done.get("value")
        rows = value.get("explanations") if isinstance(value, dict) else None
        refused = {
            (int(episode), int(step)) for episode, step in (folder.stage_done("approve") or {}).get("value", ())
        }
        return list(refuse(_validated(rows, Explanation, folder), refused)), True
    from ultra_agents.agents.checkpoint import checkpoint_of
    from ultra_agents.cli.inspect.partial import read_partial

    rows = read_partial(checkpoint_of(folder))
    return ([], True) if rows is None else (_validated(rows, Explanation, folder), False)


def _validated(rows: Any, kind: type[T], folder: RunFolder) -> list[T]:
    """Rows as records of `kind`, every text in them clean."""
    from pydantic import TypeAdapter, ValidationError

    names = [field.name for field in fields(kind)]
    try:
        known = [{name: _cleaned(row[name]) for name in names if name in row} for row in rows]
        return TypeAdapter(list[kind]).validate_python(known)  # type: ignore[valid-type]
    except (ValidationError, TypeError) as error:
        what, again = (
            ("what the agents found", "explain these episodes again: ultra explain CONFIG --name ANOTHER")
            if kind is Explanation
            else ("what the methods scored", "run it again: ultra run CONFIG --name ANOTHER")
        )
        raise RunError(f"{what} in {folder.path} cannot be read", found=clean(str(error), 160), hint=again) from error


def _cleaned(value: Any) -> Any:
    """The same JSON value with clean texts: models may have written what a terminal would obey."""
    if isinstance(value, dict):
        return {key: _cleaned(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(part) for part in value]
    return clean(value) if isinstance(value, str) else value


def read_conversation(path: Path) -> tuple[dict[str, tuple[ModelCall, ...]], list[str]]:
    """Model calls by segment, each once, and notes about lines that cannot be read.

    Raises:
        RunError: The file holds no readable line at all, or cannot be opened.
    """
    from ultra_agents.runs import read_lines

    if not path.is_file() or not path.stat().st_size:
        return {}, []
    try:
        rows = list(read_lines(path))
        with path.open("rb") as file:
            damaged = sum(bool(line.strip()) for line in file) - len(rows)
    except OSError as error:
        raise RunError(f"cannot read the transcript {path}", found=str(error)) from error
    if not rows:
        raise RunError(
            f"the transcript {path} is damaged",
            found=f"{damaged} unreadable lines",
            expected="one JSON object a line",
            hint="move it away to look at the rest of the run",
        )
    found: dict[str, list[ModelCall]] = {}
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        name = clean(str(row.get("segment", "")))
        question = tuple(str(row.get(key)) for key in ("agent", "segment", "key", "attempt", "model"))
        if question in seen and row.get("cached"):  # a resumed run asks again what it had asked
            continue
        seen.add(question)
        found.setdefault(name, []).append(call_of(row))
    notes = [f"{counted(damaged, 'damaged line')} of the transcript passed over"] if damaged else []
    return {name: tuple(rows) for name, rows in found.items()}, notes


def call_of(row: dict[str, Any]) -> ModelCall:
    """One line of the transcript."""
    messages = tuple(
        (clean(str(part[0])), str(part[1]))
        for part in row.get("messages") or []
        if isinstance(part, list) and part[1:]
    )
    step = row.get("step")
    tokens = f"{count(_number(row, 'prompt_tokens'))} + {count(_number(row, 'completion_tokens'))} tokens"
    return ModelCall(
        agent=clean(str(row.get("agent", "?"))),
        model=clean(str(row.get("model", "")), 40),
        step=step if isinstance(step, int) else None,
        verdict=clean(str(row.get("verdict", ""))),
        spent="from the cache" if row.get("cached") else f"{tokens}, {took(_number(row, 'seconds'))}",
        messages=messages,
        reply=str(row.get("reply") or ""),
    )


def _number(row: dict[str, Any], key: str) -> float:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def family_notes(folder: RunFolder) -> list[str]:
    """One line about the run that this one was forked from, and one about its own forks."""
    from ultra_agents.runs.lineage import forks_of, place_of_parent

    notes, parent = [], folder.parent
    if parent is not None:
        gone = "" if place_of_parent(folder.path, parent) is not None else ", which is gone"
        shared = ", ".join(parent.shared) or "the starting policy"
        notes.append(f"{parent.words}{gone}; shared with it: {shared} (paid there: {parent.paid.words})")
    if forks := [f"{path.name} from {one.stage} on" for path, one in forks_of(folder.path, folder.id)]:
        notes.append(f"forked as {', '.join(forks)}")
    return notes


def version_notes(folder: RunFolder) -> list[str]:
    """One line for every distribution that is of another version now, or gone."""
    from ultra_agents.runs import versions

    if not (then := read_versions(folder.versions_path)):
        return []
    if (parent := folder.parent) is not None:  # which made the episodes
        then |= parent.versions
    now = versions()
    matter = [name for name in then if name.startswith("ultra") or name in ("ale-py", "gymnasium")]
    matter += [name for name in then if name not in matter and name not in (*PACKAGES, "python", PROCESSOR)]
    changed = [f"{name} {then[name]} (now {now.get(name, 'gone')})" for name in matter if now.get(name) != then[name]]
    return [f"made with {', '.join(changed)}: pictures and words may differ"] if changed else []
