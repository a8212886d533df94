"""The wizard under Textual's pilot: pages back and forth, the check, writing."""

from __future__ import annotations

import threading
from pathlib import Path

from textual.pilot import Pilot

from tests.ui.drawing import text
from tests.ui.wizard.sample_facts import SampleFacts, ask, at, fill, settled
from ultra_agents.ui.wizard.answers import (
    Answers,
    WizardResult,
)
from ultra_agents.ui.wizard.app import WizardApp, WizardScreen
from ultra_agents.ui.wizard.parts import ConfirmScreen


def test_enter_alone_writes_and_runs_pong_with_the_embedded_model() -> None:
    facts = SampleFacts()

    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press(*["enter"] * 6)
        await pilot.pause()

    app = ask(play, facts)
    assert app.return_value == WizardResult(Path("pong.yaml"), True)
    assert facts.written == [(Answers(), False)]
    assert [one.proposer for one in facts.checked] == ["local"]


def test_every_page_is_reached_and_left_both_ways() -> None:
    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        seen = []
        for _ in range(5):
            seen.append(text(app))
            await pilot.press("enter")
            await settled(app, pilot)
        seen.append(text(app))
        for shown, words in zip(
            seen,
            ("Win points.", "ships with pong", "A small model.", "[x] ultra-ra", "Cap on tokens", "name: pong"),
            strict=True,
        ):
            assert words in shown, words
        assert "120 s" in seen[4]
        assert "10.0 tokens/s" in seen[4]
        assert "the model works" in seen[4]
        for page in (4, 3, 2, 1, 0):
            await pilot.press("escape")
            assert at(app) == page

    ask(play, SampleFacts())


def test_escape_on_the_first_page_and_quitting_write_nothing() -> None:
    for key in ("escape", "ctrl+q", "ctrl+c"):
        facts = SampleFacts()

        async def play(app: WizardApp, pilot: Pilot[WizardResult], key: str = key) -> None:
            await pilot.press(*(["enter"] if key != "escape" else []), key)
            await pilot.pause()

        assert ask(play, facts).return_value is None
        assert facts.written == []


def test_an_environment_that_does_not_work_is_not_accepted() -> None:
    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press("down", "enter")
        await pilot.pause()
        assert at(app) == 0
        assert "pip install broken" in text(app).splitlines()[-2]

    ask(play, SampleFacts())


def test_an_existing_file_is_not_overwritten_without_a_yes() -> None:
    facts = SampleFacts(exists=True)

    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press(*["enter"] * 6)
        await pilot.pause()
        assert isinstance(app.screen, ConfirmScreen)
        assert "pong.yaml exists" in text(app)
        for key in ("n", "escape", "enter"):
            await pilot.press(key)
            await pilot.pause()
            assert isinstance(app.screen, WizardScreen)
            assert facts.written == []
            await pilot.press("enter")
            await pilot.pause()
        await pilot.press("y")
        await pilot.pause()

    assert ask(play, facts).return_value == WizardResult(Path("pong.yaml"), True)
    assert facts.written == [(Answers(), True)]


def test_what_makes_no_configuration_is_told_and_not_written() -> None:
    facts = SampleFacts()

    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press(*["enter"] * 4)
        await fill(app, pilot, "steps", "13")
        await pilot.press("enter", "enter")
        await pilot.pause()
        assert at(app) == 5
        assert "13 is no number of steps" in text(app)
        await fill(app, pilot, "name", "a b")
        await pilot.press("enter")
        assert "a run's name holds" in text(app)

    ask(play, facts)
    assert facts.written == []


def test_leaving_ends_a_check_under_way() -> None:
    facts = SampleFacts()
    facts.wait = threading.Event()

    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press("enter", "enter", "enter", "enter")
        for _ in range(100):
            await pilot.pause(0.02)
            if "checking the model: hm" in text(app):
                break
        assert "checking the model: hm" in text(app)
        await pilot.press("ctrl+q")

    ask(play, facts)
    for _ in range(200):
        if facts.stopped:
            break
        threading.Event().wait(0.01)
    assert facts.stopped


def test_sizes() -> None:
    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        for words in ("pong", "Win points.", "Enter go on", "6 Write"):
            assert words in text(app), words
        await pilot.resize_terminal(20, 5)
        await pilot.pause()
        assert "too small" in text(app)
        await pilot.resize_terminal(200, 60)
        await pilot.pause()
        assert "too small" not in text(app)
        assert "Win points." in text(app)

    ask(play, SampleFacts(), size=(80, 24))
