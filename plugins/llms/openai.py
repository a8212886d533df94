"""OpenAI, and every server that speaks its chat protocol: vLLM, LM Studio, llama.cpp, OpenRouter, LocalAI, ..."""

from __future__ import annotations

import ipaddress
import os
import urllib.parse
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from ultra_agents.contracts.llm import LLM, LLMOptions, Structured, plain_address
from ultra_agents.errors import LLMError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

CHECK_TIMEOUT_S = 10.0


class OpenAIOptions(LLMOptions):
    """Options of an OpenAI-compatible server."""

    model: str = Field(min_length=1, description="the model, as the server names it")
    base_url: str = Field("https://api.openai.com/v1", description="address up to and including /v1")
    api_key_env: str = Field("OPENAI_API_KEY", description="environment variable that holds the key")
    extra_body: dict[str, Any] = Field(default_factory=dict, description="further fields of every request")

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        return plain_address(value)


def is_loopback(address: str) -> bool:
    """Does `address` stay on this machine?"""
    host = urllib.parse.urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class OpenAI(LLM):
    """A model behind the OpenAI chat protocol; the key comes from the environment."""

    Options: ClassVar[type[LLMOptions]] = OpenAIOptions
    structured: ClassVar[Structured] = "json_schema"
    options: OpenAIOptions

    def open(self) -> BaseChatModel:
        """A client; nothing is sent yet."""
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(
            model=self.options.model,
            base_url=self.options.base_url,
            api_key=self._key(),
            temperature=self.options.temperature,
            max_completion_tokens=self.options.max_tokens,
            seed=self.options.seed,
            timeout=self.options.timeout_s,
            max_retries=0,
            use_responses_api=False,
            extra_body=self.options.extra_body or None,
        )

    def check(self) -> None:
        """Ask the server for its list of models."""
        import httpx

        url = f"{self.options.base_url}/models"
        try:
            answer = httpx.get(
                url,
                headers={"Authorization": f"Bearer {self._key().get_secret_value()}"},
                timeout=min(CHECK_TIMEOUT_S, self.options.timeout_s),
            )
        except httpx.HTTPError as error:
            raise LLMError(
                f"no model server answers at {self.options.base_url}",
                found=f"{type(error).__name__}: {error}",
                expected="an OpenAI-compatible server",
                hint="start the server, or correct options.base_url",
            ) from None
        if answer.status_code in (401, 403):
            raise LLMError(
                f"{self.options.base_url} refuses the key",
                found=f"HTTP {answer.status_code}",
                hint=f"put a valid key into the environment variable {self.options.api_key_env}",
            )
        if answer.status_code >= 500 or answer.status_code == 429:
            return  # busy, not absent: the calls themselves wait and retry
        if answer.status_code in (404, 405):
            return  # some servers have no list
        try:
            listed = answer.json() if answer.status_code == 200 else None
        except ValueError:
            listed = None
        if not isinstance(listed, dict | list):
            raise LLMError(
                f"{self.options.base_url} is something else than a model server",
                found=f"HTTP {answer.status_code}, {answer.headers.get('content-type', 'no content type')}",
                expected="an OpenAI-compatible server (the address usually ends in /v1)",
                hint="correct options.base_url",
            )

    def _key(self) -> SecretStr:
        value = os.environ.get(self.options.api_key_env, "").strip()
        if value:
            return SecretStr(value)
        if is_loopback(self.options.base_url):
            return SecretStr("none")
        raise LLMError(
            f"no key for {self.options.base_url}",
            found=f"the environment variable {self.options.api_key_env} is not set",
            hint=f"export {self.options.api_key_env}=..., or name another variable in options.api_key_env",
        )

    @property
    def base_url(self) -> str:
        """The server's address."""
        return self.options.base_url

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """The key, if one is set."""
        value = os.environ.get(self.options.api_key_env, "").strip()
        return (SecretStr(value),) if value else ()

    @property
    def sampling(self) -> dict[str, Any]:
        """Temperature, length, seed and what else is sent."""
        return self.options.model_dump(mode="json", include={"temperature", "max_tokens", "seed", "extra_body"})
