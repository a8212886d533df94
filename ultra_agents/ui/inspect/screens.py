"""Screens over the browser: the conversation, the search, the help."""

from __future__ import annotations

from typing import ClassVar

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ultra_agents.text import printable
from ultra_agents.ui.inspect.run_view import ModelCall, RunView, StepSource
from ultra_agents.ui.inspect.search import Hit, search
from ultra_agents.ui.text import prose
from ultra_agents.ui.theme import DIM, agent_colour

HELP = """\
← →          one step back, one step on (with shift, or H L: ten)
home end     first and last step of the timeline
n  p         next and previous critical state that passes the filter
a  A         next and previous accepted one
[  ]         previous and next segment
↑ ↓          previous and next row of the list
space        play, and stop playing
f            filter: all, accepted, rejected, dropped
z            timeline of the segment, or of the whole episode
t            what the agents said about this segment (t, Escape: back)
m            write your own moves here: tested, and kept where the run takes advice
/            search in rationales, suggestions, states and replies
l            show or hide the list
j k          scroll the text (also page up and down)
r            read the run again (done by itself while it is going on)
?            this help
q            quit

A click on the list or on the timeline goes there; the wheel scrolls.

◆ accepted   ◇ rejected or dropped   + - rewards out of the ordinary
✔ accepted by the simulator, or by the critic where nothing was tested
✘ rejected by the critic or by the simulator
○ dropped: no usable reply, or no budget left to test it
"""


class HelpScreen(ModalScreen[None]):
    """The keys and the signs."""

    CSS = """
    HelpScreen { align: center middle; }
    #help { width: 84; max-width: 100%; height: auto; max-height: 100%; border: round ansi_cyan; padding: 0 1;
            background: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "dismiss"),
        Binding("down,j", "down"),
        Binding("up,k", "up"),
    ]

    def compose(self) -> ComposeResult:
        """The text, scrolling where it has to."""
        with VerticalScroll(id="help", can_focus=False) as box:
            box.border_title = "Keys"
            yield Static(Text(HELP.rstrip()))

    def action_down(self) -> None:
        """Scroll on."""
        self.query_one("#help").scroll_down(animate=False)

    def action_up(self) -> None:
        """Scroll back."""
        self.query_one("#help").scroll_up(animate=False)


class ConversationScreen(Screen[None]):
    """Every model call about one segment.

    Args:
        segment: Its name.
        calls: Oldest first.
        step: The step shown before: calls about it are marked, and the first is scrolled to.
    """

    CSS = """
    ConversationScreen { background: ansi_default; }
    #talk { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    #talk Static { height: auto; }
    #keys { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,t", "dismiss"),
        Binding("p", "prompts"),
        Binding("down,j", "by(1)"),
        Binding("up,k", "by(-1)"),
        Binding("pagedown,space", "by(15)"),
        Binding("pageup", "by(-15)"),
        Binding("home", "by(-100000)"),
        Binding("end", "by(100000)"),
    ]

    def __init__(self, segment: str, calls: tuple[ModelCall, ...], step: int) -> None:
        super().__init__()
        self.segment, self.calls, self.step = segment, calls, step
        self.prompts = False

    def compose(self) -> ComposeResult:
        """One block per call."""
        yield Static(Text.assemble((" agents ", "reverse bold"), f" segment {self.segment}", no_wrap=True))
        with VerticalScroll(id="talk", can_focus=False):
            for call in self.calls:
                yield Static(call_block(call, self.prompts, call.step == self.step))
        yield Static(Text(" ↑↓ scroll   p prompts   Escape back", DIM, no_wrap=True), id="keys")

    def on_mount(self) -> None:
        """Begin at the first call about the step."""
        blocks = list(self.query("#talk Static"))
        here = next((b for b, one in zip(blocks, self.calls, strict=True) if one.step == self.step), None)
        if here is not None:
            self.call_after_refresh(self.query_one("#talk").scroll_to_widget, here, animate=False, top=True)

    def action_prompts(self) -> None:
        """Show or hide what was asked."""
        self.prompts = not self.prompts
        for block, one in zip(self.query("#talk Static").results(Static), self.calls, strict=True):
            block.update(call_block(one, self.prompts, one.step == self.step))

    def action_by(self, lines: int) -> None:
        """Scroll."""
        self.query_one("#talk").scroll_relative(y=lines, animate=False)


def call_block(one: ModelCall, prompts: bool, marked: bool) -> RenderableType:
    """One call: who, about which step, what it cost; the prompt; the reply."""
    colour = agent_colour(one.agent)
    head = Text.assemble(
        ("▶ " if marked else "", "bold"), (one.agent, f"bold {colour}"),
        (f"  step {one.step}" if one.step is not None else "", ""), (f"  {one.model}", DIM),
        (f"  {one.verdict}", "green" if one.verdict == "ok" else "red"), (f"  {one.spent}", DIM),
    )  # fmt: skip
    parts: list[RenderableType] = [Rule(head, style=colour, align="left")]
    if prompts:
        for role, text in one.messages:
            parts.append(Padding(Text.assemble((f"{role}: ", "bold"), (_lines(text), DIM)), (0, 2)))
    parts.append(Padding(Text(_lines(prose(one.reply))), (0, 2, 1, 2)))
    return Group(*parts)


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.splitlines())


class SearchScreen(ModalScreen[tuple[int, int] | None]):
    """Finds words; gives the episode and step chosen.

    Args:
        run: What is searched.
        source: Describes steps, has the conversation.
    """

    CSS = """
    SearchScreen { align: center top; }
    #box { width: 90%; height: 80%; border: round ansi_cyan; background: ansi_default; }
    #box Input { border: none; height: 1; background: ansi_default; }
    #hits { text-wrap: nowrap; text-overflow: ellipsis; height: 1fr; border: none; background: ansi_default; }
    #hits > .option-list--option-highlighted { background: ansi_blue; color: ansi_bright_white; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss"),
        Binding("down", "by(1)"),
        Binding("up", "by(-1)"),
    ]

    def __init__(self, run: RunView, source: StepSource) -> None:
        super().__init__()
        self.run_view, self.source = run, source
        self.hits: list[Hit] = []

    def compose(self) -> ComposeResult:
        """A field and the hits."""
        with Vertical(id="box") as box:
            box.border_title = "Search: rationales, suggestions, states, replies"
            yield Input(placeholder="words …   ↑↓ choose   Enter go there   Escape back", compact=True)
            yield OptionList(id="hits", markup=False)

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one("#hits", OptionList).can_focus = False
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search for what is in the field now."""
        self.hits = search(self.run_view, self.source, event.value)
        hits = self.query_one("#hits", OptionList)
        hits.clear_options()
        hits.add_options([Option(hit.line) for hit in self.hits])
        hits.highlighted = 0 if self.hits else None
        box = self.query_one("#box")
        box.border_subtitle = f"{len(self.hits)} found" if event.value.strip() else ""

    def action_by(self, by: int) -> None:
        """Choose another hit."""
        hits = self.query_one("#hits", OptionList)
        if self.hits:
            hits.highlighted = min(max((hits.highlighted or 0) + by, 0), len(self.hits) - 1)

    def on_input_submitted(self) -> None:
        """Go to the chosen hit."""
        index = self.query_one("#hits", OptionList).highlighted
        if index is not None:
            self._choose(index)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A hit was clicked."""
        event.stop()
        self._choose(event.option_index)

    def _choose(self, index: int) -> None:
        hit = self.hits[index]
        self.dismiss((hit.episode, hit.step))
