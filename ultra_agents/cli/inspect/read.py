"""A run folder read for browsing: nothing in it is changed, and it may be of a run that is still going on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import StatisticsError, fmean
from typing import TYPE_CHECKING, Any

from ultra_agents.config import colours_of
from ultra_agents.errors import EnvironmentFault, RunError, UltraError
from ultra_agents.records import Advice, CriticalState, Drop, Explanation, Move, Trajectory
from ultra_agents.runs.files import PACKAGES
from ultra_agents.ui.inspect.book import Arm, Attempt, Book, Critical, Episode, Exchange, Fate, Stretch
from ultra_agents.ui.text import clean, count, took

if TYPE_CHECKING:
    from ultra_agents.contracts import Environment
    from ultra_agents.runs import RunFolder

JOINT = "Kept by the joint test"
"""How the critique of a row begins that only a joint test accepted."""
_JOINT_DROP = re.compile(r"step (\d+): ")
_JUDGED = {"no gain in simulation", "no gain together", "rejected by critic", "no revision left"}
"""Reasons that are a judgement; the others say that a reply had no usable form or was not paid for."""
_ABOUT = re.compile(r"^Step (\d+):", re.MULTILINE)


def read_book(
    folder: RunFolder, environment: Environment, trajectories: Sequence[Trajectory]
) -> tuple[Book, dict[str, tuple[Exchange, ...]]]:
    """Everything of a run that is looked up at once, and the conversation by stretch.

    Raises:
        RunError: The transcript or the outcome of a stage is damaged.
    """
    conversation, notes = read_conversation(folder.transcript)
    explanations, partial = read_explanations(folder)
    by_episode = {one.episode: one for one in trajectories}
    stretches = [
        stretch_of(
            one,
            by_episode[one.segment.episode],
            environment,
            conversation.get(one.segment.name, ()),
            folder.config.verification.decide == "joint",
        )
        for one in explanations
        if one.segment.episode in by_episode
    ]
    status = status_of(folder)
    if partial:
        notes.append(f"the agents are not finished: {len(explanations)} stretches so far")
    elif not any(one.critical for one in stretches):
        notes.append("no critical states yet" if status == "running" else "no critical states were found")
    notes += version_notes(folder)
    book = Book(
        name=folder.name,
        folder=str(folder.path),
        environment=folder.config.environment.name,
        status=status,
        proposer=folder.config.proposer,
        episodes=tuple(
            Episode(one.episode, one.rewards, one.values, ending_of(one))
            for one in sorted(trajectories, key=lambda one: one.episode)
        ),
        stretches=tuple(sorted(stretches, key=lambda one: (one.segment.episode, one.segment.start))),
        arms=arms_of(folder),
        notes=tuple(notes),
        colours=colours_of(folder.config.methods),
    )
    return book, conversation


def ending_of(trajectory: Trajectory) -> str:
    """How an episode ended, in a word."""
    return "terminated" if trajectory.terminated else "truncated" if trajectory.truncated else "cut"


def status_of(folder: RunFolder) -> str:
    """`finished`, `running` (the process that holds the folder lives), or `stopped`."""
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
    return "stopped" if holder <= 0 or '"RunFinished"' in last else "running"


def read_explanations(folder: RunFolder) -> tuple[list[Explanation], bool]:
    """What came of the stretches, and whether more is to come.

    Raises:
        RunError: What the stage kept cannot be read.
    """
    from pydantic import TypeAdapter, ValidationError

    done = folder.stage_done("explain")
    if done is not None:
        try:
            return TypeAdapter(list[Explanation]).validate_python(done["value"]), False
        except (ValidationError, KeyError, TypeError) as error:
            raise RunError(
                f"what the agents found in {folder.path} cannot be read",
                found=clean(str(error), 160),
                hint="explain these episodes again: ultra explain CONFIG --name ANOTHER",
            ) from error
    if not folder.explain.is_file():
        return [], False
    from ultra_agents.cli.inspect.partial import read_partial

    return read_partial(folder.explain), True


def stretch_of(
    one: Explanation,
    trajectory: Trajectory,
    environment: Environment,
    said: Sequence[Exchange],
    jointly: bool = False,
) -> Stretch:
    """One explained stretch.

    The agents decide critical states one after the other, each with a row of advice or one drop; what a joint test did
    to them afterwards is told apart by its words. `jointly`: nothing was tested alone.
    """
    joint: dict[int, Drop] = {}
    single: list[Drop] = []
    for dropped in one.drops:
        found = _JOINT_DROP.match(dropped.detail) if dropped.stage == "test" else None
        if found:
            joint[int(found[1])] = dropped
        elif dropped.stage != "identify" and not dropped.reason.startswith("reflection: "):
            single.append(dropped)
    accepted = {row.step: row for row in one.advice}
    alone = {step for step, row in accepted.items() if jointly or not row.critique.startswith(JOINT)}
    alone |= set(joint) if jointly else set()
    critical = []
    for state in one.critical:
        last = None if state.step in alone or not single else single.pop(0)
        if 0 <= state.step < len(trajectory):
            drop = joint.get(state.step) or last
            critical.append(_critical(state, one, trajectory, environment, said, accepted.get(state.step), drop))
    notes = tuple(
        f"{drop.stage}: {clean(drop.reason)}" + (f" ({clean(drop.detail, 120)})" if drop.detail else "")
        for drop in one.drops
        if drop.stage == "identify"
    )
    return Stretch(one.segment, tuple(sorted(critical, key=lambda c: c.step)), notes, one.env_steps)


def _critical(
    state: CriticalState,
    one: Explanation,
    trajectory: Trajectory,
    environment: Environment,
    said: Sequence[Exchange],
    row: Advice | None,
    drop: Drop | None,
) -> Critical:
    attempts = attempts_of(state.step, one, said, row)
    refuted = any(attempt.test is not None and not attempt.test.passed for attempt in attempts)
    fate: Fate = "accepted" if row else "open" if drop is None else "dropped"
    if fate == "dropped" and drop is not None and (drop.reason in _JUDGED or refuted):
        fate = "refused"
    reason, detail = ("", "") if drop is None or row else (drop.reason, drop.detail)
    if row is not None and row.critique.startswith(JOINT):
        reason, detail = "kept by the joint test", row.critique
    return Critical(
        episode=state.episode,
        step=state.step,
        segment=one.segment.name,
        rationale=clean(state.rationale),
        importance=state.importance,
        agreement=state.agreement,
        taken=action_word(environment, trajectory, state.step),
        fate=fate,
        reason=clean(reason),
        detail=clean(detail),
        attempts=attempts,
    )


def attempts_of(step: int, one: Explanation, said: Sequence[Exchange], row: Advice | None) -> tuple[Attempt, ...]:
    """Every suggestion at a step: as the conversation has them, with the tests; or the tests alone, of a control."""
    made: list[Attempt] = []
    for exchange in said:
        if exchange.step != step or exchange.verdict != "ok":
            continue
        fields = _fields(exchange.reply)
        if exchange.agent == "advisor" and fields.get("action"):
            made.append(Attempt(_moves(fields), clean(str(fields.get("reasoning", "")))))
        elif exchange.agent == "critic" and made:
            made[-1] = _judged(made[-1], fields)
    for trial in one.trials:
        if trial.suggestion.step != step:
            continue
        moves = trial.suggestion.moves
        index = next((i for i, a in enumerate(made) if a.moves == moves and a.test is None), None)
        if index is None:
            made.append(Attempt(moves, clean(trial.suggestion.rationale), reward=trial.reward))
            index = len(made) - 1
        made[index] = replace(made[index], test=trial.result)
    if row is not None:
        index = next((i for i, a in enumerate(made) if a.moves == row.moves), None)
        last = made.pop(index) if index is not None else Attempt(row.moves)
        critique = clean(row.critique) if not row.critique.startswith(JOINT) else last.critique
        last = replace(
            last, rationale=clean(row.advice), reward=row.reward, taken_reward=row.taken_reward, critique=critique,
            test=row.test or last.test,
        )  # fmt: skip
        made.append(last)  # the accepted one stands last, whatever was tried beside it
    return tuple(made)


def _fields(reply: str) -> dict[str, Any]:
    begin, end = reply.find("{"), reply.rfind("}")
    try:
        fields = json.loads(reply[begin : end + 1])
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _moves(fields: dict[str, Any]) -> tuple[Move, ...]:
    """An advisor's reply as a plan: `action`, `hold`, then `action_2`, `hold_2`, ... up to `END`."""
    moves: list[Move] = []
    for number in ["", *(f"_{index}" for index in range(2, 10))]:
        action, hold = fields.get(f"action{number}"), fields.get(f"hold{number}")
        if not isinstance(action, str) or action == "END":
            break
        moves.append((clean(action), int(hold) if isinstance(hold, int | float | str) and str(hold).isdigit() else 1))
    return tuple(moves)


def _judged(attempt: Attempt, fields: dict[str, Any]) -> Attempt:
    def number(name: str) -> float | None:
        value = fields.get(name)
        return float(value) if isinstance(value, int | float) else None

    return replace(
        attempt,
        verdict=clean(str(fields.get("verdict", "")), 12),
        reward=number("reward"),
        taken_reward=number("taken_reward"),
        critique=clean(str(fields.get("reasoning", ""))),
    )


def action_word(environment: Environment, trajectory: Trajectory, step: int) -> str:
    """The name of the action the policy took.

    Raises:
        EnvironmentFault: The environment does not know this action: it is not the one of the run.
    """
    import numpy as np

    try:
        return clean(str(environment.actions.decode(np.asarray(trajectory.actions[step]))))
    except UltraError:
        raise
    except Exception as error:
        raise EnvironmentFault(
            f"the environment {environment.env_id} does not know an action of this run",
            found=f"episode {trajectory.episode}, step {step}: {type(error).__name__}: {error}",
            hint="install the version of the plugin that versions.json in the run folder names",
        ) from error


def read_conversation(path: Path) -> tuple[dict[str, tuple[Exchange, ...]], list[str]]:
    """Exchanges by stretch, each once, and notes about lines that cannot be read.

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
    found: dict[str, list[Exchange]] = {}
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        name = clean(str(row.get("segment", "")))
        mark = tuple(str(row.get(key)) for key in ("agent", "segment", "key", "attempt", "model"))
        if mark in seen and row.get("cached"):  # a resumed run asks again what it had asked
            continue
        seen.add(mark)
        found.setdefault(name, []).append(exchange_of(row))
    notes = [f"{damaged} damaged line{'s' if damaged > 1 else ''} of the transcript passed over"] if damaged else []
    return {name: tuple(rows) for name, rows in found.items()}, notes


def exchange_of(row: dict[str, Any]) -> Exchange:
    """One line of the transcript."""
    messages = tuple(
        (clean(str(part[0])), str(part[1]))
        for part in row.get("messages") or []
        if isinstance(part, list) and part[1:]
    )
    about = _ABOUT.search(messages[-1][1]) if messages and row.get("agent") != "identifier" else None
    tokens = f"{count(_number(row, 'prompt_tokens'))} + {count(_number(row, 'completion_tokens'))} tokens"
    return Exchange(
        agent=clean(str(row.get("agent", "?"))),
        model=clean(str(row.get("model", "")), 40),
        step=int(about[1]) if about else None,
        verdict=clean(str(row.get("verdict", ""))),
        spent="from the cache" if row.get("cached") else f"{tokens}, {took(_number(row, 'seconds'))}",
        messages=messages,
        reply=str(row.get("reply") or ""),
    )


def _number(row: dict[str, Any], key: str) -> float:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def arms_of(folder: RunFolder) -> tuple[Arm, ...]:
    """What every finished method made of the policy."""
    arms = []
    for value in (folder.stage_done("evaluate") or {}).get("value") or ():
        with suppress(KeyError, TypeError, StatisticsError):
            arms.append(Arm(clean(value["method"]), fmean(value["before"]["values"]), fmean(value["best"]["values"])))
    return tuple(arms)


def version_notes(folder: RunFolder) -> list[str]:
    """One line for every distribution that is of another version now, or gone."""
    from ultra_agents.runs import versions

    try:
        then = json.loads(folder.versions_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    now = versions()
    matter = [name for name in then if name.startswith("ultra") or name in ("ale-py", "gymnasium")]
    matter += [name for name in then if name not in matter and name not in PACKAGES and name != "python"]
    changed = [f"{name} {then[name]} (now {now.get(name, 'gone')})" for name in matter if now.get(name) != then[name]]
    return [f"made with {', '.join(changed)}: pictures and words may differ"] if changed else []
