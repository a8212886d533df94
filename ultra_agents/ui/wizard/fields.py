"""What the wizard's pages are made of: a page, labelled fields, lists of rows."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ultra_agents.ui.theme import DIM
from ultra_agents.ui.wizard.answers import Answers, Facts


class Page(Vertical):
    """A question. `leave` gives the answers, or says in words what is missing."""

    heading: ClassVar[str] = ""

    def __init__(self, facts: Facts, id: str) -> None:
        super().__init__(id=id)
        self.facts = facts

    def enter(self, answers: Answers) -> None:
        """Show the answers so far."""

    def first(self) -> Widget:
        """What has the focus."""
        return self.query_one(OptionList)

    def leave(self, answers: Answers) -> Answers | str:
        """The answers with this page's, or a complaint."""
        raise NotImplementedError


class Field(Vertical):
    """A labelled text field."""

    def __init__(self, label: str, id: str, hint: str = "") -> None:
        super().__init__(classes="field")
        self.label, self.key, self.hint = label, id, hint

    def compose(self) -> ComposeResult:
        """The label above the field."""
        yield Static(Text.assemble((self.label, "bold"), (f"  {self.hint}" if self.hint else "", DIM)))
        yield Input(id=self.key, compact=True)


def value(page: Widget, key: str) -> str:
    """What a field holds."""
    return page.query_one(f"#{key}", Input).value.strip()


def put(page: Widget, key: str, text: str) -> None:
    """Fill a field."""
    page.query_one(f"#{key}", Input).value = text


def fill(listing: OptionList, rows: list[tuple[str, Text]], chosen: str) -> None:
    """Write the rows of a list, `(id, line)`, and highlight the one called `chosen`, else the first."""
    listing.clear_options()
    listing.add_options([Option(line, id=key) for key, line in rows])
    keys = [key for key, _ in rows]
    listing.highlighted = keys.index(chosen) if chosen in keys else 0 if keys else None


def picked(listing: OptionList) -> str:
    """The id of the highlighted row."""
    index = listing.highlighted
    return "" if index is None else str(listing.get_option_at_index(index).id)


def number(text: str) -> int:
    """A whole number, thousands separated or not; 0 for anything else."""
    digits = text.replace("_", "").replace(",", "").replace("'", "")
    return int(digits) if digits.isdecimal() and len(digits) < 13 else 0
