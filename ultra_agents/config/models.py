"""The parts of a run's configuration that say which models are asked, how, and for how much."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from ultra_agents.contracts.llm import Prompts
from ultra_agents.contracts.secrets import no_secrets, variable_name
from ultra_agents.errors import ConfigError
from ultra_agents.postgres import checked_address, is_address

LARGEST = 10**15
"""The largest whole number in a configuration: floats hold those up to nine times as large exactly."""


class Section(BaseModel):
    """Base of every part of the configuration: strict, unchangeable."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _countable(cls, value: Any) -> Any:
        if _too_large(value):
            raise ValueError(f"whole numbers of at most {LARGEST:.0e}, for they meet floats")
        return value


def _too_large(value: Any) -> bool:
    """Whether there is a whole number in `value`, options of plugins included, that is too large."""
    if isinstance(value, dict):
        return any(map(_too_large, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_too_large, value))
    return isinstance(value, int) and abs(value) > LARGEST


PostgresAddress: TypeAlias = Annotated[str, AfterValidator(checked_address)]
"""`postgresql://USER@HOST:PORT/DATABASE`; the password comes from the environment."""
FileOrPostgres: TypeAlias = Annotated[
    Annotated[Path, Tag("file")] | Annotated[PostgresAddress, Tag("database")],
    Discriminator(lambda value: "database" if is_address(value) else "file"),
]
"""A file (`Path`), or a Postgres database (`str`)."""


class PluginConfig(Section):
    """A plugin by name, with its options."""

    name: str = Field(description="registered name, or distribution:name")
    options: dict[str, Any] = Field(default_factory=dict, description="the plugin's own options")


class AlgorithmConfig(PluginConfig):
    """What refines. Options that are not set are those the policy's file carries, else the plugin's defaults."""

    name: str = Field("ppo", description="registered name, or distribution:name")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="the plugin's own options; those not set are as the starting policy was trained, else by default",
    )


class AgentConfig(Section):
    """One agent."""

    llm: str | None = Field(
        None,
        description="name of an entry of `llms`, or a list: [first, next on failure, ...]",
        json_schema_extra={"anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": {"type": "string"}}]},
    )
    fallback: tuple[str, ...] = Field((), description="entries of `llms` asked next when one fails")

    @model_validator(mode="before")
    @classmethod
    def _a_list_is_a_chain(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("llm"), list | tuple):
            first, *rest = data["llm"] or [None]
            return {**data, "llm": first, "fallback": (*rest, *data.get("fallback", ()))}
        return data

    @property
    def names(self) -> tuple[str, ...]:
        """Every entry of `llms` named here."""
        return tuple(name for name in (self.llm, *self.fallback) if name is not None)

    @property
    def chains(self) -> tuple[tuple[str, ...], ...]:
        """Models that are asked in each other's place; each chain must have one that answers."""
        return (self.names,)


class CriticConfig(AgentConfig):
    """The reward critic."""

    asks: Literal["verdict", "rewards"] = Field(
        "verdict",
        description="it judges every suggestion, or, where the simulator decides, is asked for implicit rewards only: "
        "after the test, of suggestions that held",
    )
    sees: Literal["reasoning", "evidence"] = Field(
        "reasoning", description="it reads the advisor's reasoning, or the state and what was measured alone"
    )


class IdentifierConfig(AgentConfig):
    """The identifier: one model with its stand-ins, or a panel that votes."""

    panel: tuple[str, ...] = Field((), description="entries of `llms` that are all asked; a majority decides")
    panel_tolerance: int = Field(4, ge=0, description="environment steps within which votes mean the same state")

    @model_validator(mode="after")
    def _a_panel_can_vote(self) -> IdentifierConfig:
        problem = None
        if len(self.panel) == 1:
            problem = "at least two models: one cannot outvote anybody", f"agents.identifier.llm: {self.panel[0]}"
        elif len(set(self.panel)) != len(self.panel):
            problem = "every model once", "name different models, or the same one twice under llms with other options"
        elif self.panel and (self.llm is not None or self.fallback):
            problem = "either a panel, or llm with its fallback", "remove agents.identifier.llm and .fallback"
        if problem is not None:
            raise ConfigError(  # not a ValueError: pydantic would wrap it in its own words
                "agents.identifier.panel cannot vote",
                found=", ".join(self.panel),
                expected=problem[0],
                hint=problem[1],
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Every entry of `llms` named here."""
        return self.panel or super().names

    @property
    def chains(self) -> tuple[tuple[str, ...], ...]:
        """The members of a panel stand for themselves only."""
        return tuple((name,) for name in self.panel) or super().chains


class LLMConfig(Section):
    """One provider with its model."""

    provider: str = Field("local", description='registered LLM plugin, or "langchain:package.Class"')
    options: dict[str, Any] = Field(default_factory=dict, description="the provider's own options")
    prompts: Prompts | None = Field(
        None,
        description="how much it is shown and asked for; null: short for local and small Ollama models, else full",
    )
    price_prompt: float | None = Field(None, ge=0, description="money per million prompt tokens, if not known")
    price_completion: float | None = Field(None, ge=0, description="money per million completion tokens, likewise")
    concurrency: int | None = Field(None, gt=0, description="calls under way at once, at most")
    requests_per_minute: int | None = Field(None, gt=0, description="calls begun in any 60 s, at most")
    tokens_per_minute: int | None = Field(None, gt=0, description="tokens asked for in any 60 s, at most")
    tools: Literal["native", "text", "none"] | None = Field(
        None,
        description="how tools (agents.tools) are offered: as the server's tool calls, in words, or not at all; null: "
        "as the provider says",
    )

    @model_validator(mode="before")
    @classmethod
    def _langchain_in_short(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not str(data.get("provider", "")).startswith("langchain:"):
            return data
        chat_model = data["provider"].partition(":")[2]
        return {**data, "provider": "langchain", "options": {**(data.get("options") or {}), "chat_model": chat_model}}

    @field_validator("options")
    @classmethod
    def _no_keys(cls, value: dict[str, Any]) -> dict[str, Any]:
        variable_name(value.get("api_key_env"))
        return no_secrets(value, "options")

    @model_validator(mode="after")
    def _both_prices(self) -> LLMConfig:
        if (self.price_prompt is None) != (self.price_completion is None):
            raise ConfigError(
                "a model has one price but not the other",
                found=f"price_prompt: {self.price_prompt}, price_completion: {self.price_completion}",
                expected="both price_prompt and price_completion, or neither",
            )
        return self


class CapsConfig(Section):
    """What may be spent; reaching a cap stops the run cleanly and resumably (exit 3)."""

    calls: int | None = Field(None, ge=0, description="model calls")
    tokens: int | None = Field(None, ge=0, description="prompt + completion tokens")
    money: float | None = Field(None, ge=0, description="in the currency of the prices")


class BudgetConfig(CapsConfig):
    """Spending caps of a run, and of each agent."""

    agents: dict[Literal["identifier", "advisor", "critic"], CapsConfig] = Field(
        default_factory=dict, description="caps of single agents, by name"
    )


class GatewayConfig(Section):
    """How models are asked, whoever they are."""

    cache: FileOrPostgres | None = Field(
        None, description="answer cache: an SQLite file, or postgresql://USER@HOST/DB; default: in the run folder"
    )
    mode: Literal["live", "replay"] = Field("live", description="replay never calls out")
    missing: Literal["stop", "drop"] = Field(
        "stop", description="a question that a recording lacks ends the run, or is dropped and counted"
    )
    retries: int = Field(4, ge=0, description="further attempts after a transient failure")
    retry_wait_s: float = Field(1.0, ge=0, description="seconds before the first of them; doubles up to 30")
    breaker: int = Field(5, gt=0, description="failed calls in a row after which a provider rests")
    rest_s: float = Field(60.0, ge=0, description="seconds a resting provider is skipped if another can be asked")
    tracing: bool = Field(False, description="let langchain trace calls as LANGSMITH_* in the environment say")
    callbacks: tuple[str, ...] = Field((), description='langchain callbacks: "module:factory", each called once')
    budget: BudgetConfig = BudgetConfig()
