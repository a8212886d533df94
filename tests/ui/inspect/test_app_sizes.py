"""The browser in terminals of all sizes, and what it shows where something is missing."""

from __future__ import annotations

from textual.pilot import Pilot

from tests.ui.drawing import text
from tests.ui.inspect.sample_app import browse
from tests.ui.inspect.sample_view import run_view
from ultra_agents.ui.inspect.app import InspectApp


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
