"""What the wizard offers, checks and refuses on its pages: policies, providers, rules, forms, methods, numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from tests.ui.drawing import text
from tests.ui.wizard.sample_facts import SampleFacts, ask, at, fill, settled
from ultra_agents.ui.wizard.answers import (
    Answers,
    Checked,
    WizardResult,
)
from ultra_agents.ui.wizard.app import WizardApp


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
