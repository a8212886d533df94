"""Models served by Ollama, on this machine by default."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from ultra_agents.contracts.http import ACCEPTED, ReplyTooLarge, limited_client, reply_limits, tls_context
from ultra_agents.contracts.llm import LLM, LLMOptions, Prompts, Structured, Unreachable
from ultra_agents.contracts.secrets import plain_address, read_key
from ultra_agents.errors import LLMError, did_you_mean

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


CHECK_TIMEOUT_S = 10.0
_KEY = "OLLAMA_API_KEY"
_SIZE = re.compile(r"(?<![a-z0-9.])(?P<number>\d+(?:\.\d+)?)(?P<unit>[bm])(?![a-z0-9])", re.IGNORECASE)
SMALL = 4e9
"""Parameters below which a model is asked shortly."""


class OllamaOptions(LLMOptions):
    """Options of an Ollama server."""

    model: str = Field(min_length=1, description='the model, as `ollama list` names it ("qwen3:8b")')
    base_url: str = Field("http://127.0.0.1:11434", description="the server's address")
    max_tokens: int | None = Field(2048, gt=0, description="tokens of one reply, at most; null: not sent")
    context: int = Field(8192, ge=256, description="tokens of prompt and reply of one request")
    reasoning: bool | None = Field(None, description="let a reasoning model think; default: as the model does")

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        return plain_address(value)


class Ollama(LLM):
    """A model of an Ollama server."""

    Options: ClassVar[type[LLMOptions]] = OllamaOptions
    structured: ClassVar[Structured] = "format"
    options: OllamaOptions

    def open(self) -> BaseChatModel:
        """A client; nothing is sent yet."""
        from langchain_ollama import ChatOllama

        read_key(_KEY, None)  # refuses one that no header can carry; the client reads it by itself
        timeout = self.options.timeout_s
        limits = {"timeout": timeout, "event_hooks": reply_limits(timeout)}
        return ChatOllama(
            model=self.options.model,
            base_url=self.options.base_url,
            temperature=self.options.temperature,
            num_predict=self.options.max_tokens,
            num_ctx=self.options.context,
            seed=self.options.seed,
            reasoning=self.options.reasoning,
            sync_client_kwargs={**limits, "headers": ACCEPTED, "verify": tls_context()},
            async_client_kwargs={"timeout": timeout},
        )

    def check(self) -> None:
        """Ask the server for its models and look for this one."""
        import httpx

        try:
            timeout = min(CHECK_TIMEOUT_S, self.options.timeout_s)
            with limited_client(timeout) as client:
                answer = client.get(f"{self.options.base_url}/api/tags")
            if answer.status_code >= 500 or answer.status_code == 429:
                return  # busy, not absent: the calls themselves wait and retry
            listed = [str(row["name"]) for row in answer.json()["models"]]
        except (httpx.HTTPError, TimeoutError, ReplyTooLarge) as error:
            raise Unreachable(
                f"no Ollama server answers at {self.options.base_url}",
                found=f"{type(error).__name__}: {error}",
                expected="a running Ollama server",
                hint="ollama serve, or correct options.base_url",
            ) from None
        except (ValueError, KeyError, TypeError):
            raise LLMError(
                f"{self.options.base_url} is something else than an Ollama server",
                found=f"HTTP {answer.status_code}, {answer.headers.get('content-type', 'no content type')}",
                expected="the answer of /api/tags",
                hint="correct options.base_url (no /v1 here)",
            ) from None
        if _tagged(self.options.model) not in map(_tagged, listed):
            close = did_you_mean(self.options.model, listed)
            raise LLMError(
                f"Ollama has no model {self.options.model!r}",
                found=", ".join(listed) or "no models at all",
                hint=f"ollama pull {self.options.model}" + (f" ({close})" if close else ""),
            )

    @property
    def base_url(self) -> str:
        """The server's address."""
        return self.options.base_url

    @property
    def prices(self) -> tuple[float, float]:
        """Free: one's own machine."""
        return 0.0, 0.0

    @property
    def calls_tools(self) -> bool:
        """The server says so where a model cannot."""
        return True

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """The key that Ollama's client takes from the environment, if one is set."""
        try:
            key = read_key(_KEY, None)
        except LLMError:
            return ()
        return () if key is None else (key,)

    @property
    def prompts(self) -> Prompts:
        """Short for a model whose name tells a size below 4 billion parameters ("qwen3:1.7b", "smollm:135m")."""
        size = _SIZE.search(self.options.model.partition("/")[2] or self.options.model)
        if size is None:
            return "full"
        parameters = float(size["number"]) * (1e9 if size["unit"].lower() == "b" else 1e6)
        return "short" if parameters < SMALL else "full"

    @property
    def context_tokens(self) -> int | None:
        """The context asked for."""
        return self.options.context

    @property
    def sampling(self) -> dict[str, Any]:
        """What can change a reply."""
        include = {"temperature", "max_tokens", "seed", "context", "reasoning"}
        return self.options.model_dump(mode="json", include=include)


def _tagged(model: str) -> str:
    """A model's name with its tag, which is `latest` where none is given; a registry's port is no tag."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"
