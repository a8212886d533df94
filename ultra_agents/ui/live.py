"""The live screen: redrawn a few times a second from a state that events update, so that it never holds up the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from rich.console import Console, RenderableType
from rich.live import Live
from rich.segment import Segment, Segments

from ultra_agents.events import Event
from ultra_agents.ui.model import ViewState, reduce
from ultra_agents.ui.screen import Screen

REFRESH_HZ = 4.0


class LiveDisplay:
    """Fills the terminal's second screen; the first one comes back unharmed at the end.

    Args:
        console: The terminal.
        past: Events of earlier parts of a resumed run.
        now: A steady clock in seconds.
    """

    def __init__(
        self, console: Console, past: Iterable[Event] = (), now: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console
        self.now = now
        self.state = ViewState()
        for event in past:
            self.state = reduce(self.state, event, now())
        self._failure: Exception | None = None
        self._live = Live(
            get_renderable=self._draw,
            console=console,
            screen=True,
            refresh_per_second=REFRESH_HZ,
            vertical_overflow="crop",
        )

    def start(self) -> None:
        """Switch to the second screen and begin to draw."""
        self._live.start()

    def handle(self, event: Event) -> None:
        """Update the state; drawing happens elsewhere.

        Raises:
            Exception: What drawing raised since the last call, so that the caller can change to another display.
        """
        if self._failure is not None:
            raise self._failure
        self.state = reduce(self.state, event, self.now())

    def stop(self) -> None:
        """Switch back."""
        self._live.stop()

    def _draw(self) -> RenderableType:
        """The screen as it is now, rendered here so that a failure is caught here."""
        try:
            options = self.console.options.update(height=self.console.height)
            screen = Screen(self.state, self.now())
            lines = self.console.render_lines(screen, options, pad=False)
            segments: list[Segment] = []
            for line in lines:
                segments += [*line, Segment.line()]
            return Segments(segments[:-1])
        except Exception as failure:
            self._failure = failure
            return "the display failed; the run goes on"
