"""OpenAI, and every server that speaks its chat protocol: vLLM, LM Studio, llama.cpp, OpenRouter, Azure, ...

Azure: `base_url: https://NAME.openai.azure.com/openai/v1`, with `query: {api-version: preview}` where it asks for one.
"""

from __future__ import annotations

import ipaddress
import math
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from ultra_agents.contracts.llm import LLM, LLMOptions, Structured, Unreachable, no_secrets, plain_address, read_key
from ultra_agents.errors import LLMError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

CHECK_TIMEOUT_S = 10.0


class OpenAIOptions(LLMOptions):
    """Options of an OpenAI-compatible server."""

    model: str = Field(min_length=1, description="the model, as the server names it")
    base_url: str = Field("https://api.openai.com/v1", description="address up to and including /v1")
    api_key_env: str = Field("OPENAI_API_KEY", description="environment variable that holds the key")
    api_key_file: Path | None = Field(None, description="file that holds the key, instead of the environment")
    query: dict[str, str] = Field(default_factory=dict, description="added to every address; nothing secret")
    extra_body: dict[str, Any] = Field(default_factory=dict, description="further fields of every request")

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        return plain_address(value)

    @field_validator("query")
    @classmethod
    def _no_keys(cls, value: dict[str, str]) -> dict[str, str]:
        return no_secrets(value, "options.query")


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
    streams: ClassVar[bool] = True
    options: OpenAIOptions

    def __init__(self, options: OpenAIOptions) -> None:
        super().__init__(options)
        self._listed: dict[str, Any] = {}

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
            stream_usage=True,
            use_responses_api=False,
            default_query=self.options.query or None,
            extra_body=self.options.extra_body or None,
        )

    def check(self) -> None:
        """Ask the server for its list of models, and keep what it says about this one."""
        import httpx

        url = f"{self.options.base_url}/models"
        try:
            answer = httpx.get(
                url,
                params=self.options.query,
                headers={"Authorization": f"Bearer {self._key().get_secret_value()}"},
                timeout=min(CHECK_TIMEOUT_S, self.options.timeout_s),
            )
        except httpx.HTTPError as error:
            raise Unreachable(
                f"no model server answers at {self.options.base_url}",
                found=f"{type(error).__name__}: {error}",
                expected="an OpenAI-compatible server",
                hint="start the server, or correct options.base_url",
            ) from None
        if answer.status_code in (401, 403):
            raise LLMError(
                f"{self.options.base_url} refuses the key",
                found=f"HTTP {answer.status_code}",
                hint=f"put a valid key into {self._place()}",
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
        rows = listed.get("data") if isinstance(listed, dict) else listed
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict) and row.get("id") == self.options.model:
                self._listed = row

    def _place(self) -> str:
        if self.options.api_key_file is not None:
            return f"the file {self.options.api_key_file}"
        return f"the environment variable {self.options.api_key_env}"

    def _key(self) -> SecretStr:
        if (key := read_key(self.options.api_key_env, self.options.api_key_file)) is not None:
            return key
        if is_loopback(self.options.base_url):
            return SecretStr("none")
        raise LLMError(
            f"no key for {self.options.base_url}",
            found=f"the environment variable {self.options.api_key_env} is not set",
            hint=f"export {self.options.api_key_env}=..., or name another variable in options.api_key_env "
            "or a file in options.api_key_file",
        )

    @property
    def base_url(self) -> str:
        """The server's address, with what is added to it."""
        query = urllib.parse.urlencode(sorted(self.options.query.items()))
        return f"{self.options.base_url}?{query}" if query else self.options.base_url

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """The key, if one is set."""
        try:
            key = read_key(self.options.api_key_env, self.options.api_key_file)
        except LLMError:
            return ()
        return () if key is None else (key,)

    @property
    def context_tokens(self) -> int | None:
        """What the list of models says, as vLLM, OpenRouter, LM Studio and llama.cpp write it; None before `check`."""
        meta = self._listed.get("meta")
        rows = [self._listed, meta if isinstance(meta, dict) else {}]
        names = ("max_model_len", "context_length", "max_context_length", "n_ctx", "n_ctx_train")
        found = [row[name] for row in rows for name in names if isinstance(row.get(name), int)]
        return found[0] if found else None

    @property
    def prices(self) -> tuple[float, float] | None:
        """Free on this machine; elsewhere what the list of models says (OpenRouter), per token, if anything."""
        if is_loopback(self.options.base_url) and "pricing" not in self._listed:
            return 0.0, 0.0
        pricing = self._listed.get("pricing")
        try:
            prompt, completion = (float(pricing[name]) * 1e6 for name in ("prompt", "completion"))  # type: ignore[index]
        except (KeyError, TypeError, ValueError):
            return None
        sane = math.isfinite(prompt) and math.isfinite(completion) and min(prompt, completion) >= 0
        return (prompt, completion) if sane else None

    @property
    def sampling(self) -> dict[str, Any]:
        """Temperature, length, seed and what else is sent."""
        return self.options.model_dump(mode="json", include={"temperature", "max_tokens", "seed", "extra_body"})
