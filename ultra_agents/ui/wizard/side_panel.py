"""The panel beside the wizard's pages: the model with the result of its check, and the estimated cost."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from ultra_agents.errors import UltraError
from ultra_agents.ui.text import clean
from ultra_agents.ui.theme import BAD, DIM, GOOD, WARM
from ultra_agents.ui.wizard.answers import Answers, Checked, Facts, ProviderFact, Speed
from ultra_agents.ui.wizard.parts import aligned_rows


@dataclass(frozen=True)
class BackgroundResults:
    """Results of the background tasks so far.

    Attributes:
        asked: Provider, model, address and options that `checked` is about.
        checked: Result of the check of the model; None before its end.
        checking: Progress of the check.
        measured: Speed of the environment; None before it is known.
    """

    asked: tuple[str, ...] = ()
    checked: Checked | None = None
    checking: str = ""
    measured: Speed | None = None


def provider_text(one: ProviderFact | None, results: BackgroundResults) -> Text:
    """A provider of models, and the result of its check."""
    if one is None:
        return Text("No model is asked: a control that shows what advice of another origin is worth.")
    text = Text(f"{clean(one.about)}\n")
    if not one.ready and one.problem:
        text.append(f"\n{clean(one.problem)}\n", WARM)
        if one.hint:
            text.append(f"do: {clean(one.hint)}\n", DIM)
    text.append("\nEnter goes on; the model is asked a few questions meanwhile (ultra llm check).\n", DIM)
    if results.asked[:1] == (one.name,):
        text.append("\n")
        text.append_text(_check(results))
    return text


def cost_text(facts: Facts, answers: Answers, results: BackgroundResults) -> Text:
    """What the run will cost."""
    try:
        text = aligned_rows(facts.cost(answers, results.measured, results.checked))
    except UltraError as error:
        text = Text(clean(error.problem), BAD)
    if results.measured is None:
        text.append("\nstepping the environment to see how fast it is ...\n", DIM)
    elif results.measured.problem:
        text.append(f"\n{clean(results.measured.problem)}\n", WARM)
    if answers.calls_a_model:
        text.append("\n")
        text.append_text(_check(results))
    return text


def _check(results: BackgroundResults) -> Text:
    if results.checked is None:
        return Text(f"checking the model: {results.checking}\n", DIM) if results.checking else Text()
    text = Text("the model works\n" if results.checked.ok else "the model cannot be used\n", end="")
    text.stylize(f"bold {GOOD if results.checked.ok else BAD}")
    if results.checked.problem:
        text.append(f"{clean(results.checked.problem)}\n", BAD)
    if results.checked.hint:
        text.append(f"do: {clean(results.checked.hint)}\n", DIM)
    text.append_text(aligned_rows(results.checked.rows))
    return text
