"""The wizard under Textual's pilot: pages back and forth, complaints, the check, the cost, writing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input, OptionList

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
from ultra_agents.ui.wizard.parts import ConfirmScreen

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


def text(app: WizardApp) -> str:
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


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


def test_any_gymnasium_environment_with_a_policy_trained_first() -> None:
    facts = SampleFacts()

    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press("down", "down")
        await pilot.pause()
        assert "Gymnasium id" in text(app)
        await fill(app, pilot, "gymnasium", "Acrobot-v1")
        await pilot.press("enter")
        await pilot.pause()
        assert "train one first" in text(app)
        assert "20000" in text(app)
        await fill(app, pilot, "train", "no")
        await pilot.press("enter")
        assert at(app) == 1
        assert "whole number" in text(app)
        await fill(app, pilot, "train", "5_000")
        await pilot.press("enter", "enter", "enter", "enter", "down", "enter")
        await pilot.pause()

    app = ask(play, facts)
    assert app.return_value == WizardResult(Path("acrobot-v1.yaml"), False)
    ((answers, _),) = facts.written
    assert (answers.environment, answers.policy_kind, answers.train_steps) == ("gymnasium:Acrobot-v1", "train", 5000)


def test_a_policy_file_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"

    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press("enter", "down", "down")
        await pilot.pause()
        await fill(app, pilot, "file", str(path))
        await pilot.press("enter")
        assert "there is no file" in text(app)
        path.write_text("")
        await pilot.press("enter")
        assert at(app) == 2
        assert app.screen.answers == replace(Answers(), policy_kind="file", policy=str(path))  # type: ignore[attr-defined]

    ask(play, SampleFacts())


def test_a_provider_that_needs_a_model_asks_for_it() -> None:
    facts = SampleFacts()
    facts.finding = Checked(False, (), "nobody answers", "start the server")

    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press("enter", "enter", "down", "enter")
        await pilot.pause()
        assert "openai needs the name of a model" in text(app)
        assert "export it" in text(app)
        await fill(app, pilot, "model", "big")
        await fill(app, pilot, "options", "seed")
        await pilot.press("enter")
        assert "options are key=value" in text(app)
        await fill(app, pilot, "options", "seed=3")
        await pilot.press("f5")
        await settled(app, pilot)
        assert at(app) == 2
        assert "nobody answers" in text(app)
        assert "start the server" in text(app)
        await pilot.press("enter", "escape")
        await pilot.pause()
        assert app.screen.query_one("#model", Input).value == "big"

    ask(play, facts)
    (asked,) = facts.checked
    assert (asked.proposer, asked.model, asked.base_url, asked.options) == ("openai", "big", "", "seed=3")


def test_a_control_asks_no_model() -> None:
    facts = SampleFacts()

    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press("enter", "enter", "down", "down", "down", "enter", "enter")
        await settled(app, pilot)
        assert at(app) == 4
        assert "Cap on tokens" not in text(app)
        assert app.screen.answers.proposer == "value"  # type: ignore[attr-defined]

    ask(play, facts)
    assert facts.checked == []


def test_a_file_of_rules_is_checked_on_the_spot(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("rules: [{when: ball_y > 1, do: UP}]")
    bad.write_text("rules: [{when: cell > 1, do: UP}]")

    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press("enter", "enter", *["down"] * 6)
        await pilot.pause()
        assert app.screen.query_one("#rules").display
        for words, told in (
            ("", "name a file of rules"),
            (str(tmp_path / "gone.yaml"), "there is no file"),
            (str(bad), "bad.yaml does not fit pong: line 1"),
        ):
            await fill(app, pilot, "rules", words)
            await pilot.press("enter", "f5")
            await pilot.pause()
            assert at(app) == 2
            assert told in text(app)
        await fill(app, pilot, "rules", str(good))
        await pilot.press("enter")
        await settled(app, pilot)
        assert at(app) == 3
        answers = app.screen.answers  # type: ignore[attr-defined]
        assert (answers.proposer, answers.form, answers.rules) == ("file", "rules", str(good))

    assert ask(play, SampleFacts(), size=(140, 44)).return_value is None


def test_the_form_of_advice_is_offered_where_there_is_a_choice() -> None:
    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press("enter", "enter")
        await fill(app, pilot, "form", "poems")
        await pilot.press("enter")
        await pilot.pause()
        assert at(app) == 2
        assert "the form of advice is moves, rules, both or goals, found poems" in text(app)
        await fill(app, pilot, "form", "both")
        await pilot.press("enter")
        await settled(app, pilot)
        assert app.screen.answers.form == "both"  # type: ignore[attr-defined]
        await pilot.press("escape", "down", "down", "down", "enter")
        await settled(app, pilot)
        answers = app.screen.answers  # type: ignore[attr-defined]
        assert (answers.proposer, answers.form) == ("value", "moves"), "it proposes moves only"

    ask(play, SampleFacts(), size=(140, 44))


def test_methods_are_marked_with_space_or_a_click() -> None:
    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press("enter", "enter", "enter", "space", "down", "space")
        await pilot.pause()
        assert "[ ] ultra-ra" in text(app)
        assert "[x] ultra-a" in text(app)
        await pilot.click("#methods", offset=(2, 2))
        await pilot.press("enter", "escape")
        assert app.screen.answers.methods == ("ultra-a",)  # type: ignore[attr-defined]
        app.screen.query_one("#methods", OptionList).highlighted = 1
        await pilot.press("space", "enter")
        assert "mark at least one" in text(app)

    ask(play, SampleFacts())


def test_what_the_environment_cannot_have_is_shown_with_the_reason_and_refused() -> None:
    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press("enter", "enter")
        app.screen.query_one("#proposers", OptionList).highlighted = 5
        await pilot.press("enter")
        assert at(app) == 3, "this environment has an expert"
        await pilot.press("up", "space")
        assert app.screen.query_one("#methods", OptionList).highlighted == 3
        assert "[x] rice" in text(app)
        await pilot.press("enter", *["escape"] * 4)
        await pilot.press("down", "down", "enter", "enter")
        assert "not here: gymnasium:CartPole-v1 has no expert" in text(app)
        app.screen.query_one("#proposers", OptionList).highlighted = 5
        await pilot.press("enter")
        assert at(app) == 2
        assert "oracle cannot propose" in text(app)
        app.screen.query_one("#proposers", OptionList).highlighted = 2
        await pilot.press("enter")
        assert "not here: it has no snapshot" in text(app)
        assert "[x] rice" not in text(app), "what was marked for another environment"
        await pilot.press("up", "space")
        assert "rice cannot be had here: it has no snapshot" in text(app)
        await pilot.press("enter")
        assert app.screen.answers.methods == ("ultra-ra", "continue")  # type: ignore[attr-defined]

    ask(play, SampleFacts())


def test_numbers_change_the_cost_and_nonsense_is_refused() -> None:
    async def play(app: WizardApp, pilot: Pilot[WizardResult]) -> None:
        await pilot.press(*["enter"] * 4)
        await settled(app, pilot)
        await fill(app, pilot, "steps", "50,000")
        assert "50 s" in text(app)
        await fill(app, pilot, "evaluations", "1")
        await pilot.press("enter")
        assert at(app) == 4
        assert "whole number from 2" in text(app)
        await fill(app, pilot, "evaluations", "4")
        await fill(app, pilot, "calls", "x")
        await pilot.press("enter")
        assert "cap on model calls" in text(app)
        await fill(app, pilot, "calls", "70")
        await pilot.press("enter")
        answers = app.screen.answers  # type: ignore[attr-defined]
        assert (answers.steps, answers.evaluations, answers.calls, answers.tokens) == (50_000, 4, 70, None)

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
