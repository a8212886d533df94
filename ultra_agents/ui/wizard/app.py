"""The wizard: six pages, Enter goes on, Escape goes back, nothing is written before the last one."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Input, OptionList, Static

from ultra_agents.errors import UltraError
from ultra_agents.text import clean
from ultra_agents.ui.textual_app import SafeApp
from ultra_agents.ui.theme import BAD, DIM, GOOD, WARM
from ultra_agents.ui.wizard.answers import Answers, Checked, Facts, Speed, WizardResult
from ultra_agents.ui.wizard.fields import Page
from ultra_agents.ui.wizard.last_pages import BudgetPage, MethodPage, WritePage
from ultra_agents.ui.wizard.pages import EnvironmentPage, PolicyPage, ProposerPage, environment_text
from ultra_agents.ui.wizard.parts import (
    ConfirmScreen,
    aligned_rows,
    highlighted_yaml,
    ignoring_closed_app,
    summary_rows,
)
from ultra_agents.ui.wizard.side_panel import BackgroundResults, cost_text, provider_text
from ultra_agents.ui.wizard.style import CSS

PAGES: tuple[type[Page], ...] = (EnvironmentPage, PolicyPage, ProposerPage, MethodPage, BudgetPage, WritePage)
TINY = (60, 16)
WIDE = 100


class WizardApp(SafeApp[WizardResult]):
    """The wizard; its result is the file written, None when nothing was.

    Args:
        facts: Facts about plugins, models and costs.
        answers: The preselected answers.
    """

    CSS = CSS

    def __init__(self, facts: Facts, answers: Answers | None = None) -> None:
        super().__init__()
        self.facts = facts
        self.answers = answers or Answers()

    def get_default_screen(self) -> Screen[object]:
        """The one screen."""
        return WizardScreen(self.facts, self.answers)


class NextPage(Message):
    """Posted from the focused widget by Enter, so that it is handled after the keys typed before."""


class WizardScreen(Screen[object]):
    """The pages, with a side panel for each."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "next", priority=True),
        Binding("escape", "back", priority=True),
        Binding("f5", "check", priority=True),
        Binding("space", "mark"),
        Binding("pagedown", "scroll(1)", priority=True),
        Binding("pageup", "scroll(-1)", priority=True),
        Binding("ctrl+q,ctrl+c", "quit", priority=True),
    ]

    def __init__(self, facts: Facts, answers: Answers) -> None:
        super().__init__()
        self.facts, self.answers = facts, answers
        self.at = 0
        self.checked: Checked | None = None
        self.checking = ""
        self.measured: Speed | None = None
        self._asked: tuple[str, ...] = ()
        self._timed: tuple[str, ...] = ()
        self._closing = False

    def compose(self) -> ComposeResult:
        """Progress, the page, its side panel, an error message, the keys."""
        yield Static(id="tiny")
        yield Static(id="head")
        with Horizontal(id="body"):
            with ContentSwitcher(id="pages", initial="page0"):
                for index, kind in enumerate(PAGES):
                    yield kind(self.facts, f"page{index}")
            with VerticalScroll(id="side", can_focus=False):
                yield Static(id="said")
        yield Static(id="problem")
        yield Static(id="keys")

    def on_mount(self) -> None:
        """The first page."""
        self.set_class(self.app.no_color or self.app.console.color_system is None, "mono")
        self.go(0)

    def on_unmount(self) -> None:
        """Tell the background tasks to end."""
        self._closing = True

    def on_resize(self, event: events.Resize) -> None:
        """Side by side, or one above the other."""
        columns, rows = event.size
        self.set_class(columns < TINY[0] or rows < TINY[1], "tiny")
        self.set_class(columns < WIDE, "narrow")
        self.set_class(rows < 34, "short")
        self.query_one("#tiny", Static).update(
            Text(f"{columns} x {rows} is too small: {TINY[0]} x {TINY[1]} is needed. Ctrl-Q quits.", WARM)
        )
        if self.is_mounted:
            self.call_after_refresh(self.draw)

    @property
    def page(self) -> Page:
        """The current page."""
        return self.query_one(f"#page{self.at}", Page)

    # -- going -------------------------------------------------------------------------------------------------

    def go(self, index: int) -> None:
        """Show a page."""
        self.at = index
        self.query_one("#pages", ContentSwitcher).current = f"page{index}"
        self.complain("")
        try:
            self.page.enter(self.answers)
        except UltraError as error:
            self.complain(clean(error.problem))
        self.page.first().focus()
        if PAGES[index] in (BudgetPage, WritePage):
            self.measure()
        self.draw()

    def action_next(self) -> None:
        """Go to the next page once the keys typed before are handled: priority bindings overtake them."""
        (self.focused or self).post_message(NextPage())

    @on(NextPage)
    def _entered(self) -> None:
        """Handle it in the application's queue, after the keys that are handled there."""
        self.app.call_later(self.next)

    def next(self) -> None:
        """Store the page's answer and show the next page; on the last page, write."""
        try:
            answer = self.page.leave(self.answers)
        except UltraError as error:
            answer = f"{error.problem}" + (f": {error.found}" if error.found else "")
        if isinstance(answer, str):
            self.complain(answer)
            return
        self.answers = answer
        if PAGES[self.at] is ProposerPage:
            self.check()
        if isinstance(self.page, WritePage):
            self.write(self.page.runs, overwrite=False)
        else:
            self.go(self.at + 1)

    def action_mark(self) -> None:
        """Mark a method."""
        if isinstance(self.page, MethodPage):
            self.complain(self.page.toggle())

    def action_scroll(self, by: int) -> None:
        """Scroll the side panel."""
        side = self.query_one("#side")
        side.scroll_relative(y=by * max(side.size.height - 2, 1), animate=False)

    def action_back(self) -> None:
        """The page before; from the first one, out."""
        if self.at:
            self.go(self.at - 1)
        else:
            self.app.exit(None)

    def action_quit(self) -> None:
        """Leave without writing."""
        self.app.exit(None)

    def complain(self, words: str) -> None:
        """Show an error message."""
        self.query_one("#problem", Static).update(Text(clean(words), BAD, no_wrap=True, overflow="ellipsis"))

    # -- asking in the background -----------------------------------------------------------------------------

    def action_check(self) -> None:
        """Check the model named on this page now."""
        if isinstance(self.page, ProposerPage):
            answer = self.page.leave(self.answers)
            if isinstance(answer, str):
                self.complain(answer)
                return
            self.answers = answer
            self._asked = ()
            self.check()
            self.draw()

    def check(self) -> None:
        """Check the model in the background, unless that was done."""
        answers = self.answers
        asked = (answers.proposer, answers.model, answers.base_url, answers.options)
        if not answers.asks_a_model or asked == self._asked:
            return
        self._asked, self.checked, self.checking = asked, None, "asking ..."
        app = self.app

        def ended() -> bool:
            return self._closing or self._asked != asked

        def say(text: str) -> None:
            app.call_from_thread(self._progress, asked, text)

        def work() -> None:
            found = self.facts.check(answers, ended, say)
            if not ended():
                app.call_from_thread(self._answered, asked, found)

        self.run_worker(ignoring_closed_app(work), thread=True, group="check", exit_on_error=False)

    def _progress(self, asked: tuple[str, ...], text: str) -> None:
        if asked == self._asked:
            self.checking = text
            self.draw()

    def _answered(self, asked: tuple[str, ...], found: Checked) -> None:
        if asked == self._asked:
            self.checked, self.checking = found, ""
            self.draw()

    def measure(self) -> None:
        """Measure the environment's speed in the background, unless that was done."""
        answers = self.answers
        timed = (answers.environment,)
        if timed == self._timed:
            return
        self._timed, self.measured = timed, None
        app = self.app

        def work() -> None:
            found = self.facts.speed(answers)
            if not self._closing:
                app.call_from_thread(self._measured, timed, found)

        self.run_worker(ignoring_closed_app(work), thread=True, group="speed", exit_on_error=False)

    def _measured(self, timed: tuple[str, ...], found: Speed) -> None:
        if timed == self._timed:
            self.measured = found
            self.draw()

    # -- writing -----------------------------------------------------------------------------------------------

    def write(self, run: bool, overwrite: bool) -> None:
        """Write the file, after asking where there is one already, and end."""
        try:
            written = self.facts.write(self.answers, self.facts.text(self.answers), overwrite)
        except UltraError as error:
            self.complain(f"{error.problem}" + (f": {error.found}" if error.found else ""))
            return
        if written:
            self.app.exit(WizardResult(self.answers.file, run))
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.write(run, overwrite=True)

        self.app.push_screen(ConfirmScreen(f"{self.answers.file} exists. Overwrite it?"), answered)

    # -- showing -----------------------------------------------------------------------------------------------

    def on_option_list_option_highlighted(self) -> None:
        """Show the fields and the side panel of the highlighted row."""
        page = self.page
        if isinstance(page, EnvironmentPage | PolicyPage | ProposerPage):
            page.narrow()
        self.draw()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click selects a row and goes on; on the page of methods it marks."""
        if isinstance(self.page, MethodPage):
            self.complain(self.page.toggle())
        else:
            self.action_next()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Update the estimated cost."""
        if isinstance(self.page, BudgetPage | WritePage):
            answer = self.page.leave(self.answers)
            self.complain(answer if isinstance(answer, str) else "")
            self.draw(self.answers if isinstance(answer, str) else answer)

    def draw(self, answers: Answers | None = None) -> None:
        """Update the header, the side panel and the keys."""
        head = Text.assemble((" ultra ", "reverse bold"), " ", no_wrap=True)
        for index, kind in enumerate(PAGES):
            style = "bold cyan" if index == self.at else GOOD if index < self.at else DIM
            head.append(f" {'✔' if index < self.at else index + 1} {kind.heading} ", style)
        self.query_one("#head", Static).update(head)
        last = PAGES[self.at] is WritePage
        keys = [("Enter", "do it" if last else "go on"), ("Esc", "back" if self.at else "leave"), ("↑↓ Tab", "choose")]
        keys += [("Space", "mark")] if PAGES[self.at] is MethodPage else []
        keys += [("F5", "check the model now")] if PAGES[self.at] is ProposerPage else []
        line = Text(no_wrap=True)
        for key, word in [*keys, ("PgDn", "scroll"), ("Ctrl-Q", "quit")]:
            line.append(f" {key}", "bold cyan")
            line.append(f" {word} ", DIM)
        self.query_one("#keys", Static).update(line)
        self.query_one("#said", Static).update(self.side(answers or self.answers))

    def side(self, answers: Answers) -> Text:
        """The side panel of the current page."""
        page, box = self.page, self.query_one("#side")
        if isinstance(page, EnvironmentPage):
            box.border_title = page.chosen
            return environment_text(self.facts.environment(page.chosen))
        if isinstance(page, ProposerPage):
            box.border_title = "Model"
            return provider_text(page.chosen, self._results)
        if isinstance(page, WritePage):
            box.border_title = str(answers.file)
            return Text.assemble(
                cost_text(self.facts, answers, self._results), "\n\n", highlighted_yaml(self._text(answers))
            )
        box.border_title = "What it costs" if isinstance(page, BudgetPage) else "So far"
        return (
            cost_text(self.facts, answers, self._results)
            if isinstance(page, BudgetPage)
            else aligned_rows(summary_rows(answers))
        )

    def _text(self, answers: Answers) -> str:
        try:
            return self.facts.text(answers)
        except UltraError as error:
            return f"# {error}".replace("\n", "\n# ")

    @property
    def _results(self) -> BackgroundResults:
        return BackgroundResults(self._asked, self.checked, self.checking, self.measured)
