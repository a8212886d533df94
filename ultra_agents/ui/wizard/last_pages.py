"""The wizard's later pages: what is compared, how much of it, where the file goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ultra_agents.ui.text import clean
from ultra_agents.ui.theme import DIM, GOOD
from ultra_agents.ui.wizard.answers import Answers, MethodFact
from ultra_agents.ui.wizard.fields import Field, Page, fill, number, picked, put, value


class MethodPage(Page):
    """What is compared?"""

    heading = "Method"
    marked: set[str]
    rows: tuple[MethodFact, ...] = ()

    def compose(self) -> ComposeResult:
        """One row per method."""
        yield OptionList(id="methods", markup=False)
        yield Static(Text("Space marks. Every marked method gets the same policy, seeds and steps.", DIM))

    def enter(self, answers: Answers) -> None:
        """Mark the chosen ones, as far as they can be had."""
        self.rows = self.facts.methods(answers)
        self.marked = {one.name for one in self.rows if one.name in answers.methods and not one.problem}
        self._draw(0)

    def toggle(self) -> str:
        """Mark the highlighted row, or take the mark away; why not, where it cannot be had."""
        listing = self.query_one(OptionList)
        name = picked(listing)
        problem = next((one.problem for one in self.rows if one.name == name), "")
        if problem:
            return f"{name} cannot be had here: {problem}"
        self.marked ^= {name}
        self._draw(listing.highlighted or 0)
        return ""

    def _draw(self, highlighted: int) -> None:
        listing = self.query_one(OptionList)
        wide = max(len(one.name) for one in self.rows)
        rows = []
        for one in self.rows:
            mark = ("[x] ", GOOD) if one.name in self.marked else (" -  " if one.problem else "[ ] ", DIM)
            told = f"not here: {one.problem}" if one.problem else one.about
            name = (one.name.ljust(wide), DIM if one.problem else "")
            rows.append((one.name, Text.assemble(mark, name, (f"  {clean(told)}", DIM))))
        fill(listing, rows, rows[highlighted][0])

    def leave(self, answers: Answers) -> Answers | str:
        """The methods, at least one."""
        chosen = [one for one in self.rows if one.name in self.marked]
        if not chosen:
            return "mark at least one method (space)"
        advised = any(one.advised for one in chosen)
        return replace(answers, methods=tuple(one.name for one in chosen), advised=advised)


class BudgetPage(Page):
    """How much?"""

    heading = "Budget"
    FIELDS: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("episodes", "Episodes explained", ""),
        ("steps", "Environment steps per method", "tests of advice included"),
        ("evaluations", "Final evaluation episodes", "per policy"),
        ("calls", "Cap on model calls", "empty: none; at a cap the run stops resumably"),
        ("tokens", "Cap on tokens", "empty: none"),
    )

    def compose(self) -> ComposeResult:
        """A field for each."""
        for key, label, hint in self.FIELDS:
            yield Field(label, key, hint)

    def first(self) -> Widget:
        """The first field."""
        return self.query_one("#episodes", Input)

    def enter(self, answers: Answers) -> None:
        """Fill the fields."""
        for key, _, _ in self.FIELDS:
            number_ = getattr(answers, key)
            put(self, key, "" if number_ is None else str(number_))
        for field in self.query(Field).results(Field):
            field.display = answers.calls_a_model or field.key not in ("calls", "tokens")

    def leave(self, answers: Answers) -> Answers | str:
        """The numbers."""
        found: dict[str, int | None] = {}
        for key, label, _ in self.FIELDS:
            text = value(self, key)
            found[key] = number(text) if text else None
            least = 2 if key == "evaluations" else 1
            if (text or key not in ("calls", "tokens")) and (found[key] or 0) < least:
                return f"{label.lower()}: a whole number from {least}"
        return replace(answers, **found)  # type: ignore[arg-type]


class WritePage(Page):
    """Where to, and run it?"""

    heading = "Write"

    def compose(self) -> ComposeResult:
        """Name, file, and what to do."""
        yield Field("Name of the run", "name", "its folder below runs/")
        yield Field("Configuration file", "path")
        yield OptionList(
            Option(Text.assemble(("Write the file and run it", "bold")), id="run"),
            Option(Text("Write the file only"), id="write"),
            id="actions",
            markup=False,
        )

    def enter(self, answers: Answers) -> None:
        """Fill the fields."""
        put(self, "name", answers.name)
        put(self, "path", str(answers.file))
        self.query_one(OptionList).highlighted = 0

    @property
    def runs(self) -> bool:
        """Whether it is to be run."""
        return picked(self.query_one(OptionList)) == "run"

    def leave(self, answers: Answers) -> Answers | str:
        """Name and file."""
        name, path = value(self, "name"), value(self, "path")
        if not name or not all(char.isalnum() or char in "._-" for char in name) or not name.isascii():
            return "a run's name holds letters, digits, dots, dashes and underscores"
        if not path:
            return "name the file to write"
        return replace(answers, name=name, file=Path(path).expanduser())
