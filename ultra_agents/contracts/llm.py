"""What an LLM plugin offers: a factory of langchain chat models, and nothing else."""

from __future__ import annotations

import urllib.parse
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from ultra_agents.contracts.environment import CONTRACT_VERSION, Options
from ultra_agents.errors import ConfigError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from pydantic import SecretStr

Structured: TypeAlias = Literal["json_schema", "json_object", "format", "tools", "text"]
"""How a reply's JSON schema reaches the model.

`json_schema`/`json_object`: OpenAI's `response_format`; `format`: Ollama's; `tools`: langchain's
`with_structured_output`; `text`: in words, at the end of the prompt.
"""


def plain_address(value: str) -> str:
    """`value` without a trailing slash, if it is an http(s) address with nothing secret in it.

    For the validators of a provider's `base_url`.

    Raises:
        ValueError: No address.
        ultra_agents.errors.ConfigError: It may hold a key; the message does not repeat it.
    """
    parts = urllib.parse.urlsplit(value)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            "base_url holds more than an address",
            expected="an address without user, password or query",
            hint="put the key into the environment (options.api_key_env names the variable)",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address such as http://127.0.0.1:8000/v1")
    return value.rstrip("/")


class LLMOptions(Options):
    """Options every provider understands; a provider adds its own.

    `model` names the model as the provider does; sampling is part of the cache key.
    """

    model: str = Field("", description="the model, as the provider names it")
    temperature: float = Field(0.0, ge=0, description="sampling temperature; 0 is greedy")
    max_tokens: int = Field(512, gt=0, description="tokens of one reply, at most")
    seed: int | None = Field(0, description="sampling seed, where the provider honours one")
    timeout_s: float = Field(120.0, gt=0, description="seconds one call may take")
    structured: Structured | None = Field(None, description="how the schema is sent; default: the provider's way")


class LLM(ABC):
    """A provider of chat models; built with `cls(cls.Options(**options))`, entered once per run.

    `open` may start a server; `close` must stop it and is always called.
    """

    contract_version: ClassVar[int] = CONTRACT_VERSION
    Options: ClassVar[type[LLMOptions]] = LLMOptions
    structured: ClassVar[Structured] = "tools"
    """How this provider takes a reply's schema, unless the options say otherwise."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def open(self) -> BaseChatModel:
        """The chat model, ready to be asked.

        Raises:
            ultra_agents.errors.LLMError: Unreachable, refused, misconfigured, missing weights.
        """

    def check(self) -> None:  # noqa: B027 - optional: some providers have nothing to reach
        """Find out cheaply whether `open` and a first call would work; spends no tokens.

        Raises:
            ultra_agents.errors.LLMError: They would not.
        """

    def close(self) -> None:  # noqa: B027 - optional: most providers hold nothing
        """Release what `open` took."""

    @property
    def base_url(self) -> str:
        """Address the requests go to, or what else tells two servers apart; part of the cache key."""
        return ""

    @property
    def model_name(self) -> str:
        """What the model is called in transcripts and cache keys."""
        return str(self.options.model)

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """Keys in use; the gateway blots them out of every text it writes."""
        return ()

    @property
    def sampling(self) -> dict[str, Any]:
        """The options that can change a reply, part of the cache key."""
        return dict(self.options.model_dump(mode="json", exclude={"model", "timeout_s", "structured"}))

    @property
    def context_tokens(self) -> int | None:
        """Context window in tokens, where the provider knows it."""
        return None
