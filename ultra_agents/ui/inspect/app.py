"""The browser: a list, a picture, what is known of the step, a timeline; keys and mouse."""

from __future__ import annotations

import time
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ultra_agents.errors import UltraError
from ultra_agents.records import Fate
from ultra_agents.text import clean
from ultra_agents.ui.inspect import layout
from ultra_agents.ui.inspect.advise_screen import Adviser, AdviseScreen
from ultra_agents.ui.inspect.around import around
from ultra_agents.ui.inspect.details import details
from ultra_agents.ui.inspect.footer import footer, header
from ultra_agents.ui.inspect.listing import ListEntry, listed, nearest
from ultra_agents.ui.inspect.picture import Depth
from ultra_agents.ui.inspect.run_view import FATES, LocatedState, RunReader, RunView, StepSource, what_changed
from ultra_agents.ui.inspect.scene import scene
from ultra_agents.ui.inspect.screens import ConversationScreen, HelpScreen, SearchScreen
from ultra_agents.ui.inspect.timeline import Timeline
from ultra_agents.ui.textual_app import SafeApp

WIDE, TINY, ROOMY = 110, (60, 16), (150, 44)
"""Columns from which the list stays; columns and rows below which nothing fits; from which there is room for more."""
POLL_S = 2.0
"""Seconds between two checks whether the run has changed."""
BACKOFF = 10
"""The next check comes no sooner than this many times the seconds that the last reading took."""
PLAY_S = 0.12
"""Seconds between two steps while playing."""


NOTICE_S = 15
"""Seconds for which a verdict is shown to those who went on browsing."""


class InspectApp(SafeApp[None]):
    """Browses a run.

    Args:
        run: The run.
        source: Answers about single steps.
        depth: Colours of pictures, where it is not the terminal that decides.
        reader: Knows when the run has changed, and reads it again; None never reads again.
        adviser: Tests a person's moves; None takes none.
    """

    CSS = layout.CSS
    BINDINGS: ClassVar[list[BindingType]] = layout.BINDINGS

    def __init__(
        self, run: RunView, source: StepSource, depth: Depth | None = None, reader: RunReader | None = None,
        adviser: Adviser | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._depth, self.adviser = depth, adviser
        self.run_view, self.source, self.reader = run, source, reader
        self.episode, self.step = run.critical[0].place if run.critical else (run.episodes[0].episode, 0)
        self.only: Fate | None = None
        self.whole = False
        self.reading = True
        self.entries: list[ListEntry] = []
        self._playing: Timer | None = None
        self._message = ""
        self._reloading = False
        self._next_poll = 0.0

    # -- building ----------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Header, list, picture, details, timeline, footer."""
        yield Static(id="tiny")
        yield Static(id="head")
        with Horizontal(id="body"):
            yield OptionList(id="list", markup=False)
            yield Static(id="scene")
            with Vertical(id="right"):
                with VerticalScroll(id="scroll", can_focus=False):
                    yield Static(id="details")
                yield Static(id="more")
        yield Timeline(self.run_view, id="time")
        yield Static(id="foot")

    def on_mount(self) -> None:
        """Fill the list, and read the policies in a thread."""
        chosen = self.query_one("#list", OptionList)
        chosen.can_focus = False
        chosen.border_title = "Episodes"
        self.query_one("#scene", Static).border_title = "Scene"
        self.query_one("#scroll", VerticalScroll).border_title = "Step"
        self.screen_stack[0].set_class(self.depth == "none", "mono")
        self.fill()
        self.run_worker(self._read_policies, thread=True, exit_on_error=False)
        if self.reader is not None:
            self.set_interval(POLL_S, self._poll)

    def _read_policies(self) -> None:
        try:
            self.source.read_policies()
        finally:
            self.call_from_thread(self._policies_are_read)

    def _policies_are_read(self) -> None:
        self.reading = False
        message = self._message
        self.show()
        if message:
            self.show_message(message)

    def on_resize(self, event: events.Resize) -> None:
        """Lay out for the new size."""
        columns, rows = event.size
        for name, on in (
            ("tiny", columns < TINY[0] or rows < TINY[1]),
            ("wide", columns >= WIDE),
            ("narrow", columns < WIDE),
            ("roomy", columns >= ROOMY[0] and rows >= ROOMY[1]),
        ):
            self.screen_stack[0].set_class(on, name)
        self.query_one("#tiny", Static).update(
            Text(f"{columns} x {rows} is too small: {TINY[0]} x {TINY[1]} is needed. q quits.", "yellow")
        )
        self.call_after_refresh(self.show)

    @property
    def depth(self) -> Depth:
        """How many colours the terminal has."""
        if self._depth is not None:
            return self._depth
        if self.no_color or self.console.color_system is None:
            return "none"
        system = self.console.color_system
        return "standard" if system in ("standard", "windows") else "256" if system == "256" else "truecolor"

    # -- a run that is still going on --------------------------------------------------------------------------

    def _poll(self, asked: bool = False) -> None:
        """Read the run again, in a thread, if it has changed or a person asks."""
        if self.reader is None or self._reloading or not (asked or time.monotonic() >= self._next_poll):
            return
        self._reloading = True
        self.run_worker(partial(self._reload, self.reader, asked), thread=True, exit_on_error=False)

    def _reload(self, reader: RunReader, asked: bool) -> None:
        found: tuple[RunView, StepSource] | str | None = None
        began = time.monotonic()
        try:
            found = reader.read() if asked or reader.changed() else None
        except UltraError as error:  # perhaps half written: the next poll may find it whole
            found = f"the run cannot be read again: {clean(error.problem, 120)}"
        except Exception as error:
            found = f"the run cannot be read again: {type(error).__name__}"
        finally:
            self._next_poll = time.monotonic() + BACKOFF * (time.monotonic() - began)
            self._reloading = False
        if found is not None:
            self.call_from_thread(self.replace_run, found, asked)

    def replace_run(self, found: tuple[RunView, StepSource] | str, asked: bool) -> None:
        """Show what was read again, at the same step; or say why it could not be read."""
        if isinstance(found, str):
            self.show_message(found)
            return
        before, old = self.run_view, self.source
        self.run_view, self.source = found
        self.query_one("#time", Timeline).replace_run(self.run_view)
        if all(one.episode != self.episode for one in self.run_view.episodes):
            self.episode = self.run_view.episodes[0].episode
        self.step = min(self.step, len(self.run_view.episode(self.episode)) - 1)
        self.fill()
        new = what_changed(before, self.run_view)
        if new or asked:
            self.show_message(f"read again: {new or 'nothing new to see'}")
        if old is not self.source:
            old.close()
            self.run_worker(self._read_policies, thread=True, exit_on_error=False)

    # -- showing -----------------------------------------------------------------------------------------------

    @property
    def shown(self) -> tuple[LocatedState, ...]:
        """Critical states that pass the filter."""
        return tuple(one for one in self.run_view.critical if self.only in (None, one.state.fate))

    def fill(self) -> None:
        """Fill the list."""
        lines = listed(self.run_view, self.only)
        self.entries = [entry for entry, _ in lines]
        chosen = self.query_one("#list", OptionList)
        chosen.clear_options()
        chosen.add_options([Option(line) for _, line in lines])
        self.show()

    def show(self) -> None:
        """Draw the current step."""
        if not self.is_running or self.screen_stack[0].has_class("tiny"):
            return
        self._message = ""
        view = self.source.step(self.episode, self.step)
        critical = self.run_view.critical_at(self.episode, self.step)
        width = self.size.width
        self.query_one("#head", Static).update(header(self.run_view, width))
        self.query_one("#foot", Static).update(footer(self.only, self._playing is not None, width))
        box = self.query_one("#scene", Static)
        room = box.content_size
        if room.width > 0 and room.height > 0:
            box.update(scene(self.source, view, critical, room.width, room.height, self.depth))
        panel = self.query_one("#details", Static)
        width = max(self.query_one("#scroll").content_size.width - 1, 20)
        panel.update(details(self.run_view, view, width, self.reading))
        more = self.query_one("#more", Static)
        if more.display:
            more.border_title, told = around(self.run_view, self.source, view, *more.content_size)
            more.update(told)
        start, stop = self.bounds()
        self.query_one("#time", Timeline).show_steps(self.episode, start, stop, self.step, self.shown)
        self.query_one("#list", OptionList).highlighted = nearest(self.run_view, self.entries, self.episode, self.step)

    def show_message(self, message: str) -> None:
        """Show a message in the last line, until the next key."""
        self._message = message
        self.query_one("#foot", Static).update(Text(f" {message}", "yellow", no_wrap=True, overflow="ellipsis"))

    def bounds(self) -> tuple[int, int]:
        """First step of the timeline and one past its last."""
        explanation = self.run_view.explanation_at(self.episode, self.step)
        if explanation is None or self.whole:
            return 0, len(self.run_view.episode(self.episode))
        return explanation.segment.start, explanation.segment.stop

    def go(self, episode: int, step: int) -> None:
        """Show a step; one outside the episode is clipped to its ends."""
        moved = (episode, step) != (self.episode, self.step)
        self.episode = episode
        self.step = min(max(step, 0), len(self.run_view.episode(episode)) - 1)
        self.show()
        if moved:
            self.query_one("#scroll", VerticalScroll).scroll_home(animate=False)

    # -- keys --------------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """Go `by` steps on."""
        self.go(self.episode, self.step + by)

    def action_edge(self, side: int) -> None:
        """Go to the first or the last step of the timeline."""
        start, stop = self.bounds()
        self.go(self.episode, start if side < 0 else stop - 1)

    def action_critical(self, by: int) -> None:
        """Go to the next or the previous critical state that passes the filter."""
        self._jump(self.shown, by, "no critical state passes the filter" if self.only else "no critical states")

    def action_accepted(self, by: int) -> None:
        """Go to the next or the previous accepted one."""
        accepted = tuple(one for one in self.run_view.critical if one.state.fate == "accepted")
        self._jump(accepted, by, "nothing was accepted")

    def _jump(self, states: tuple[LocatedState, ...], by: int, otherwise: str) -> None:
        places = [one.place for one in states]
        if not places:
            self.show_message(otherwise)
            return
        here = (self.episode, self.step)
        ahead = [place for place in places if (place > here if by > 0 else place < here)]
        self.go(*((ahead or places)[0 if by > 0 else -1]))  # wraps around at the ends

    def action_row(self, by: int) -> None:
        """Go to the next row of the list."""
        if not self.entries:
            return
        index = self.query_one("#list", OptionList).highlighted
        index = 0 if index is None else min(max(index + by, 0), len(self.entries) - 1)
        entry = self.entries[index]
        self.go(entry.episode, entry.step)
        self.query_one("#list", OptionList).highlighted = index

    def action_segment(self, by: int) -> None:
        """Go to the next or the previous segment; where there are none, the next episode."""
        places = [(one.segment.episode, one.segment.start) for one in self.run_view.explanations]
        places = places or [(one.episode, 0) for one in self.run_view.episodes]
        current = self.run_view.explanation_at(self.episode, self.step)
        here = (self.episode, current.segment.start if current else self.step)
        ahead = [place for place in places if (place > here if by > 0 else place < here)]
        self.go(*((ahead or places)[0 if by > 0 else -1]))

    def action_filter(self) -> None:
        """All, then those of one fate only, one after the other."""
        order = [None, *(fate for fate in FATES if fate not in ("open", "left") or self.run_view.counts[fate])]
        self.only = order[(order.index(self.only) + 1) % len(order)]
        self.fill()

    def action_zoom(self) -> None:
        """Timeline of the segment, or of the whole episode."""
        self.whole = not self.whole
        self.show()

    def action_list(self) -> None:
        """Show or hide the list."""
        base = self.screen_stack[0]
        base.toggle_class("listing" if base.has_class("narrow") else "unlisted")
        self.call_after_refresh(self.show)

    def action_scroll(self, by: int) -> None:
        """Scroll what is known of the step."""
        scroll = self.query_one("#scroll", VerticalScroll)
        scroll.scroll_relative(y=by * max(scroll.size.height - 2, 1), animate=False)

    def action_play(self) -> None:
        """Step on by itself, or stop."""
        if self._playing is not None:
            self._playing.stop()
            self._playing = None
        else:
            self._playing = self.set_interval(PLAY_S, self._play)
        self.show()

    def _play(self) -> None:
        if self.step + 1 >= self.bounds()[1]:
            self.action_play()
            return
        self.go(self.episode, self.step + 1)

    def action_conversation(self) -> None:
        """What the agents said about this segment."""
        explanation = self.run_view.explanation_at(self.episode, self.step)
        if explanation is None:
            self.show_message("this step is in no segment the agents were shown")
            return
        calls = self.source.conversation(explanation.segment.name)
        if not calls:
            self.show_message(f"no model was asked about this segment (proposer {self.run_view.proposer})")
            return
        self.push_screen(ConversationScreen(explanation.segment.name, calls, self.step))

    def action_advise(self) -> None:
        """Write moves at this step, and have them tested."""
        if self.adviser is None:
            self.show_message("moves cannot be tested here")
            return
        action = self.source.step(self.episode, self.step).action
        self.push_screen(AdviseScreen(self.adviser, self.episode, self.step, action, self._advised), self._advised)

    def _advised(self, changed: bool | None, told: str = "") -> None:
        if changed:
            self._poll(asked=True)
        if told:  # a test that went on after its screen was left
            self.notify(told, timeout=NOTICE_S, markup=False)

    def action_search(self) -> None:
        """Open the search."""

        def chosen(place: tuple[int, int] | None) -> None:
            if place is not None:
                self.go(*place)

        self.push_screen(SearchScreen(self.run_view, self.source), chosen)

    def action_reread(self) -> None:
        """Read the run again."""
        if self.reader is None:
            self.show_message("this run cannot be read again")
        else:
            self._poll(asked=True)

    def action_help(self) -> None:
        """List the keys."""
        self.push_screen(HelpScreen())

    def action_leave(self) -> None:
        """Quit; Escape first closes the list on a narrow screen."""
        base = self.screen_stack[0]
        if base.has_class("narrow") and base.has_class("listing"):
            self.action_list()
        else:
            self.exit()

    # -- mouse -------------------------------------------------------------------------------------------------

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A row of the list was clicked."""
        if event.option_list.id == "list":
            entry = self.entries[event.option_index]
            self.go(entry.episode, entry.step)

    def on_timeline_picked(self, event: Timeline.Picked) -> None:
        """A step of the timeline was clicked."""
        self.go(self.episode, event.step)
