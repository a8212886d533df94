"""One run's configuration: strict pydantic models, read from YAML and `--set a.b=c`.

Unknown keys are errors with a suggestion. Units are in the field descriptions. Secrets never appear here:
providers read them from the environment.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

from pydantic import Field, model_validator

from ultra_agents.config.advising import AdviceConfig, AdviceForm, ImitationConfig, ModulationConfig
from ultra_agents.config.engine import RunEngineConfig
from ultra_agents.config.methods import (
    JSRL,
    RICE,
    SECTIONS,
    STATEMASK,
    JsrlSection,
    MethodNames,
    MethodOptions,
    RiceSection,
    StateMaskSection,
)
from ultra_agents.config.models import (
    AgentConfig,
    AlgorithmConfig,
    CriticConfig,
    GatewayConfig,
    IdentifierConfig,
    LLMConfig,
    PluginConfig,
    PostgresAddress,
    Section,
)
from ultra_agents.config.search import SearchConfig
from ultra_agents.config.tools import ToolsConfig
from ultra_agents.config.verification import VerificationConfig
from ultra_agents.contracts.llm import Prompts
from ultra_agents.errors import ConfigError, did_you_mean
from ultra_agents.registry import OURS, find
from ultra_agents.yaml_text import write_yaml

Proposer: TypeAlias = Literal["llm", "random", "value", "search", "oracle", "file", "constants"]
OF_MOVES: tuple[Proposer, ...] = ("search", "random", "value", "oracle")
"""Proposers that suggest moves for any policy's episodes and ask no model."""
OF_RULES: tuple[Proposer, ...] = ("file", "constants")
"""Proposers that propose sets of rules only; they begin with a file."""


class PolicyConfig(Section):
    """Where the sub-optimal policy comes from: a file, one that ships with the environment, or a short training."""

    path: Path | None = Field(None, description="policy file (.safetensors)")
    shipped: str | None = Field(None, description="name of a policy that ships with the environment plugin")
    train_steps: int | None = Field(None, gt=0, description="environment steps of training from scratch")

    @model_validator(mode="after")
    def _one_source(self) -> PolicyConfig:
        if sum(part is not None for part in (self.path, self.shipped, self.train_steps)) != 1:
            raise ValueError("give exactly one of path, shipped, train_steps")
        return self


class CollectConfig(Section):
    """Stage 1."""

    episodes: int = Field(4, gt=0, le=1_000_000, description="episodes to collect and explain")
    folder: Path | None = Field(
        None,
        description="take the first of the episodes in this folder (a run's trajectories/) instead of playing; "
        "their steps are charged all the same",
    )
    max_steps: int = Field(20_000, gt=0, description="longest episode kept, in environment steps")


class NarrationTerms(Section):
    """Stage 2, but for what goes by the model."""

    segment_steps: int = Field(60, ge=4, description="longest segment, in environment steps")
    segments_per_episode: int = Field(3, gt=0, description="segments explained of each episode")
    prescreen: Literal["none", "value", "simulator"] = Field(
        "none", description="where the identifier is told to look: changes of value, or short rollouts of each action"
    )
    prescreen_steps: int = Field(5, gt=0, description="steps named to the identifier, at most")
    prescreen_states: int = Field(6, gt=0, description="steps of a segment the simulator tries, at most")
    prescreen_horizon: int = Field(20, gt=0, description="environment steps of each such rollout, value at the cut")
    effects: bool | None = Field(
        None,
        description="measure what actions do and what preceded events, and tell every agent; null: where the "
        "advisor's prompts are full",
    )
    effects_max_steps: int = Field(2000, ge=0, description="environment steps of that, charged to advised methods")
    effects_tokens: int = Field(800, ge=50, description="longest text about it, in estimated tokens")


class NarrationConfig(NarrationTerms):
    """Stage 2 as a run has it (`config.capacity.settled`)."""

    token_budget: int = Field(900, ge=100)
    stride: int = Field(3, gt=0)


class NarrationSection(NarrationTerms):
    """Stage 2."""

    token_budget: int | None = Field(
        None, ge=100, description="longest narration of one segment, in estimated tokens; null: by model, 900 or 6000"
    )
    stride: int | None = Field(
        None,
        gt=0,
        description="environment steps between two described steps, far from what decides; null: by model, 3 or 1",
    )


class AgentsTerms(Section):
    """Stages 3-5, but for what goes by the model."""

    identifier: IdentifierConfig = IdentifierConfig()
    advisor: AgentConfig = AgentConfig()
    critic: CriticConfig = CriticConfig()
    min_hold: int = Field(1, gt=0, description="environment steps a suggestion must hold, at least")
    expert_steps: int = Field(24, gt=0, description="environment steps of an oracle's plan")
    search: SearchConfig = SearchConfig()
    max_revisions: int = Field(1, ge=0, description="times a suggestion may go back to the advisor")
    concurrency: int = Field(4, gt=0, description="segments explained side by side")
    rules: Literal["text", "atoms"] | None = Field(
        None, description="how models write rules: as text, or as atoms; null: those with short prompts as atoms"
    )
    improve: bool = Field(
        False,
        description="rules that gained in their short test go back, too, while revisions are left; the best is taken",
    )
    max_repairs: int = Field(2, ge=0, description="times a set of rules that cannot be read goes back, each attempt")
    approve: bool = Field(False, description="a person says yes or no to what held in the test before it is used")
    tools: ToolsConfig | None = Field(None, description="tools for models that call tools; null: none")
    checkpoints: PostgresAddress | None = Field(
        None, description="progress of each segment: postgresql://USER@HOST/DB; default: SQLite in the run folder"
    )


class AgentsConfig(AgentsTerms):
    """Stages 3-5 as a run has them; `plan_steps` None: no limit beyond those of moves and holds."""

    max_critical: int = Field(3, gt=0)
    max_hold: int = Field(8, gt=0)
    max_moves: int = Field(1, gt=0, le=8)
    plan_steps: int | None = Field(None, gt=0)
    reasoning: int = Field(240, ge=40)
    prompts: Prompts = "short"


class AgentsSection(AgentsTerms):
    """Stages 3-5."""

    max_critical: int | None = Field(
        None, gt=0, description="critical states named per segment, at most; null: by model, 3 or 4"
    )
    max_hold: int | None = Field(
        None, gt=0, description="environment steps a suggestion may hold, at most; null: by model, 8 or 40"
    )
    max_moves: int | None = Field(
        None,
        gt=0,
        le=8,
        description="moves (an action with its hold) of one suggestion, at most; null: by model, 1 or 8",
    )
    plan_steps: int | None = Field(
        None, gt=0, description="environment steps of all its moves, at most; null: by model, unlimited or 40"
    )
    reasoning: int | None = Field(
        None, ge=40, description="characters of an agent's reasons; null: by model, 240 or 1500"
    )

    @model_validator(mode="after")
    def _holds_are_a_range(self) -> AgentsSection:
        if self.max_hold is not None and self.min_hold > self.max_hold:
            raise ValueError(f"min_hold ({self.min_hold}) is above max_hold ({self.max_hold})")
        if self.plan_steps is not None and self.min_hold > self.plan_steps:
            raise ValueError(f"min_hold ({self.min_hold}) is above plan_steps ({self.plan_steps})")
        return self


class RefineConfig(Section):
    """Stage 10."""

    algorithm: AlgorithmConfig = AlgorithmConfig()
    steps: int = Field(100_000, gt=0, description="environment steps per method, testing included")
    num_envs: int = Field(16, gt=0, description="parallel environments")
    workers: int = Field(
        1, ge=0, description="processes that step them; 0: this one steps them all, 1: that one and this one half each"
    )
    evaluate_every: int = Field(25_000, gt=0, description="environment steps between two points of the curve")
    curve_episodes: int = Field(8, gt=0, le=1_000_000, description="episodes per point of the curve")


class EvaluateConfig(Section):
    """Stage 11."""

    episodes: int = Field(32, gt=1, le=1_000_000, description="final episodes per policy, seeds never trained on")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the bootstrap intervals")
    fidelity: int = Field(0, ge=0, description="random windows per segment and share K; 0 measures no fidelity")
    video: bool = Field(True, description="an episode before and after in the report")


class Config(Section):
    """One run, all stages."""

    APART: ClassVar[tuple[str, ...]] = ("name", "engine", "trackers")
    """Settings that no number depends on."""

    name: str = Field("run", min_length=1, pattern=r"^[A-Za-z0-9._-]+$", description="run folder's name")
    seed: int = Field(0, ge=0, description="root of all randomness")
    environment: PluginConfig
    policy: PolicyConfig
    methods: MethodNames = Field(
        ("ultra-ra", "continue"),
        min_length=1,
        description="what is compared, each from the same policy and budget",
    )
    proposer: Proposer = Field("llm", description="who proposes advice: models, a control, or a person's file")
    llms: dict[str, LLMConfig] = Field(default_factory=lambda: {"default": LLMConfig()}, description="models by name")
    gateway: GatewayConfig = GatewayConfig()
    collect: CollectConfig = CollectConfig()
    narration: NarrationSection = NarrationSection()
    agents: AgentsSection = AgentsSection()
    verification: VerificationConfig = VerificationConfig()
    advice: AdviceConfig = AdviceConfig()
    imitation: ImitationConfig = ImitationConfig()
    modulation: ModulationConfig = ModulationConfig()
    refine: RefineConfig = RefineConfig()
    rice: RiceSection = Field(default_factory=RICE.default, description="options of the method rice")
    statemask: StateMaskSection = Field(default_factory=STATEMASK.default, description="of statemask-r")
    jsrl: JsrlSection = Field(default_factory=JSRL.default, description="of jsrl")
    method_options: MethodOptions = Field(default_factory=dict, description="options of any other method, by its name")
    evaluate: EvaluateConfig = EvaluateConfig()
    engine: RunEngineConfig = RunEngineConfig()
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] | None = Field(
        None, description="where training metrics go beside metrics.jsonl; null: TensorBoard where it is installed"
    )

    @model_validator(mode="after")
    def _agents_know_their_models(self) -> Config:
        for role in ("identifier", "advisor", "critic"):
            agent: AgentConfig = getattr(self.agents, role)
            if agent.fallback and agent.llm is None:
                raise ConfigError(
                    f"agents.{role} has a fallback, but no model it falls back from",
                    found=f"fallback: {', '.join(agent.fallback)}",
                    hint=f"set agents.{role}.llm",
                )
            for name in agent.names:
                if name not in self.llms:
                    raise ConfigError(
                        f"agents.{role} names the model {name!r}, which is not under llms",
                        expected=f"one of: {', '.join(self.llms)}",
                        hint=did_you_mean(name, self.llms),
                    )
        return self

    @model_validator(mode="after")
    def _advice_has_a_form(self) -> Config:
        form, file, found = self.advice.form, self.advice.file, f"proposer: {self.proposer}"
        if self.proposer in OF_RULES:
            if file is None:
                raise ConfigError(
                    f"the proposer {self.proposer!r} reads a set of rules, and none is named",
                    found="advice.file: null",
                    expected="advice.file: PATH",
                    hint="examples/rules/ has some; `ultra rules check FILE --environment NAME` checks one",
                )
            if form not in (None, "rules"):
                raise ConfigError(
                    f"the proposer {self.proposer!r} proposes rules only",
                    found=f"advice.form: {form}",
                    expected="advice.form: rules, or leave it out",
                )
        elif file is not None:
            raise ConfigError(
                "advice.file is read by nobody", found=found, expected=f"proposer: {' or '.join(OF_RULES)}"
            )
        if self.form != "moves" and self.proposer in ("value", "search", "oracle"):
            others = "of goals: llm, random" if form == "goals" else "of rules: llm, random, file, constants"
            raise ConfigError(
                f"the proposer {self.proposer!r} proposes moves only",
                found=f"advice.form: {form}",
                expected=f"advice.form: moves, or a proposer {others}",
            )
        if form == "goals" and self.agents.search.refine:
            raise ConfigError(
                "what a search finds for a goal is not written by anybody, so there is nothing to refine",
                found="advice.form: goals, agents.search.refine: true",
                expected="one of the two",
            )
        return self

    @model_validator(mode="after")
    def _rounds_ask_no_model(self) -> Config:
        if self.imitation.iterations > 1 and self.proposer not in OF_MOVES:
            raise ConfigError(
                f"imitation.iterations asks the proposer again, and {self.proposer!r} answers for one policy only",
                found=f"imitation.iterations: {self.imitation.iterations}",
                expected=f"proposer: one of {', '.join(OF_MOVES)}, or imitation.iterations: 1",
            )
        return self

    @property
    def form(self) -> AdviceForm:
        """What advice looks like in this run."""
        return self.advice.form or ("rules" if self.proposer in OF_RULES else "moves")

    @property
    def of_moves(self) -> bool:
        """Whether advice is plans at single steps, written or found for goals."""
        return self.form != "rules"

    @property
    def of_rules(self) -> bool:
        """Whether advice is sets of rules, alone or beside moves."""
        return self.form in ("rules", "both")

    @property
    def searches(self) -> bool:
        """Whether the simulator searches plans: as proposer, for goals, or around what a model suggests."""
        refines = self.proposer == "llm" and self.agents.search.refine
        return self.proposer == "search" or self.form == "goals" or refines

    def hash(self) -> str:
        """Twelve hex digits that change with what can change the numbers: not with what is `APART`."""
        none: dict[str, Any] = dict.fromkeys(self.APART, True)
        none |= {} if self.method_options else {"method_options": True}
        none |= {} if self.agents.search != SearchConfig() else {"agents": {"search"}}
        later = {"weights": "equal", "iterations": 1}  # as it was before there were these
        usual = {name for name, value in later.items() if getattr(self.imitation, name) == value}
        none |= {"imitation": usual} if usual else {}
        text = json.dumps(self.model_dump(mode="json", exclude=none), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def options_of(self, method: str) -> dict[str, Any]:
        """The options of a method, all of them or those that were set."""
        ours = find("method", method)
        section = next((key for key, name in SECTIONS.items() if (ours.distribution, ours.name) == (OURS, name)), None)
        found = self.method_options.get(method) if section is None else getattr(self, section)
        return {} if found is None else found.model_dump()

    def to_yaml(self) -> str:
        """The resolved configuration as YAML."""
        return write_yaml(self.model_dump(mode="json"))
