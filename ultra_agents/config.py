"""One run's configuration: strict pydantic models, read from YAML and `--set a.b=c`.

Unknown keys are errors with a suggestion. Units are in the field descriptions. Secrets never appear here:
providers read them from the environment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ultra_agents.contracts.modulation import Learn
from ultra_agents.errors import ConfigError
from ultra_agents.records import Variant
from ultra_agents.registry import options_error

METHODS = ("ultra-a", "ultra-r", "ultra-ra", "continue")
Proposer: TypeAlias = Literal["llm", "random", "oracle"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class PluginConfig(_Section):
    """A plugin by name, with its options."""

    name: str = Field(description="registered name, or distribution:name")
    options: dict[str, Any] = Field(default_factory=dict, description="the plugin's own options")


class PolicyConfig(_Section):
    """Where the sub-optimal policy comes from: a file, one that ships with the environment, or a short training."""

    path: Path | None = Field(None, description="policy file (.safetensors)")
    shipped: str | None = Field(None, description="name of a policy that ships with the environment plugin")
    train_steps: int | None = Field(None, gt=0, description="environment steps of training from scratch")

    @model_validator(mode="after")
    def _one_source(self) -> PolicyConfig:
        if sum(part is not None for part in (self.path, self.shipped, self.train_steps)) != 1:
            raise ValueError("give exactly one of path, shipped, train_steps")
        return self


class CollectConfig(_Section):
    """Stage 1."""

    episodes: int = Field(4, gt=0, description="episodes to collect and explain")
    max_steps: int = Field(20_000, gt=0, description="longest episode kept, in environment steps")


class NarrationConfig(_Section):
    """Stage 2."""

    token_budget: int = Field(900, ge=100, description="longest narration of one segment, in estimated tokens")
    segment_steps: int = Field(60, ge=4, description="longest segment, in environment steps")
    segments_per_episode: int = Field(3, gt=0, description="segments explained of each episode")
    stride: int = Field(3, gt=0, description="environment steps between two narrated steps")


class AgentConfig(_Section):
    """One agent."""

    llm: str | None = Field(None, description="name of an entry of `llms`; default: the first one")
    fallback: tuple[str, ...] = Field((), description="entries of `llms` asked next when one fails")


class AgentsConfig(_Section):
    """Stages 3-5."""

    identifier: AgentConfig = AgentConfig()
    advisor: AgentConfig = AgentConfig()
    critic: AgentConfig = AgentConfig()
    max_critical: int = Field(3, gt=0, description="critical states named per segment, at most")
    min_hold: int = Field(1, gt=0, description="environment steps a suggestion must hold, at least")
    max_hold: int = Field(8, gt=0, description="environment steps a suggestion may hold, at most")
    max_revisions: int = Field(1, ge=0, description="times a suggestion may go back to the advisor")
    concurrency: int = Field(4, gt=0, description="segments explained side by side")

    @model_validator(mode="after")
    def _holds_are_a_range(self) -> AgentsConfig:
        if self.min_hold > self.max_hold:
            raise ValueError(f"min_hold ({self.min_hold}) is above max_hold ({self.max_hold})")
        return self


class LLMConfig(_Section):
    """One provider with its model."""

    provider: str = Field("local", description="registered LLM plugin")
    options: dict[str, Any] = Field(default_factory=dict, description="the provider's own options")
    price_prompt: float = Field(0.0, ge=0, description="money per million prompt tokens")
    price_completion: float = Field(0.0, ge=0, description="money per million completion tokens")
    concurrency: int | None = Field(None, gt=0, description="calls under way at once, at most")
    requests_per_minute: int | None = Field(None, gt=0, description="calls begun in any 60 s, at most")
    tokens_per_minute: int | None = Field(None, gt=0, description="tokens asked for in any 60 s, at most")


class BudgetConfig(_Section):
    """Spending caps of a run; reaching one stops it cleanly and resumably (exit 3)."""

    calls: int | None = Field(None, ge=0, description="model calls")
    tokens: int | None = Field(None, ge=0, description="prompt + completion tokens")
    money: float | None = Field(None, ge=0, description="in the currency of the prices")


class GatewayConfig(_Section):
    """How models are asked, whoever they are."""

    cache: Path | None = Field(None, description="answer cache (SQLite); default: in the run folder")
    mode: Literal["live", "replay"] = Field("live", description="replay never calls out")
    retries: int = Field(4, ge=0, description="further attempts after a passing failure")
    retry_wait_s: float = Field(1.0, ge=0, description="seconds before the first of them; doubles up to 30")
    rest_s: float = Field(60.0, ge=0, description="seconds a failed model is skipped if another can be asked")
    budget: BudgetConfig = BudgetConfig()


class VerificationConfig(_Section):
    """Stage 6, and the critic's own reflection."""

    mode: Literal["none", "reflect", "simulate", "both"] = Field(
        "both", description="none/reflect are the paper's; simulate tests in the simulator"
    )
    max_pairs: int = Field(12, gt=1, description="paired rollouts per suggestion, at most")
    min_pairs: int = Field(4, gt=1, description="paired rollouts before stopping early")
    horizon: int = Field(120, gt=0, description="environment steps of one rollout, value function at the cut")
    confidence: float = Field(0.8, gt=0.5, lt=1, description="one-sided confidence that the gain is positive")
    discount: float = Field(0.99, gt=0, le=1, description="of rewards within a rollout, and of the value at its cut")
    max_steps: int = Field(30_000, ge=0, description="environment steps for all tests of a run")


class AdviceConfig(_Section):
    """Stage 7."""

    match: Literal["nearest", "exact"] = Field("nearest", description="how a visited state finds its row")
    hit_rate: float = Field(0.1, gt=0, le=1, description="share of visited states the radius is calibrated to hit")
    hit_per_entry: float = Field(0.005, gt=0, le=1, description="the same share, per row of the table, at most")
    adaptive: bool = Field(True, description="keep hitting that share while the policy moves; else a fixed radius")
    reward: Literal["llm", "measured"] = Field("llm", description="implicit reward: the critic's, or the gain")


class ModulationConfig(_Section):
    """Stage 8 (METHOD table of choices; the first named is the default)."""

    probability: float = Field(0.3, ge=0, le=1, description="chance p of following the table at a match")
    schedule: Literal["linear", "constant", "cosine"] = Field("linear", description="how p falls to 0 over training")
    until: float = Field(0.8, gt=0, le=1, description="share of the budget after which p is 0 (not for constant)")
    hold: bool = Field(True, description="hold suggestions for as long as the advisor said; else one step")
    beta: float = Field(0.2, ge=0, description="scale of the implicit reward, in units of environment reward")
    reward: Literal["add", "replace", "potential"] = Field("add", description="what the implicit reward does")
    learn: Learn = Field("mixture", description="how overridden steps enter the update")
    discount: float = Field(0.99, gt=0, le=1, description="of potential shaping; the algorithm's own")
    action_noise: float = Field(0.1, gt=0, description="spread of a followed continuous suggestion, action units")


class RefineConfig(_Section):
    """Stage 9."""

    algorithm: PluginConfig = PluginConfig(name="ppo")
    steps: int = Field(100_000, gt=0, description="environment steps per method, testing included")
    num_envs: int = Field(16, gt=0, description="parallel environments")
    workers: int = Field(1, ge=0, description="processes that step them; 0 steps them in this one")
    evaluate_every: int = Field(25_000, gt=0, description="environment steps between two points of the curve")
    curve_episodes: int = Field(8, gt=0, description="episodes per point of the curve")


class EvaluateConfig(_Section):
    """Stage 10."""

    episodes: int = Field(32, gt=1, description="final episodes per policy, seeds never trained on")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the bootstrap intervals")


class Config(_Section):
    """One run, all stages."""

    name: str = Field("run", min_length=1, pattern=r"^[A-Za-z0-9._-]+$", description="run folder's name")
    seed: int = Field(0, ge=0, description="root of all randomness")
    environment: PluginConfig
    policy: PolicyConfig
    methods: tuple[Literal["ultra-a", "ultra-r", "ultra-ra", "continue"], ...] = Field(
        ("ultra-ra", "continue"),
        min_length=1,
        description="what is compared, each from the same policy and budget",
    )
    proposer: Proposer = Field("llm", description="who proposes advice")
    llms: dict[str, LLMConfig] = Field(default_factory=lambda: {"default": LLMConfig()}, description="models by name")
    gateway: GatewayConfig = GatewayConfig()
    collect: CollectConfig = CollectConfig()
    narration: NarrationConfig = NarrationConfig()
    agents: AgentsConfig = AgentsConfig()
    verification: VerificationConfig = VerificationConfig()
    advice: AdviceConfig = AdviceConfig()
    modulation: ModulationConfig = ModulationConfig()
    refine: RefineConfig = RefineConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _agents_know_their_models(self) -> Config:
        for role in ("identifier", "advisor", "critic"):
            agent: AgentConfig = getattr(self.agents, role)
            for name in (agent.llm, *agent.fallback):
                if name is not None and name not in self.llms:
                    raise ValueError(f"agents.{role} names the model {name!r}; llms has: {', '.join(self.llms)}")
        return self

    def hash(self) -> str:
        """Twelve hex digits that change with anything that can change the numbers (the name cannot)."""
        text = json.dumps(self.model_dump(mode="json", exclude={"name"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_yaml(self) -> str:
        """The resolved configuration as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def variant_of(method: str) -> Variant | None:
    """`ultra-ra` -> `ra`; None for a method that uses no advice."""
    variants: dict[str, Variant] = {"ultra-a": "a", "ultra-r": "r", "ultra-ra": "ra"}
    return variants.get(method)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and apply `a.b=c` overrides (values are YAML).

    Relative paths in the file are taken from the file's folder.

    Raises:
        ConfigError: Missing or unreadable file, bad YAML, unknown key, unusable value.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the configuration {path}",
            found=str(error),
            expected="a YAML file",
            hint="examples/pong.yaml is a complete one",
        ) from error
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML", found=" ".join(str(error).split())) from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds no mapping of settings", found=type(data).__name__)
    for override in overrides:
        _apply(data, override)
    return parse_config(data, str(path), base=path.parent)


def parse_config(data: dict[str, Any], whose: str, base: Path | None = None) -> Config:
    """Validate a mapping; `whose` names it in error messages."""
    policy = data.get("policy")
    if base is not None and isinstance(policy, dict) and isinstance(policy.get("path"), str):
        given = Path(policy["path"]).expanduser()
        data = {**data, "policy": {**policy, "path": str(given if given.is_absolute() else base / given)}}
    try:
        return Config(**data)
    except ValidationError as error:
        raise options_error(whose, error, Config) from error
    except TypeError as error:
        raise ConfigError(f"{whose} has a key that is not a word", found=str(error)) from error


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError("--set takes key=value", found=override, expected="for example refine.steps=50000")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key} has an unreadable value", found=value) from error
    node: Any = data
    *parents, last = key.split(".")
    for part in parents:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ConfigError(f"--set {key}: {part!r} is not a section", found=repr(node))
    node[last] = parsed
