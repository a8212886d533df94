"""What an LLM plugin offers: a factory of langchain chat models, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ultra_agents.contracts.environment import CONTRACT_VERSION, Options

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class LLMOptions(Options):
    """Options every provider understands; a provider adds its own.

    `model` names the model as the provider does; sampling is part of the cache key.
    """

    model: str = ""
    temperature: float = 0.0
    max_tokens: int = 512
    seed: int | None = 0
    timeout_s: float = 120.0


class LLM(ABC):
    """A provider of chat models; built with `cls(cls.Options(**options))`, entered once per run.

    `open` may start a server; `close` must stop it and is always called.
    """

    contract_version: ClassVar[int] = CONTRACT_VERSION
    Options: ClassVar[type[LLMOptions]] = LLMOptions

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def open(self) -> BaseChatModel:
        """The chat model, ready to be asked.

        Raises:
            ultra_agents.errors.LLMError: Unreachable, refused, misconfigured, missing weights.
        """

    def close(self) -> None:  # noqa: B027 - optional: most providers hold nothing
        """Release what `open` took."""

    @property
    def base_url(self) -> str:
        """Address the requests go to, part of the cache key; empty where it does not matter."""
        return ""

    @property
    def context_tokens(self) -> int | None:
        """Context window in tokens, where the provider knows it."""
        return None
