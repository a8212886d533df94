"""Asks a person for their word on what held in the test, once the display is closed (`agents.approve`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from ultra_agents.errors import ApprovalNeeded, ConfigError

if TYPE_CHECKING:
    from ultra_agents.agents.approval import Question, Said
    from ultra_agents.runs import RunFolder
    from ultra_agents.ui.display import Mode

Answer: TypeAlias = "Callable[[Question, int], Said | None]"
_WORDS: dict[str, Said] = {"y": "yes", "yes": "yes", "n": "no", "no": "no", "a": "all", "all": "all", "s": "none"}


def answer(folder: RunFolder, error: ApprovalNeeded, approve: str | None, mode: Mode) -> bool:
    """Put what a person says to the questions of `error` into the agents' checkpoint; False where nobody does.

    Raises:
        ConfigError: `approve` names what is not asked about.
        RunError: The checkpoint cannot be used, or another process runs the folder.
    """
    from ultra_agents.agents.approval import approved
    from ultra_agents.agents.checkpoint import checkpoint_of

    if approve is not None:
        ask = _said(approve, [about for about, _ in error.questions])
    elif mode != "json" and _on_terminal():
        ask = _prompt
    else:
        return False
    try:
        with folder.lock():
            approved(checkpoint_of(folder), error.questions, ask)
    except ApprovalNeeded as later:  # some are answered, the rest another time
        raise ApprovalNeeded(
            later.problem, questions=later.questions, found=later.found, hint=error.hint
        ) from None  # fmt: skip
    return True


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _said(approve: str, questions: list[str]) -> Answer:
    """What `--approve` says."""
    if approve in ("all", "none"):
        said: Said = "all" if approve == "all" else "none"
        return lambda *_: said
    chosen = [one.strip() for one in approve.split(",")]
    if unknown := [one for one in chosen if one not in questions]:
        raise ConfigError(
            "--approve names what does not wait for an answer",
            found=", ".join(unknown),
            expected=f"all, none, or some of: {', '.join(questions)}",
        )
    return lambda question, _: "yes" if question[0] in chosen else "no"


def _prompt(question: Question, left: int) -> Said | None:
    """Ask on the terminal; None to be asked again another time."""
    from ultra_agents.text import printable

    about, told = question
    print(f"\n{about}  {printable(told)}")
    while True:
        try:
            typed = input(f"use it? y yes, n no, a all, s skip the rest, q later ({left} more) > ").strip().lower()
        except EOFError:
            return None
        if typed == "q":
            return None
        if typed in _WORDS:
            return _WORDS[typed]
