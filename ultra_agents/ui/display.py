"""Which display a run gets, and the promise that none of them can end it."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Literal, Protocol, TextIO, TypeAlias

from ultra_agents.events import Event

Mode: TypeAlias = Literal["auto", "plain", "json"]


class Display(Protocol):
    """What a run tells its events to."""

    def start(self) -> None:
        """Get ready; called once, before the first event."""
        ...

    def handle(self, event: Event) -> None:
        """Take one event; called from any thread and quick."""
        ...

    def stop(self) -> None:
        """Clean up; called once, whatever happened."""
        ...


def choose_display(mode: Mode = "auto", out: TextIO | None = None) -> Display:
    """The display for this place: live on a terminal, plain lines elsewhere, with `NO_COLOR` or `TERM=dumb`."""
    out = out or sys.stdout
    if mode == "json":
        from ultra_agents.ui.json_lines import JsonLines

        return Guarded(JsonLines(out), None)
    from ultra_agents.ui.plain import Plain

    dumb = os.environ.get("TERM", "dumb") == "dumb" or bool(os.environ.get("NO_COLOR"))
    if mode == "plain" or dumb or not out.isatty():
        return Guarded(Plain(out), None)
    from rich.console import Console

    from ultra_agents.ui.live import Live

    return Guarded(Live(Console(file=out)), Plain(sys.stderr))


class Guarded:
    """A display whose failure never ends the run: it is replaced by `fallback` once, or by silence.

    A reader that has closed its pipe is not a failure of the run either.
    """

    def __init__(self, display: Display, fallback: Display | None) -> None:
        self._display: Display | None = display
        self._fallback = fallback

    def start(self) -> None:
        """Start the display."""
        self._try("start")

    def handle(self, event: Event) -> None:
        """Pass the event on."""
        self._try("handle", event)

    def stop(self) -> None:
        """Stop the display."""
        self._try("stop")

    def _try(self, what: str, *arguments: Event) -> None:
        if self._display is None:
            return
        try:
            getattr(self._display, what)(*arguments)
        except BrokenPipeError:
            self._display = None
        except Exception as error:
            broken, self._display, self._fallback = self._display, self._fallback, None
            if what == "handle":
                with suppress(Exception):
                    broken.stop()
            sys.stderr.write(f"the display failed ({type(error).__name__}: {error}); the run goes on\n")
