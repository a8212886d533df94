"""The wizard's answers, and the protocol through which it gets facts about plugins, models and costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

PolicyKind: TypeAlias = Literal["shipped", "file", "train"]
Labelled: TypeAlias = tuple[tuple[str, str], ...]
"""Rows of a label and what is said."""
AdviceForm: TypeAlias = Literal["moves", "rules", "both", "goals"]
CONTROLS = ("random", "value", "search", "oracle", "file", "constants")
"""Proposers that ask no model."""
OF_FILE = ("file", "constants")
"""Those that begin with a person's file of rules."""
FORMS: dict[str, tuple[AdviceForm, ...]] = {
    "random": ("moves", "rules", "goals"),
    "value": ("moves",),
    "search": ("moves",),
    "oracle": ("moves",),
    "file": ("rules",),
    "constants": ("rules",),
}
"""What the advice of each of them can look like; a model's can have any form."""


@dataclass(frozen=True)
class EnvironmentFact:
    """One environment.

    Attributes:
        brief: Goal, actions, reward, ... as told to the agents.
        policies: Starting policies that ship with it.
        expert: It has an oracle.
        quantities: It names what rules speak of.
        problem: Why it cannot be used; empty where it can.
    """

    name: str
    brief: Labelled = ()
    policies: tuple[str, ...] = ()
    expert: bool = False
    quantities: bool = False
    problem: str = ""


@dataclass(frozen=True)
class ProviderFact:
    """One provider of models; `fields` are the options it asks for beyond its defaults."""

    name: str
    about: str
    ready: bool
    problem: str = ""
    hint: str = ""
    needs: tuple[str, ...] = ()
    model: str = ""
    base_url: str | None = None


@dataclass(frozen=True)
class MethodFact:
    """A method that can be compared.

    Attributes:
        about: What it does.
        problem: Why it cannot be had here; empty where it can.
        advised: It uses advice.
    """

    name: str
    about: str
    problem: str = ""
    advised: bool = False


@dataclass(frozen=True)
class Checked:
    """What `ultra llm check` found; `tokens_per_s` of replies, prompts included."""

    ok: bool
    rows: Labelled
    problem: str = ""
    hint: str = ""
    tokens_per_s: float | None = None
    latency_s: float | None = None


@dataclass(frozen=True)
class Speed:
    """Environment steps per second while learning; `problem` says why they are unknown."""

    steps_per_s: float
    problem: str = ""


@dataclass(frozen=True)
class Answers:
    """All answers, with their defaults.

    Attributes:
        environment: Registered name, or `gymnasium:<id>`.
        policy: Name of a shipped one, or a file.
        proposer: A provider of models, or one of `CONTROLS`.
        options: Further options of the provider, `key=value` separated by blanks.
        form: What advice looks like.
        rules: The file of rules, for the proposers that read one.
        methods: What is compared.
        advised: One of them uses advice.
        episodes: Episodes collected and explained.
        steps: Environment steps per method.
        evaluations: Final evaluation episodes per policy.
        calls: Cap on model calls; None for none.
        tokens: Cap on tokens; None for none.
        file: Where the configuration goes.
    """

    environment: str = "pong"
    policy_kind: PolicyKind = "shipped"
    policy: str = "suboptimal"
    train_steps: int = 20_000
    proposer: str = "local"
    model: str = ""
    base_url: str = ""
    options: str = ""
    form: AdviceForm = "moves"
    rules: str = ""
    methods: tuple[str, ...] = ("ultra-ra", "continue")
    advised: bool = True
    episodes: int = 3
    steps: int = 120_000
    evaluations: int = 16
    calls: int | None = None
    tokens: int | None = None
    name: str = "pong"
    file: Path = Path("pong.yaml")

    @property
    def asks_a_model(self) -> bool:
        """Whether a language model proposes."""
        return self.proposer not in CONTROLS

    @property
    def calls_a_model(self) -> bool:
        """Whether one proposes to a method that uses advice."""
        return self.asks_a_model and self.advised


class Facts(Protocol):
    """Facts the wizard shows; `check` and `speed` take long and are called from a thread."""

    def environments(self) -> tuple[str, ...]:
        """Names of the registered environments."""
        ...

    def environment(self, name: str) -> EnvironmentFact:
        """What there is to know of one."""
        ...

    def providers(self) -> tuple[ProviderFact, ...]:
        """Every provider of models."""
        ...

    def methods(self, answers: Answers) -> tuple[MethodFact, ...]:
        """Every method, and which of them the environment answered cannot have."""
        ...

    def check_rules(self, environment: str, file: Path) -> None:
        """Read a file of rules for an environment; raises `UltraError` where it cannot be used there."""
        ...

    def check(self, answers: Answers, stop: Callable[[], bool], progress: Callable[[str], None]) -> Checked:
        """Talk to the model."""
        ...

    def speed(self, answers: Answers) -> Speed:
        """Step the environment, learning, for a second or two."""
        ...

    def cost(self, answers: Answers, speed: Speed | None, checked: Checked | None) -> Labelled:
        """What the run will cost."""
        ...

    def text(self, answers: Answers) -> str:
        """The configuration file, commented and validated; raises `UltraError`."""
        ...

    def write(self, answers: Answers, text: str, overwrite: bool) -> bool:
        """Write the file; false where there is one already and it may not be overwritten; raises `UltraError`."""
        ...


@dataclass(frozen=True)
class WizardResult:
    """How the wizard ended: the file written, and whether to run it."""

    file: Path
    run: bool
