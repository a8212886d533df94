"""Writing moves at a step: a field that is checked as it is typed into, a test in the background, its verdict."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from ultra_agents.errors import Interrupted, UltraError
from ultra_agents.records import TestResult
from ultra_agents.text import clean, counted, spanned
from ultra_agents.ui.inspect.details import STOPPED
from ultra_agents.ui.inspect.glyphs import interval
from ultra_agents.ui.theme import BAD, DIM, GOOD, WARM

COLOURS = {"holds": GOOD, "refuted": BAD, "undecided": WARM}


@dataclass(frozen=True)
class AdviceAnswer:
    """What came of testing a person's moves.

    Attributes:
        plan: The moves in words.
        test: The measurement.
        kept: What was done with them, in words.
        changed: The run has more advice now.
    """

    plan: str
    test: TestResult
    kept: str
    changed: bool


class Adviser(Protocol):
    """Tests a person's moves in the run that is browsed. `test` is called from a thread of its own, one at a time."""

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions that are listed."""
        ...

    def fate(self) -> str:
        """What will be done with moves that are tested, or why they can only be tried; in words."""
        ...

    def read(self, episode: int, step: int, text: str) -> str:
        """The moves that `text` says, in words.

        Raises:
            UltraError: It is no plan that can be tested there.
        """
        ...

    def test(self, episode: int, step: int, text: str, progress: Callable[[str, int], object]) -> AdviceAnswer:
        """Test moves, and keep them where the run takes any; `progress` is told of environment steps.

        Raises:
            UltraError: They cannot be tested or kept; nothing has changed then.
        """
        ...


class AdviseScreen(ModalScreen[bool]):
    """Moves at one step; gives whether the run has more advice now.

    A test that has begun goes on where the screen is left; `left` is then told its outcome in a line.

    Args:
        adviser: Tests the moves.
        episode: The episode.
        step: Its step.
        action: What the policy did there.
        left: Told whether the run has more advice, and the outcome, once nobody looks at this screen any more.
    """

    CSS = """
    AdviseScreen { align: center middle; }
    #advise { width: 92; max-width: 100%; height: auto; max-height: 100%; border: round ansi_cyan; padding: 0 1;
              background: ansi_default; }
    #advise Input { border: none; height: 1; padding: 0; background: ansi_default; }
    #advise Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave")]

    def __init__(
        self, adviser: Adviser, episode: int, step: int, action: str, left: Callable[[bool, str], object]
    ) -> None:
        super().__init__()
        self.adviser, self.episode, self.step, self.action = adviser, episode, step, action
        self._left = left
        self._testing = threading.Event()
        self._gone = False
        self._changed = False

    def compose(self) -> ComposeResult:
        """What can be written, the field, what is wrong with it, the verdict."""
        with Vertical(id="advise") as box:
            box.border_title = f"Your moves at step {self.step} of episode {self.episode}"
            box.border_subtitle = "Enter test   Escape back"
            names = clean(", ".join(self.adviser.actions), 300)
            yield Static(
                Text.assemble(
                    ("the policy did ", DIM), (clean(self.action, 60), "bold"), (f"   actions: {names}", DIM)
                )
            )
            yield Static(Text(clean(self.adviser.fate(), 300), DIM))
            yield Input(placeholder="ACTION xSTEPS, ACTION xSTEPS …", compact=True, max_length=400)
            yield Static(id="said")
            yield Static(id="answer")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say what the moves are, or what is wrong with them."""
        if not self._testing.is_set():
            self._read(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Test them, in a thread."""
        if self._testing.is_set() or not self._read(event.value):
            return
        self._testing.set()
        self.query_one(Input).disabled = True
        self.query_one("#answer", Static).update("")
        self._say("testing ...", "yellow")
        work = partial(self._test, self.app, event.value)
        self.app.run_worker(work, thread=True, exit_on_error=False)  # of the application: it outlives this screen

    def _read(self, text: str) -> bool:
        """Whether it is a plan that can be tested; says so."""
        if not text.strip():
            self._say("", "")
            return False
        try:
            self._say(self.adviser.read(self.episode, self.step, text), GOOD)
        except UltraError as error:
            expected = f" (expected: {error.expected})" if error.expected else ""
            self._say(f"{error.problem}{expected}", BAD)
            return False
        return True

    def _say(self, text: str, style: str) -> None:
        self.query_one("#said", Static).update(Text(clean(text, 400), style))

    def _test(self, app: App[Any], text: str) -> None:
        found: AdviceAnswer | str
        try:
            found = self.adviser.test(self.episode, self.step, text, partial(self._progress, app))
        except Interrupted:
            found = "stopped; nothing was kept"
        except UltraError as error:
            found = f"not tested: {error.problem}" + (f"; do: {error.hint}" if error.hint else "")
        except Exception as error:
            found = f"not tested: {type(error).__name__}: {error}"
        app.call_from_thread(self._tested, found)

    def _progress(self, app: App[Any], purpose: str, steps: int) -> None:
        if self._testing.is_set() and not self._gone:
            told = f"testing ... {steps:,} environment steps so far; Escape goes back, the test goes on"
            app.call_from_thread(self._say_if_here, told)

    def _say_if_here(self, text: str) -> None:
        if not self._gone and self._testing.is_set():
            self._say(text, "yellow")

    def _tested(self, found: AdviceAnswer | str) -> None:
        self._testing.clear()
        if isinstance(found, AdviceAnswer):
            self._changed = self._changed or found.changed
        if self._gone:
            told = found if isinstance(found, str) else f"{found.plan}: {verdict(found.test)}; {found.kept}"
            self._left(self._changed, clean(told, 300))
            return
        field = self.query_one(Input)
        field.disabled = False
        field.focus()
        if isinstance(found, str):
            self._say(found, BAD)
            return
        self._say(found.plan, "bold")
        self.query_one("#answer", Static).update(answer(found))

    def action_leave(self) -> None:
        """Go back to the step; a test that has begun goes on."""
        self._gone = True
        self.dismiss(self._changed)


def verdict(test: TestResult) -> str:
    """`holds: +1.25 [+0.50, +2.00] in 8 pairs`."""
    return f"{test.verdict}: {spanned(test.gain, test.low, test.high)} in {counted(test.pairs, 'pair')}"


def answer(found: AdviceAnswer) -> Text:
    """The verdict with its interval, how it ended, what it cost and what was done with the moves."""
    test = found.test
    text = Text.assemble((verdict(test), f"bold {COLOURS[test.verdict]}"), "\n")
    text.append_text(interval(test, 44))
    text.append(f"\n{test.better} better, {test.worse} worse; {STOPPED.get(test.stopped, test.stopped)}; ", DIM)
    text.append(f"{test.env_steps:,} steps\n", DIM)
    text.append(clean(found.kept, 300))
    return text
