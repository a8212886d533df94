"""What is written down of an exchange with a model: the transcript's line, the event, the call before it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultra_agents.events import AgentSpoke, Emit
from ultra_agents.llm.budget import usage_of
from ultra_agents.llm.model import Model
from ultra_agents.llm.question import Question
from ultra_agents.llm.replies import RawReply
from ultra_agents.llm.tools import shown
from ultra_agents.llm.transcript import Transcript, append_line, usage_of_row
from ultra_agents.records import Usage
from ultra_agents.runs.files import read_lines

UNSEEN = "failed: the run ended before an answer was used"
"""Verdict of a call that was under way when its process ended."""


class ExchangeLog:
    """The transcript of a run, and beside it the calls that were made.

    `calls.jsonl` has a line for each call before it is made, and one when its answer is there, before that is cached.
    A call without a line in the transcript was under way when the process ended: it counts as paid for.

    Args:
        folder: The run's folder.
        emit: Where `AgentSpoke` events go.
    """

    def __init__(self, folder: Path, emit: Emit) -> None:
        self._transcript = Transcript(folder / "transcript.jsonl")
        self._calls = folder / "calls.jsonl"
        self._emit = emit
        self._begun: dict[str, int] = {}
        """Requests so far, by the key of the question: one key is asked by one thread at a time."""

    def usage(self) -> dict[str, Usage]:
        """What each agent has used, earlier parts of the run included."""
        return self._transcript.usage()

    def asked(self) -> set[str]:
        """Digests of the questions of earlier processes, of calls under way too."""
        rows = (*self._transcript.rows(), *read_lines(self._calls))
        return {str(row["question"]) for row in rows if row.get("question")}

    def call_begins(self, question: Question, model: Model, key: str, prompt_tokens: int) -> None:
        """Write down that a call is about to be made."""
        row = _head(question, model, key)
        lost = RawReply("", prompt_tokens, 0, 0.0)
        append_line(self._calls, row | _counts(lost, usage_of(model.prices, lost).cost) | {"answered": False})
        self._begun[key] = self._begun.get(key, 0) + 1

    def call_answered(self, question: Question, model: Model, key: str, raw: RawReply) -> None:
        """Write down what its answer cost, before anybody can find that answer in the cache."""
        cost = usage_of(model.prices, raw).cost
        append_line(self._calls, _head(question, model, key) | _counts(raw, cost) | {"answered": True})

    def count_unseen(self) -> int:
        """Add the calls whose process ended before their line of the transcript; how many there are."""
        begun: dict[str, list[dict[str, Any]]] = {}
        answered: dict[str, dict[str, Any]] = {}
        for row in read_lines(self._calls):
            key = str(row.pop("key", ""))
            if row.pop("answered", False):
                answered[key] = row
            else:
                begun.setdefault(key, []).append(row)
        self._begun = {key: len(rows) for key, rows in begun.items()}
        if begun:
            for row in self._transcript.rows():
                if not row.get("cached") and (left := begun.get(str(row.get("call") or row.get("key")))):
                    left.pop(0)
        lost = 0
        for key, rows in begun.items():
            for number, row in enumerate(rows, self._begun[key] - len(rows) + 1):
                self._count_lost(key, number, answered.get(key, row))
                lost += 1
        return lost

    def _count_lost(self, key: str, number: int, row: dict[str, Any]) -> None:
        """Write down the request `number` of a question, of which there is no line, and tell of it."""
        row = row | {"key": "", "call": key, "messages": [], "reply": ""}
        row |= {"cached": False, "charged": True, "verdict": UNSEEN}
        used = usage_of_row(row, self._calls.name)
        agent, segment, model = (str(row.get(name, "?")) for name in ("agent", "segment", "model"))
        counts = used.prompt_tokens, used.completion_tokens, used.seconds
        self._emit(AgentSpoke(agent, segment, model, "", False, *counts, UNSEEN, used.cost, True, key[:16], number))
        self._transcript.append(row)

    def exchange(
        self,
        question: Question,
        model: Model,
        key: str,
        raw: RawReply,
        verdict: str,
        *,
        cached: bool = False,
        charged: bool = True,
    ) -> None:
        """Write one line of the transcript and tell the display; keys are redacted, what was sent is not changed."""
        redact = model.redactor()
        cost = 0.0 if cached or not charged else usage_of(model.prices, raw).cost
        reply = redact("\n".join(part for part in (raw.text, shown(raw.calls)) if part))
        number = 0 if cached else self._begun.get(key, 0)
        told = AgentSpoke(
            question.agent,
            question.segment,
            model.name,
            reply[:20_000],
            cached,
            raw.prompt_tokens,
            raw.completion_tokens,
            raw.seconds,
            verdict,
            cost,
            charged,
            key[:16] if cached or number else "",
            number,
        )
        self._emit(told)  # first: what has no line in the transcript is told again, and known by its number
        self._transcript.append(
            _head(question, model, key)
            | {"messages": [[role, redact(text)] for role, text in question.messages], "reply": reply[:100_000]}
            | _counts(raw, cost)
            | {"cached": cached, "charged": charged and not cached, "verdict": verdict}
        )


def _head(question: Question, model: Model, key: str) -> dict[str, Any]:
    return {
        "agent": question.agent,
        "segment": question.segment,
        "step": question.step,
        "model": model.name,
        "provider": model.config.provider,
        "key": key,
        "attempt": question.attempt,
        "question": question.digest,
        "notes": list(question.notes),
    }


def _counts(raw: RawReply, cost: float) -> dict[str, Any]:
    return {
        "prompt_tokens": raw.prompt_tokens,
        "completion_tokens": raw.completion_tokens,
        "seconds": round(raw.seconds, 4),
        "cost": cost,
    }
