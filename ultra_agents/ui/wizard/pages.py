"""The wizard's pages: each fills itself from the answers so far and gives changed ones back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ultra_agents.ui.text import clean
from ultra_agents.ui.theme import DIM, GOOD, WARM
from ultra_agents.ui.wizard.answers import CONTROLS, Answers, EnvironmentFact, Facts, PolicyKind, ProviderFact

GYMNASIUM = "gymnasium"
_TOLD = {
    "random": "no model: random steps and actions (the weakest control)",
    "value": "no model: where the value changed most",
    "oracle": "no model: the environment's expert (what perfect advice is worth)",
}


class Page(Vertical):
    """A question. `leave` gives the answers, or says in words what is missing."""

    heading: ClassVar[str] = ""

    def __init__(self, facts: Facts, id: str) -> None:
        super().__init__(id=id)
        self.facts = facts

    def enter(self, answers: Answers) -> None:
        """Show the answers so far."""

    def first(self) -> Widget:
        """What has the focus."""
        return self.query_one(OptionList)

    def leave(self, answers: Answers) -> Answers | str:
        """The answers with this page's, or a complaint."""
        raise NotImplementedError


class Field(Vertical):
    """A labelled text field."""

    def __init__(self, label: str, id: str, hint: str = "") -> None:
        super().__init__(classes="field")
        self.label, self.key, self.hint = label, id, hint

    def compose(self) -> ComposeResult:
        """The label above the field."""
        yield Static(Text.assemble((self.label, "bold"), (f"  {self.hint}" if self.hint else "", DIM)))
        yield Input(id=self.key, compact=True)


def value(page: Widget, key: str) -> str:
    """What a field holds."""
    return page.query_one(f"#{key}", Input).value.strip()


def put(page: Widget, key: str, text: str) -> None:
    """Fill a field."""
    page.query_one(f"#{key}", Input).value = text


def fill(listing: OptionList, rows: list[tuple[str, Text]], chosen: str) -> None:
    """Write the rows of a list, `(id, line)`, and highlight the one called `chosen`, else the first."""
    listing.clear_options()
    listing.add_options([Option(line, id=key) for key, line in rows])
    keys = [key for key, _ in rows]
    listing.highlighted = keys.index(chosen) if chosen in keys else 0 if keys else None


def picked(listing: OptionList) -> str:
    """The id of the highlighted row."""
    index = listing.highlighted
    return "" if index is None else str(listing.get_option_at_index(index).id)


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

    def enter(self, answers: Answers) -> None:
        """Fill the list."""
        rows = []
        for one in self.providers:
            line = Text.assemble((one.name.ljust(10), "bold" if one.ready else ""))
            line.append(" ready" if one.ready else " needs options" if one.needs else " not ready", _tone(one))
            rows.append((one.name, line))
        for name in self.controls(answers):
            rows.append((name, Text.assemble((name.ljust(10), ""), (f" {_TOLD[name].split(' (')[0]}", DIM))))
        fill(self.query_one(OptionList), rows, answers.proposer)
        self.narrow()
        if answers.asks_a_model and answers.proposer == self._filled:
            put(self, "model", answers.model or value(self, "model"))
            put(self, "base_url", answers.base_url or value(self, "base_url"))
            put(self, "options", answers.options)

    @property
    def providers(self) -> tuple[ProviderFact, ...]:
        """The providers, the embedded one first."""
        return tuple(sorted(self.facts.providers(), key=lambda one: (one.name != "local", not one.ready)))

    def controls(self, answers: Answers) -> tuple[str, ...]:
        """Proposers without a model that this environment allows."""
        expert = self.facts.environment(answers.environment).expert
        return tuple(name for name in CONTROLS if name != "oracle" or expert)

    @property
    def chosen(self) -> ProviderFact | None:
        """The provider, None for a control."""
        name = picked(self.query_one(OptionList))
        return next((one for one in self.facts.providers() if one.name == name), None)

    def narrow(self) -> None:
        """Fields of the provider, with its defaults."""
        one = self.chosen
        for field in self.query(Field).results(Field):
            field.display = one is not None and (field.key != "base_url" or one.base_url is not None)
        name = picked(self.query_one(OptionList))
        if name != self._filled:  # another provider, other defaults
            self._filled = name
            put(self, "model", one.model if one else "")
            put(self, "base_url", (one.base_url or "") if one else "")
            put(self, "options", "")

    def leave(self, answers: Answers) -> Answers | str:
        """The proposer with its options."""
        one = self.chosen
        if one is None:
            return replace(answers, proposer=picked(self.query_one(OptionList)), model="", base_url="", options="")
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


class MethodPage(Page):
    """What is compared?"""

    heading = "Method"
    marked: set[str]

    def compose(self) -> ComposeResult:
        """One row per method."""
        yield OptionList(id="methods", markup=False)
        yield Static(Text("Space marks. Every marked method gets the same policy, seeds and steps.", DIM))

    def enter(self, answers: Answers) -> None:
        """Mark the chosen ones."""
        self.marked = set(answers.methods)
        self._draw(0)

    def toggle(self) -> None:
        """Mark the highlighted row, or take the mark away."""
        listing = self.query_one(OptionList)
        self.marked ^= {picked(listing)}
        self._draw(listing.highlighted or 0)

    def _draw(self, highlighted: int) -> None:
        listing = self.query_one(OptionList)
        rows = []
        for name, about in self.facts.methods():
            on = name in self.marked
            mark = ("[x] ", GOOD) if on else ("[ ] ", DIM)
            rows.append((name, Text.assemble(mark, name.ljust(9), (f" {about}", DIM))))
        fill(listing, rows, rows[highlighted][0])

    def leave(self, answers: Answers) -> Answers | str:
        """The methods, at least one."""
        methods = tuple(name for name, _ in self.facts.methods() if name in self.marked)
        return replace(answers, methods=methods) if methods else "mark at least one method (space)"


class BudgetPage(Page):
    """How much?"""

    heading = "Budget"
    FIELDS: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("episodes", "Episodes explained", ""),
        ("steps", "Environment steps per method", "tests of advice included"),
        ("evaluations", "Final evaluation episodes", "per policy"),
        ("calls", "Cap on model calls", "empty: none; at a cap the run stops resumably"),
        ("tokens", "Cap on tokens", "empty: none"),
    )

    def compose(self) -> ComposeResult:
        """A field for each."""
        for key, label, hint in self.FIELDS:
            yield Field(label, key, hint)

    def first(self) -> Widget:
        """The first field."""
        return self.query_one("#episodes", Input)

    def enter(self, answers: Answers) -> None:
        """Fill the fields."""
        for key, _, _ in self.FIELDS:
            number_ = getattr(answers, key)
            put(self, key, "" if number_ is None else str(number_))
        for field in self.query(Field).results(Field):
            field.display = answers.asks_a_model or field.key not in ("calls", "tokens")

    def leave(self, answers: Answers) -> Answers | str:
        """The numbers."""
        found: dict[str, int | None] = {}
        for key, label, _ in self.FIELDS:
            text = value(self, key)
            found[key] = number(text) if text else None
            least = 2 if key == "evaluations" else 1
            if (text or key not in ("calls", "tokens")) and (found[key] or 0) < least:
                return f"{label.lower()}: a whole number from {least}"
        return replace(answers, **found)  # type: ignore[arg-type]


class WritePage(Page):
    """Where to, and run it?"""

    heading = "Write"

    def compose(self) -> ComposeResult:
        """Name, file, and what to do."""
        yield Field("Name of the run", "name", "its folder below runs/")
        yield Field("Configuration file", "path")
        yield OptionList(
            Option(Text.assemble(("Write the file and run it", "bold")), id="run"),
            Option(Text("Write the file only"), id="write"),
            id="actions",
            markup=False,
        )

    def enter(self, answers: Answers) -> None:
        """Fill the fields."""
        put(self, "name", answers.name)
        put(self, "path", str(answers.file))
        self.query_one(OptionList).highlighted = 0

    @property
    def runs(self) -> bool:
        """Whether it is to be run."""
        return picked(self.query_one(OptionList)) == "run"

    def leave(self, answers: Answers) -> Answers | str:
        """Name and file."""
        name, path = value(self, "name"), value(self, "path")
        if not name or not all(char.isalnum() or char in "._-" for char in name) or not name.isascii():
            return "a run's name holds letters, digits, dots, dashes and underscores"
        if not path:
            return "name the file to write"
        return replace(answers, name=name, file=Path(path).expanduser())


def number(text: str) -> int:
    """A whole number, thousands separated or not; 0 for anything else."""
    digits = text.replace("_", "").replace(",", "").replace("'", "")
    return int(digits) if digits.isdecimal() and len(digits) < 13 else 0


def side_of_environment(fact: EnvironmentFact) -> Text:
    """The brief of an environment, or why it cannot be used."""
    text = Text()
    if fact.problem:
        text.append(fact.problem, WARM)
    for label, words in fact.brief:
        text.append(f"{label}\n", "bold cyan")
        text.append(f"{clean(words)}\n\n")
    return text
