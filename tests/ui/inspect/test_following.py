"""The browser follows a run that goes on, and reads it again when asked."""

from __future__ import annotations

import asyncio

from textual.pilot import Pilot
from textual.widgets import OptionList

from tests.ui.drawing import text
from tests.ui.inspect.sample_app import Play, browse, panel
from tests.ui.inspect.sample_view import SampleSource, run_view
from ultra_agents.errors import RunError
from ultra_agents.ui.inspect.app import InspectApp
from ultra_agents.ui.inspect.run_view import RunView


class Going:
    """A run that goes on when told to."""

    def __init__(self, *later: RunView | Exception) -> None:
        self.later, self.reads = list(later), 0
        self.sources: list[SampleSource] = []
        self.new = False

    def changed(self) -> bool:
        return self.new

    def read(self) -> tuple[RunView, SampleSource]:
        self.new, self.reads = False, self.reads + 1
        found = self.later.pop(0)
        if isinstance(found, Exception):
            raise found
        self.sources.append(SampleSource())
        return found, self.sources[-1]


def follow(going: Going, play: Play, first: RunView) -> InspectApp:
    async def go() -> InspectApp:
        app = InspectApp(first, SampleSource(), "truecolor", going)
        async with app.run_test(size=(120, 40)) as pilot:
            await app.workers.wait_for_complete()
            await pilot.pause()
            await play(app, pilot)
        return app

    return asyncio.run(go())


def test_a_run_that_went_on_is_shown_again_at_the_same_place() -> None:
    whole = run_view()
    going = Going(whole)
    first = run_view(status="running", explanations=whole.explanations[:1])

    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        await pilot.press("n", "z", "right")
        assert (app.episode, app.step, app.whole) == (0, 8, True)
        old = app.source
        app._poll()
        await app.workers.wait_for_complete()
        assert going.reads == 0, "nothing is read while nothing changed"
        going.new = True
        app._next_poll = 0.0
        app._poll()
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert going.reads == 1
        assert (app.episode, app.step, app.whole) == (0, 8, True)
        assert app.run_view is whole
        assert "2 more segments, 2 more critical states, now finished" in panel(app, "#foot")
        assert len(app.query_one("#list", OptionList).options) == 2 + 3 + 4
        assert isinstance(old, SampleSource)
        assert old.closed
        await pilot.press("n")
        assert (app.episode, app.step) == (0, 12), "what is new can be gone to"
        assert "UP" in text(app), "the policies were read again"

    app = follow(going, play, first)
    assert going.sources[0].policies_read
    assert app.source is going.sources[0]


def test_r_reads_again_and_says_what_is_wrong() -> None:
    going = Going(run_view(), RunError("half a line"), ValueError("no"))

    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        for words in ("nothing new to see", "cannot be read again: half a line", "cannot be read again: ValueError"):
            await pilot.press("r")
            await app.workers.wait_for_complete()
            await pilot.pause()
            assert words in panel(app, "#foot")

    assert follow(going, play, run_view()).run_view.critical


def test_r_without_a_run_to_follow_says_so() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        await pilot.press("r")
        assert "cannot be read again" in panel(app, "#foot")

    browse(play)
