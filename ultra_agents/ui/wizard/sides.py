"""What stands beside the wizard's pages: the model and what its check found, what the run will cost."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from ultra_agents.errors import UltraError
from ultra_agents.ui.text import clean
from ultra_agents.ui.theme import BAD, DIM, GOOD, WARM
from ultra_agents.ui.wizard.answers import Answers, Checked, Facts, ProviderFact, Speed
from ultra_agents.ui.wizard.parts import rows_of


@dataclass(frozen=True)
class Known:
    """What was found out meanwhile.

    Attributes:
        asked: Provider, model, address and options that `checked` is about.
        checked: What the model's check found; None before it ended.
        checking: How far it is.
        measured: How fast the environment steps; None before that is known.
    """

    asked: tuple[str, ...] = ()
    checked: Checked | None = None
    checking: str = ""
    measured: Speed | None = None


def side_of_provider(one: ProviderFact | None, known: Known) -> Text:
    """A provider of models, and what its check found."""
    if one is None:
        return Text("No model is asked: a control that shows what advice of another origin is worth.")
    text = Text(f"{clean(one.about)}\n")
    if not one.ready and one.problem:
        text.append(f"\n{clean(one.problem)}\n", WARM)
        if one.hint:
            text.append(f"do: {clean(one.hint)}\n", DIM)
    text.append("\nEnter goes on; the model is asked a few questions meanwhile (ultra llm check).\n", DIM)
    if known.asked[:1] == (one.name,):
        text.append("\n")
        text.append_text(_check(known))
    return text


def side_of_cost(facts: Facts, answers: Answers, known: Known) -> Text:
    """What the run will cost."""
    try:
        text = rows_of(facts.cost(answers, known.measured, known.checked))
    except UltraError as error:
        text = Text(clean(error.problem), BAD)
    if known.measured is None:
        text.append("\nstepping the environment to see how fast it is ...\n", DIM)
    elif known.measured.problem:
        text.append(f"\n{clean(known.measured.problem)}\n", WARM)
    if answers.calls_a_model:
        text.append("\n")
        text.append_text(_check(known))
    return text


def _check(known: Known) -> Text:
    if known.checked is None:
        return Text(f"checking the model: {known.checking}\n", DIM) if known.checking else Text()
    text = Text("the model works\n" if known.checked.ok else "the model cannot be used\n", end="")
    text.stylize(f"bold {GOOD if known.checked.ok else BAD}")
    if known.checked.problem:
        text.append(f"{clean(known.checked.problem)}\n", BAD)
    if known.checked.hint:
        text.append(f"do: {clean(known.checked.hint)}\n", DIM)
    text.append_text(rows_of(known.checked.rows))
    return text
