"""The wizard's first pages: which world, which policy, who proposes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import OptionList

from ultra_agents.errors import UltraError
from ultra_agents.text import clean
from ultra_agents.ui.theme import DIM, GOOD, WARM
from ultra_agents.ui.wizard.answers import (
    CONTROLS,
    FORMS,
    OF_FILE,
    AdviceForm,
    Answers,
    EnvironmentFact,
    PolicyKind,
    ProviderFact,
)
from ultra_agents.ui.wizard.fields import Field, Page, fill, number, picked, put, value

GYMNASIUM = "gymnasium"
_TOLD = {
    "random": "no model: random steps and actions (the weakest control)",
    "value": "no model: where the value changed most",
    "search": "no model: there too, the plan that a search in the simulator finds",
    "oracle": "no model: the environment's expert (what perfect advice is worth)",
    "file": "no model: rules that you wrote, tested",
    "constants": "no model: their structure, constants drawn at random (their control)",
}


class EnvironmentPage(Page):
    """Which world?"""

    heading = "Environment"

    def compose(self) -> ComposeResult:
        """The registered ones, and a field for any of Gymnasium's."""
        yield OptionList(id="environments", markup=False)
        yield Field("Gymnasium id", "gymnasium", "CartPole-v1, LunarLander-v3, package:Id-v0, ...")

    def enter(self, answers: Answers) -> None:
        """Fill the list."""
        name, _, id_ = answers.environment.partition(":")
        rows = []
        for one in self.facts.environments():
            line = Text(one)
            if one == GYMNASIUM:
                line.append("  any environment registered with Gymnasium", DIM)
            rows.append((one, line))
        fill(self.query_one(OptionList), rows, name)
        put(self, "gymnasium", id_ or "CartPole-v1")
        self.narrow()

    def narrow(self) -> None:
        """The field is there for Gymnasium only."""
        self.query_one(Field).display = picked(self.query_one(OptionList)) == GYMNASIUM

    @property
    def chosen(self) -> str:
        """The name as the configuration has it."""
        name = picked(self.query_one(OptionList))
        return f"{name}:{value(self, 'gymnasium')}" if name == GYMNASIUM else name

    def leave(self, answers: Answers) -> Answers | str:
        """The name, once the environment is known to work."""
        name = self.chosen
        if name.endswith(":"):
            return "name the environment as Gymnasium does, for example CartPole-v1"
        fact = self.facts.environment(name)
        if fact.problem:
            return fact.problem
        if name == answers.environment:
            return answers
        word = "".join(char if char.isalnum() or char in "._-" else "-" for char in name.rpartition(":")[2]).lower()
        kept = answers.proposer if fact.expert or answers.proposer != "oracle" else "local"
        first = next((one for one in fact.policies if one == "suboptimal"), fact.policies[0] if fact.policies else "")
        return replace(
            answers,
            environment=name,
            policy_kind="shipped" if first else "train",
            policy=first,
            proposer=kept,
            name=word,
            file=Path(f"{word}.yaml"),
        )


class PolicyPage(Page):
    """From which policy?"""

    heading = "Policy"

    def compose(self) -> ComposeResult:
        """Shipped ones, a file, or one trained first."""
        yield OptionList(id="policies", markup=False)
        yield Field("Policy file", "file", "written by ultra, .safetensors")
        yield Field("Environment steps of training", "train", "few: it shall be improvable")

    def enter(self, answers: Answers) -> None:
        """Fill the list."""
        fact = self.facts.environment(answers.environment)
        rows = [
            (f"shipped:{name}", Text.assemble(name, (f"  ships with {answers.environment}", DIM)))
            for name in fact.policies
        ]
        rows.append(("file", Text("a policy file")))
        rows.append(("train", Text.assemble("train one first", ("  a short run of the algorithm from scratch", DIM))))
        wanted = f"shipped:{answers.policy}" if answers.policy_kind == "shipped" else answers.policy_kind
        fill(self.query_one(OptionList), rows, wanted)
        put(self, "file", answers.policy if answers.policy_kind == "file" else "")
        put(self, "train", str(answers.train_steps))
        self.narrow()

    def narrow(self) -> None:
        """Only the field that belongs to the choice."""
        kind = picked(self.query_one(OptionList))
        for field in self.query(Field).results(Field):
            field.display = field.key == kind

    def leave(self, answers: Answers) -> Answers | str:
        """The policy."""
        kind, _, name = picked(self.query_one(OptionList)).partition(":")
        if kind == "file":
            path = Path(value(self, "file")).expanduser()
            if not value(self, "file") or not path.is_file():
                return f"there is no file {path}" if value(self, "file") else "name a policy file"
            return replace(answers, policy_kind="file", policy=str(path))
        if kind == "train":
            steps = number(value(self, "train"))
            if not steps:
                return "the steps of training are a whole number above 0"
            return replace(answers, policy_kind="train", train_steps=steps)
        chosen: PolicyKind = "shipped"
        return replace(answers, policy_kind=chosen, policy=name)


class ProposerPage(Page):
    """Who says what to do better?"""

    heading = "Model"
    _filled = ""

    def compose(self) -> ComposeResult:
        """Providers, then those that need no model."""
        yield OptionList(id="proposers", markup=False)
        yield Field("Model", "model", "as the provider names it")
        yield Field("Address", "base_url")
        yield Field("Further options", "options", "key=value, separated by blanks")
        yield Field(
            "Form of advice", "form", "moves at single steps, rules that act wherever they hold, both, or goals"
        )
        yield Field("File of rules", "rules", "YAML; examples/rules/ has some")

    def enter(self, answers: Answers) -> None:
        """Fill the list."""
        rows = []
        for one in self.providers:
            line = Text.assemble((one.name.ljust(10), "bold" if one.ready else ""))
            line.append(" ready" if one.ready else " needs options" if one.needs else " not ready", _tone(one))
            rows.append((one.name, line))
        for name in CONTROLS:
            lacks = self.lacks(name, answers)
            told = f"not here: {lacks}" if lacks else _TOLD[name].split(" (")[0]
            rows.append((name, Text.assemble((name.ljust(10), DIM if lacks else ""), (f" {told}", DIM))))
        fill(self.query_one(OptionList), rows, answers.proposer)
        put(self, "form", answers.form)
        put(self, "rules", answers.rules)
        self.narrow()
        if answers.asks_a_model and answers.proposer == self._filled:
            put(self, "model", answers.model or value(self, "model"))
            put(self, "base_url", answers.base_url or value(self, "base_url"))
            put(self, "options", answers.options)

    @property
    def providers(self) -> tuple[ProviderFact, ...]:
        """The providers, the embedded one first."""
        return tuple(sorted(self.facts.providers(), key=lambda one: (one.name != "local", not one.ready)))

    def lacks(self, name: str, answers: Answers) -> str:
        """What the environment lacks for a proposer without a model; empty for nothing."""
        fact = self.facts.environment(answers.environment)
        if name in OF_FILE and not fact.quantities:
            return f"{answers.environment} names no quantities, which rules speak of"
        return "" if name != "oracle" or fact.expert else f"{answers.environment} has no expert"

    @property
    def chosen(self) -> ProviderFact | None:
        """The provider, None for a control."""
        name = picked(self.query_one(OptionList))
        return next((one for one in self.facts.providers() if one.name == name), None)

    def narrow(self) -> None:
        """Fields of the provider, with its defaults."""
        one, name = self.chosen, picked(self.query_one(OptionList))
        for field in self.query(Field).results(Field):
            field.display = {
                "form": len(self.forms) > 1,
                "rules": name in OF_FILE,
                "base_url": one is not None and one.base_url is not None,
            }.get(field.key, one is not None)
        if name != self._filled:  # another provider, other defaults
            self._filled = name
            put(self, "model", one.model if one else "")
            put(self, "base_url", (one.base_url or "") if one else "")
            put(self, "options", "")

    @property
    def forms(self) -> tuple[AdviceForm, ...]:
        """What the proposer's advice can look like."""
        return FORMS.get(picked(self.query_one(OptionList)), get_args(AdviceForm))

    def _form(self, answers: Answers) -> AdviceForm | str:
        """The form of advice, or what is wrong with it."""
        forms, wanted = self.forms, value(self, "form").lower()
        form = forms[0] if len(forms) == 1 else next((one for one in forms if one == wanted), None)
        if form is None:
            return (
                f"the form of advice is {', '.join(forms[:-1])} or {forms[-1]}, found {clean(wanted, 40) or 'nothing'}"
            )
        if form != "moves" and not self.facts.environment(answers.environment).quantities:
            return f"{answers.environment} names no quantities, which rules and goals speak of: use moves"
        return form

    def leave(self, answers: Answers) -> Answers | str:
        """The proposer with its options."""
        found = self._form(answers)
        if found not in get_args(AdviceForm):
            return found
        answers = replace(answers, form=found, rules="")  # type: ignore[arg-type]
        one = self.chosen
        if one is None:
            name = picked(self.query_one(OptionList))
            if lacks := self.lacks(name, answers):
                return f"{name} cannot propose: {lacks}"
            rules = value(self, "rules") if name in OF_FILE else ""
            if name in OF_FILE:
                path = Path(rules).expanduser()
                if not rules or not path.is_file():
                    return f"there is no file {path}" if rules else "name a file of rules (examples/rules/ has some)"
                try:
                    self.facts.check_rules(answers.environment, path)
                except UltraError as error:
                    return f"{error.problem}" + (f": {error.found}" if error.found else "")
                rules = str(path)
            return replace(answers, proposer=name, model="", base_url="", options="", rules=rules)
        model = value(self, "model")
        if "options.model" in one.needs and not model:
            return f"{one.name} needs the name of a model"
        options = value(self, "options")
        if bad := [part for part in options.split() if not part.partition("=")[2]]:
            return f"options are key=value, found {clean(bad[0], 40)}"
        return replace(
            answers,
            proposer=one.name,
            model="" if model == one.model and "options.model" not in one.needs else model,
            base_url="" if value(self, "base_url") == one.base_url else value(self, "base_url"),
            options=options,
        )


def _tone(one: ProviderFact) -> str:
    return GOOD if one.ready else WARM if one.needs else DIM


def environment_text(fact: EnvironmentFact) -> Text:
    """The brief of an environment, or why it cannot be used."""
    text = Text()
    if fact.problem:
        text.append(fact.problem, WARM)
    for label, words in fact.brief:
        text.append(f"{label}\n", "bold cyan")
        text.append(f"{clean(words)}\n\n")
    return text
