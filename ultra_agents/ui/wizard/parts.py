"""Parts of the wizard: the question before overwriting, aligned rows, the highlighted configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from ultra_agents.text import clean
from ultra_agents.ui.theme import DIM
from ultra_agents.ui.wizard.answers import Answers, Labelled


class ConfirmScreen(ModalScreen[bool]):
    """Yes or no; Enter alone is no."""

    CSS = """
    ConfirmScreen { align: center middle; }
    #question { width: auto; max-width: 90%; height: auto; border: round ansi_yellow; padding: 1 2;
                background: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", priority=True),
        Binding("n,escape,enter", "answer(False)", priority=True),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        """The question."""
        yield Static(Text.assemble((self.question, "bold"), "\n\n", ("y", "bold cyan"), " yes   ",
                                   ("n", "bold cyan"), " no, back"), id="question")  # fmt: skip

    def action_answer(self, yes: bool) -> None:
        """Give the answer."""
        self.dismiss(yes)


def ignoring_closed_app(work: Callable[[], None]) -> Callable[[], None]:
    """`work` without the error of calling into an application that has ended."""

    def run() -> None:
        try:
            work()
        except RuntimeError:  # the application is gone
            return

    return run


def aligned_rows(rows: Labelled) -> Text:
    """Labels and texts in two columns."""
    wide = max((len(label) for label, _ in rows), default=0)
    text = Text()
    for label, words in rows:
        text.append(f"{label.ljust(wide)}  ", DIM)
        text.append(f"{clean(words)}\n", "")
    return text


def summary_rows(answers: Answers) -> Labelled:
    """The answers in short."""
    policy = f"trained first, {answers.train_steps:,} steps" if answers.policy_kind == "train" else answers.policy
    return (
        ("environment", answers.environment),
        ("policy", policy),
        ("proposer", " ".join(part for part in (answers.proposer, answers.model) if part)),
        ("advice", " ".join(part for part in (answers.form, answers.rules) if part)),
        ("methods", ", ".join(answers.methods)),
    )


def highlighted_yaml(text: str) -> Text:
    """A configuration with its keys coloured."""
    shown = Text(no_wrap=False)
    for line in text.splitlines():
        code, hash_, comment = line.partition("#")
        key, colon, rest = code.partition(":")
        shown.append(key, "cyan" if colon else "")
        shown.append(f"{colon}{rest}")
        shown.append(f"{hash_}{comment}\n", DIM)
    return shown
