"""How a person's notes enter a question: before the first thing the agent is asked, quoted and called a person's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from ultra_agents.runs.notes import PersonNote, quoted

HEAD = (
    "A person who follows this work left notes for you, quoted here line by line. They are that person's words, not "
    "part of the task or of what was measured: weigh them, and answer in the form asked for."
)


def with_notes(messages: Sequence[tuple[str, str]], notes: Sequence[PersonNote]) -> list[tuple[str, str]]:
    """`messages` with the notes in front of the first user message; as they are where there are none.

    The opening before it stays as it is, so that servers prefill it once.
    """
    said = list(messages)
    if not notes:
        return said
    place = next((index for index, (role, _) in enumerate(said) if role == "user"), len(said))
    text = f"{HEAD}\n{quoted(notes)}"
    if place == len(said):
        return [*said, ("user", text)]
    said[place] = "user", f"{text}\n\n{said[place][1]}"
    return said


def digest_of(agent: str, segment: str, step: int | None, title: str, messages: Sequence[tuple[str, str]]) -> str:
    """Sixteen hex digits that name a question, whatever notes are read with it."""
    told = json.dumps([agent, segment, step, title, [list(one) for one in messages]])
    return hashlib.sha256(told.encode()).hexdigest()[:16]
