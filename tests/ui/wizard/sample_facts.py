"""Made-up facts for the wizard, and the wizard under Textual's pilot."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input

from ultra_agents.errors import ConfigError
from ultra_agents.ui.wizard.answers import (
    Answers,
    Checked,
    EnvironmentFact,
    Labelled,
    MethodFact,
    ProviderFact,
    Speed,
    WizardResult,
)
from ultra_agents.ui.wizard.app import WizardApp, WizardScreen

Play = Callable[[WizardApp, Pilot[WizardResult]], Awaitable[None]]


class SampleFacts:
    """Two environments, two providers; remembers what it was asked to do."""

    def __init__(self, exists: bool = False) -> None:
        self.exists = exists
        self.written: list[tuple[Answers, bool]] = []
        self.checked: list[Answers] = []
        self.finding = Checked(True, (("model", "tiny"),), tokens_per_s=10.0)
        self.stopped = False
        self.wait: threading.Event | None = None

    def environments(self) -> tuple[str, ...]:
        return ("pong", "broken", "gymnasium")

    def environment(self, name: str) -> EnvironmentFact:
        if name == "broken":
            return EnvironmentFact(name, problem="pip install broken")
        if name.startswith("gymnasium"):
            return EnvironmentFact(name, (("Goal", "Balance."),))
        return EnvironmentFact(
            name, (("Goal", "Win points."),), ("suboptimal", "expert"), expert=True, quantities=True
        )

    def providers(self) -> tuple[ProviderFact, ...]:
        return (
            ProviderFact("local", "A small model.", True, model="SmolLM2"),
            ProviderFact("openai", "Any server.", False, "no key", "export it", ("options.model",), "", "http://x/v1"),
        )

    def methods(self, answers: Answers) -> tuple[MethodFact, ...]:
        lacks = "" if answers.environment == "pong" else "it has no snapshot (episodes start at critical states)"
        return (
            MethodFact("ultra-ra", "both", advised=True),
            MethodFact("ultra-a", "actions", advised=True),
            MethodFact("continue", "control"),
            MethodFact("rice", "starts and novelty", lacks),
        )

    def check_rules(self, environment: str, file: Path) -> None:
        if "ball_y" not in file.read_text():
            raise ConfigError(f"{file.name} does not fit {environment}", found="line 1")

    def check(self, answers: Answers, stop: Callable[[], bool], progress: Callable[[str], None]) -> Checked:
        self.checked.append(answers)
        if self.wait is not None:
            progress("hm")
            while not stop() and not self.wait.wait(0.01):
                pass
            self.stopped = stop()
        return self.finding

    def speed(self, answers: Answers) -> Speed:
        return Speed(1000.0)

    def cost(self, answers: Answers, speed: Speed | None, checked: Checked | None) -> Labelled:
        measured = "unknown" if speed is None else f"{answers.steps / speed.steps_per_s:.0f} s"
        asking = "unknown" if checked is None else f"{checked.tokens_per_s} tokens/s"
        return (("steps", str(answers.steps)), ("learning", measured), ("asking", asking))

    def text(self, answers: Answers) -> str:
        if answers.steps == 13:
            raise ConfigError("13 is no number of steps")
        return f"# a comment\nname: {answers.name}\n"

    def write(self, answers: Answers, text: str, overwrite: bool) -> bool:
        if self.exists and not overwrite:
            return False
        self.written.append((answers, overwrite))
        return True


def ask(play: Play, facts: SampleFacts, size: tuple[int, int] = (120, 40)) -> WizardApp:
    async def go() -> WizardApp:
        app = WizardApp(facts)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await play(app, pilot)
        return app

    return asyncio.run(go())


def at(app: WizardApp) -> int:
    screen = app.screen
    assert isinstance(screen, WizardScreen)
    return screen.at


async def settled(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
    await app.workers.wait_for_complete()
    await pilot.pause()


async def fill(app: WizardApp, pilot: Pilot[WizardResult], key: str, words: str) -> None:
    app.screen.query_one(f"#{key}", Input).value = words
    await pilot.pause()
