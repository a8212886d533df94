"""The browser under Textual's pilot: every key, the mouse, sizes, screens over it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from rich.console import Console
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from tests.ui.inspect.sample_view import SampleSource, run_view
from ultra_agents.errors import RunError
from ultra_agents.ui.inspect.app import InspectApp
from ultra_agents.ui.inspect.run_view import RunView
from ultra_agents.ui.inspect.screens import ConversationScreen, HelpScreen, SearchScreen
from ultra_agents.ui.inspect.timeline import Timeline

Play = Callable[[InspectApp, Pilot[None]], Awaitable[None]]


def browse(play: Play, size: tuple[int, int] = (120, 40), run: RunView | None = None, **source: Any) -> InspectApp:
    async def go() -> InspectApp:
        app = InspectApp(run or run_view(), SampleSource(**source), "truecolor")
        async with app.run_test(size=size) as pilot:
            await app.workers.wait_for_complete()
            await pilot.pause()
            await play(app, pilot)
        return app

    return asyncio.run(go())


def text(app: InspectApp) -> str:
    """The screen as text."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


def panel(app: InspectApp, name: str) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 - closed with the test
    console.print(app.query_one(name, Static).content)
    return console.export_text()


PLACES = [
    ("", (0, 4)),
    ("right", (0, 5)),
    ("left", (0, 3)),
    ("L", (0, 14)),
    ("shift+right", (0, 14)),
    ("L H", (0, 4)),
    ("left left left left left left", (0, 0)),
    ("home", (0, 0)),
    ("end", (0, 9)),
    ("z end", (0, 19)),
    ("z z end", (0, 9)),
    ("n", (0, 7)),
    ("n n n", (1, 5)),
    ("n n n n", (0, 4)),
    ("p", (1, 5)),
    ("n N", (0, 4)),
    ("a", (1, 5)),
    ("a a", (0, 4)),
    ("A", (1, 5)),
    ("right_square_bracket", (0, 10)),
    ("left_square_bracket", (1, 0)),
    ("down", (0, 7)),
    ("up", (0, 0)),
    ("up up", (0, 0)),
    ("down down", (0, 10)),
    ("f n", (1, 5)),
    ("f f n", (0, 7)),
    ("f f f n", (0, 12)),
    ("f f f f n", (0, 7)),
]
"""Keys pressed at episode 0, step 4, and the episode and step they lead to."""


def test_keys_go_where_they_say() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        for keys, place in PLACES:
            app.only, app.whole = None, False
            app.fill()
            app.go(0, 4)
            await pilot.press(*keys.split())
            assert (app.episode, app.step) == place, keys

    browse(play)


def test_a_critical_state_is_told_with_everything_known() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        told = panel(app, "#details")
        for words in (
            "Step 4 of 19", "the ball is 4 px away", "critical, accepted", "importance 0.80", "the serve at 4",
            "suggestion 1 of 2", "suggestion 2 of 2", "UP is nearer", "critic accept  reward +0.75",
            "the critic agrees",
            "gain +0.50  interval +0.25 to +0.75", "6 pairs: 5 better, 1 worse; surely better; 240 steps",
            "no gain in sight", "as suggested",
        ):  # fmt: skip
            assert words in told, words
        shown = text(app)
        assert "2 accepted" in shown
        assert "1 rejected" in shown
        assert "-6.40 → 3.25" in shown
        assert "▲ 4" in shown
        assert "▀" in shown

    browse(play)


def test_the_filter_leaves_only_its_own_in_the_list() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        everything = len(app.entries)
        await pilot.press("f", "f")
        kinds = [(entry.kind, entry.episode, entry.step) for entry in app.entries]
        assert kinds == [("episode", 0, 0), ("segment", 0, 0), ("critical", 0, 7)]
        assert "only rejected" in text(app)
        await pilot.press("f", "f")
        assert len(app.entries) == everything
        assert "only" not in text(app).splitlines()[-1]

    browse(play)


def test_the_highlighted_row_follows_the_step() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        rows = app.query_one("#list", OptionList)
        for keys, kind, step in (("", "critical", 4), ("right", "segment", 0), ("n", "critical", 7)):
            await pilot.press(*keys.split())
            assert rows.highlighted is not None
            entry = app.entries[rows.highlighted]
            assert (entry.kind, entry.step) == (kind, step)

    browse(play)


def test_playing_runs_to_the_end_of_the_segment_and_stops() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        await pilot.press("space")
        assert "playing" in text(app)
        for _ in range(200):
            await pilot.pause(0.05)
            if app._playing is None:
                break
        assert app.step == 9
        await pilot.press("home", "space", "space")
        stopped = app.step
        await pilot.pause(0.3)
        assert app.step == stopped

    browse(play)


def test_the_conversation_is_shown_marked_and_harmless() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        await pilot.press("t")
        assert isinstance(app.screen, ConversationScreen)
        shown = text(app)
        assert "▶ advisor  step 4" in shown
        assert "action: UP; hold: 3" in shown
        assert "wrong fields" in shown
        assert "lighthouse[2J" in shown
        assert "\x1b" not in shown
        assert "Be brief." not in shown
        await pilot.press("p")
        await pilot.pause()
        assert "Be brief." in text(app)
        for key in ("down", "up", "pagedown", "pageup", "end", "home"):
            await pilot.press(key)
        await pilot.press("escape")
        assert not isinstance(app.screen, ConversationScreen)

    browse(play)


def test_where_nobody_was_asked_a_word_says_so() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        await pilot.press("a", "t")
        await pilot.pause()
        assert not isinstance(app.screen, ConversationScreen)
        assert "no model was asked" in text(app)

    browse(play)


FINDS = [
    ("serve at 12", "enter", (0, 12)),
    ("LIGHTHOUSE", "enter", (0, 4)),
    ("19 px", "enter", (0, 19)),
    ("serve", "down down enter", (0, 12)),
    ("serve", "down up enter", (0, 4)),
    ("nowhere to be found", "enter escape", (0, 4)),
    ("serve at 12", "escape", (0, 4)),
]
"""Words typed, keys after them, and the episode and step they lead to."""


def test_the_search_finds_rationales_replies_and_states() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        for words, moves, place in FINDS:
            app.go(0, 4)
            await pilot.press("slash")
            assert isinstance(app.screen, SearchScreen)
            await pilot.press(*("space" if char == " " else char for char in words))
            await pilot.press(*moves.split())
            assert not isinstance(app.screen, SearchScreen)
            assert (app.episode, app.step) == place, words

    browse(play)


def test_a_hit_can_be_clicked() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"serve")
        await pilot.pause()
        assert "4 found" in text(app)
        await pilot.click("#hits", offset=(4, 1))
        await pilot.pause()
        assert (app.episode, app.step) == (0, 7)

    browse(play)


@pytest.mark.parametrize("key", ["question_mark", "f1"])
def test_the_help_lists_the_keys(key: str) -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        await pilot.press(key)
        assert isinstance(app.screen, HelpScreen)
        assert "next and previous accepted one" in text(app)
        await pilot.press("down", "up", "escape")
        assert not isinstance(app.screen, HelpScreen)

    browse(play)


def test_the_mouse_chooses_rows_and_steps() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        await pilot.click("#list", offset=(6, 4))
        await pilot.pause()
        assert (app.episode, app.step) == (0, 7)
        wide = app.query_one("#time", Timeline).size.width
        await pilot.click("#time", offset=(wide - 2, 1))
        await pilot.pause()
        assert app.step == 9
        await pilot.click("#time", offset=(0, 1))
        await pilot.pause()
        assert app.step == 0

    browse(play)


@pytest.mark.parametrize("key", ["q", "escape"])
def test_leaving(key: str) -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        await pilot.press(key)
        await pilot.pause()
        assert not app.is_running or app._exit

    browse(play)


def test_a_narrow_terminal_shows_the_list_on_demand() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        assert "Episode 0" not in text(app)
        assert "Scene" in text(app)
        await pilot.press("l")
        await pilot.pause()
        assert "Episode 0" in text(app)
        assert "Scene" not in text(app)
        await pilot.press("escape")
        await pilot.pause()
        assert "Episode 0" not in text(app)
        assert app.is_running
        for word in ("step", "critical", "agents", "help", "quit"):
            assert word in text(app).splitlines()[-1]

    browse(play, size=(80, 24))


def test_the_list_can_be_hidden_on_a_wide_one() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        assert "Episode 0" in text(app)
        await pilot.press("l")
        await pilot.pause()
        assert "Episode 0" not in text(app)

    browse(play)


def test_a_large_terminal_shows_what_was_said_or_comes_next() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        assert "Agents on this step" in text(app)
        await pilot.press("right")
        await pilot.pause()
        assert "What happens next" in text(app)
        assert "the ball is 9 px away" in text(app)

    browse(play, size=(200, 60))


def test_resizing_to_nothing_and_back() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        await pilot.resize_terminal(20, 5)
        await pilot.pause()
        assert "too small" in text(app)
        assert "Scene" not in text(app)
        await pilot.resize_terminal(200, 60)
        await pilot.pause()
        assert "too small" not in text(app)
        assert "Episode 0" in text(app)
        assert "Step 4" in text(app)

    browse(play)


def test_without_pictures_there_are_numbers() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        shown = text(app)
        assert "ball_x" in shown
        assert "4.00" in shown
        assert "█" in shown
        assert "this environment draws no" in shown

    browse(play, pictures=False)


def test_a_run_without_critical_states_still_shows_its_episodes() -> None:
    run = run_view(explanations=(), notes=("no critical states were found",))

    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        assert "no critical states were found" in text(app)
        assert "Episode 1" in text(app)
        await pilot.press("n")
        await pilot.pause()
        assert "no critical states" in text(app)
        await pilot.press("right_square_bracket", "t", "a")
        assert (app.episode, app.step) == (1, 0)

    browse(play, run=run)


def test_the_text_scrolls_and_starts_anew_at_another_step() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        scroll = app.query_one("#scroll")
        await pilot.press("j")
        await pilot.pause()
        assert scroll.scroll_y > 0
        await pilot.press("k")
        await pilot.pause()
        assert scroll.scroll_y == 0
        await pilot.press("pagedown", "n")
        await pilot.pause()
        assert scroll.scroll_y == 0

    browse(play, size=(80, 24))


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
