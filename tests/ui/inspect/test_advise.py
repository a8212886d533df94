"""Writing moves in the browser: checked as they are typed, tested in the background, the verdict on the screen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.ui.drawing import text
from tests.ui.inspect.sample_view import SampleSource, run_view
from ultra_agents.errors import ConfigError, RunError, UltraError
from ultra_agents.records import TestResult
from ultra_agents.ui.inspect.advise_screen import AdviceAnswer, AdviseScreen
from ultra_agents.ui.inspect.app import InspectApp

HELD = TestResult(1.25, 0.5, 2.0, 8, 400, True, "good", 7, 1)


class SampleAdviser:
    """Knows one action; a test waits until it is released."""

    actions = ("UP", "\x1b[2JDOWN")

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.asked: list[tuple[int, int, str]] = []
        self.release = threading.Event()

    def fate(self) -> str:
        return "what is tested is kept"

    def read(self, episode: int, step: int, text: str) -> str:
        if not text.startswith("UP"):
            raise ConfigError(f"there is no action {text!r}", expected="one of: UP")
        return f"{text} it is"

    def test(self, episode: int, step: int, text: str, progress: Callable[[str, int], object]) -> AdviceAnswer:
        self.asked.append((episode, step, text))
        progress("test", 123)
        assert self.release.wait(20)
        if self.problem is not None:
            raise self.problem
        return AdviceAnswer("UP for 2 steps", HELD, "kept: it holds", changed=True)


class Reader:
    """Counts readings."""

    def __init__(self) -> None:
        self.read_again = 0

    def changed(self) -> bool:
        return False

    def read(self) -> Any:
        self.read_again += 1
        return run_view(), SampleSource()


def advise(
    play: Callable[[InspectApp, Pilot[None]], Any], adviser: SampleAdviser | None, size: tuple[int, int]
) -> Reader:

    reader = Reader()

    async def go() -> None:
        app = InspectApp(run_view(), SampleSource(), "truecolor", reader, adviser)
        async with app.run_test(size=size, notifications=True) as pilot:
            await app.workers.wait_for_complete()
            await pilot.pause()
            await pilot.press("m")
            await pilot.pause()
            await play(app, pilot)

    asyncio.run(go())
    return reader


async def until(app: InspectApp, pilot: Pilot[None], words: str) -> None:
    for _ in range(200):
        await pilot.pause(0.05)
        if words in " ".join(text(app).split()):
            return
    raise AssertionError(f"{words!r} is not on the screen:\n{text(app)}")


@pytest.mark.parametrize("size", [(120, 40), (60, 16)])
def test_moves_are_checked_as_they_are_typed_and_tested(size: tuple[int, int]) -> None:
    adviser = SampleAdviser()

    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        assert "Your moves at step 4 of episode 0" in text(app)
        assert "\x1b" not in text(app)
        await pilot.press("U")
        await until(app, pilot, "there is no action 'U' (expected: one of: UP)")
        await pilot.press("enter")  # nothing is tested that cannot be read
        assert adviser.asked == []
        await pilot.press("P")
        await until(app, pilot, "UP it is")
        await pilot.press("enter")
        await until(app, pilot, "testing ... 123 environment steps so far")
        await pilot.press("enter")  # one test at a time
        adviser.release.set()
        await until(app, pilot, "holds: +1.25 [+0.5, +2] in 8 pairs")
        await until(app, pilot, "7 better, 1 worse; surely better; 400 steps")
        await until(app, pilot, "kept: it holds")
        assert not app.screen.query_one(Input).disabled
        await pilot.press("escape")
        await app.workers.wait_for_complete()
        assert not isinstance(app.screen, AdviseScreen)

    assert advise(play, adviser, size).read_again == 1
    assert adviser.asked == [(0, 4, "UP")]


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (RunError("the run is taken", hint="wait for it"), "not tested: the run is taken; do: wait for it"),
        (ValueError("a defect\x1b[2J"), "not tested: ValueError: a defect[2J"),
    ],
)
def test_what_goes_wrong_is_said_and_can_be_tried_again(problem: UltraError, said: str) -> None:
    adviser = SampleAdviser(problem)
    adviser.release.set()

    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        await pilot.press("U", "P", "enter")
        await until(app, pilot, said)
        await pilot.press("enter")
        await app.workers.wait_for_complete()
        await pilot.press("escape")

    assert advise(play, adviser, (120, 40)).read_again == 0
    assert len(adviser.asked) == 2


def test_a_test_goes_on_where_its_screen_is_left() -> None:
    adviser = SampleAdviser()

    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        await pilot.press("U", "P", "enter")
        await pilot.press("escape", "right")
        assert app.step == 5
        adviser.release.set()
        await until(app, pilot, "UP for 2 steps: holds: +1.25")
        await app.workers.wait_for_complete()

    assert advise(play, adviser, (120, 40)).read_again == 1


def test_without_an_adviser_a_word_says_so() -> None:
    async def play(app: InspectApp, pilot: Pilot[None]) -> None:
        assert "moves cannot be tested here" in text(app)

    advise(play, None, (120, 40))
