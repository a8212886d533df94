"""The browser under Textual's pilot: every key, the mouse, screens over it."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from tests.ui.drawing import text
from tests.ui.inspect.sample_app import browse, panel
from ultra_agents.ui.inspect.app import InspectApp
from ultra_agents.ui.inspect.screens import ConversationScreen, HelpScreen, SearchScreen
from ultra_agents.ui.inspect.timeline import Timeline

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


def test_playing_runs_to_the_end_of_the_segment_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        monkeypatch.setattr("ultra_agents.ui.inspect.app.PLAY_S", 60.0)
        await pilot.press("space")
        assert "playing" in text(app), "however slow the machine is"
        monkeypatch.undo()
        await pilot.press("space", "space")
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
