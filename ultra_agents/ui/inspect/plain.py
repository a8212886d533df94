"""A run's critical states without a terminal: one line each, stable for grep; or one JSON object."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from ultra_agents.ui.inspect.book import Book, Critical
from ultra_agents.ui.text import clean

HEAD = ("episode:step", "fate", "taken", "suggested", "gain", "low", "high", "pairs", "stopped", "critic", "why")


def lines(book: Book) -> Iterator[str]:
    """`run ...`, `note ...`, `method ...`, `episode ...`, `stretch ...`, then a table of `critical ...` lines."""
    counts = ", ".join(f"{number} {fate}" for fate, number in book.counts.items() if number or fate != "open")
    yield (
        f"run {clean(book.name)}: {clean(book.environment)}, proposer {book.proposer}, {book.status}; "
        f"{len(book.episodes)} episodes, {len(book.stretches)} stretches, "
        f"{len(book.critical)} critical states: {counts}"
    )
    for note in book.notes:
        yield f"note {clean(note)}"
    for arm in book.arms:
        yield f"method {arm.method} before={arm.before:.2f} after={arm.after:.2f}"
    for episode in book.episodes:
        yield f"episode {episode.index} steps={len(episode)} return={episode.total:.2f} {episode.ending}"
    for stretch in book.stretches:
        yield f"stretch {stretch.segment.name} critical={len(stretch.critical)} {clean(stretch.segment.kind)}"
    table = [HEAD, *map(row, book.critical)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD) - 1)]
    right = range(4, 8)
    for line in table if book.critical else ():
        cells = [cell.rjust(widths[n]) if n in right else cell.ljust(widths[n]) for n, cell in enumerate(line[:-1])]
        yield f"{'critical' if line is not HEAD else '#       '} {'  '.join(cells)}  {line[-1]}".rstrip()


def row(one: Critical) -> tuple[str, ...]:
    """The cells of one critical state, `-` where there is nothing."""
    last, test = one.last, one.test
    cells = [f"{one.episode}:{one.step}", one.fate, one.taken, clean(last.short, 40) if last else "-"]
    if test is None:
        cells += ["-"] * 5
    else:
        cells += [f"{test.gain:+.3f}", f"{test.low:+.3f}", f"{test.high:+.3f}", str(test.pairs), test.stopped]
    cells += [(last.verdict if last else "") or "-", clean(one.reason, 60) or "-"]
    return tuple(cells)


def to_json(book: Book) -> str:
    """The book as JSON: `critical` holds one object per critical state with all its suggestions."""
    value = {
        "run": book.name,
        "folder": book.folder,
        "environment": book.environment,
        "status": book.status,
        "proposer": book.proposer,
        "notes": list(book.notes),
        "methods": [{"method": arm.method, "before": arm.before, "after": arm.after} for arm in book.arms],
        "episodes": [
            {"episode": one.index, "steps": len(one), "return": one.total, "ending": one.ending}
            for one in book.episodes
        ],
        "stretches": [
            {"segment": one.segment.name, "kind": one.segment.kind, "env_steps": one.env_steps, "notes": one.notes}
            for one in book.stretches
        ],
        "critical": [_object(one) for one in book.critical],
    }
    return json.dumps(_finite(value), indent=1, ensure_ascii=False)


def _object(one: Critical) -> dict[str, Any]:
    return {
        "episode": one.episode, "step": one.step, "segment": one.segment, "fate": one.fate, "reason": one.reason,
        "detail": one.detail, "rationale": one.rationale, "importance": one.importance, "agreement": one.agreement,
        "taken": one.taken,
        "suggestions": [
            {
                "plan": a.plan, "rationale": a.rationale, "verdict": a.verdict or None, "reward": a.reward,
                "taken_reward": a.taken_reward, "critique": a.critique,
                "test": None if a.test is None else {
                    "gain": a.test.gain, "low": a.test.low, "high": a.test.high, "pairs": a.test.pairs,
                    "better": a.test.better, "worse": a.test.worse, "stopped": a.test.stopped,
                    "passed": a.test.passed, "env_steps": a.test.env_steps,
                },
            }
            for a in one.attempts
        ],
    }  # fmt: skip


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
