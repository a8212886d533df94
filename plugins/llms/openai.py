"""OpenAI, and every server that speaks its chat protocol: vLLM, LM Studio, llama.cpp, OpenRouter, Azure, ...

Azure: `base_url: https://NAME.openai.azure.com/openai/v1`, with `query: {api-version: preview}` where it asks for one.
"""

from __future__ import annotations

import ipaddress
import math
import urllib.parse
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from ultra_agents.contracts.http import ReplyTooLarge, limited_client
from ultra_agents.contracts.llm import LLM, LLMOptions, Structured, Unreachable
from ultra_agents.contracts.secrets import no_secrets, plain_address, read_key, variable_name
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
    extra_body: dict[str, Any] = Field(default_factory=dict, description="further fields of every request, no keys")
    stream_options: bool | None = Field(True, description="ask for token counts of streamed replies; null: do not")

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        return plain_address(value)

    @field_validator("api_key_env")
    @classmethod
    def _a_variable(cls, value: str) -> str | None:
        return variable_name(value)

    @field_validator("query")
    @classmethod
    def _no_keys_in_query(cls, value: dict[str, str]) -> dict[str, str]:
        return no_secrets(value, "options.query")

    @field_validator("extra_body")
    @classmethod
    def _no_keys_in_body(cls, value: dict[str, Any]) -> dict[str, Any]:
        return no_secrets(value, "options.extra_body")


class OpenAIRequest:
    """Which of OpenAI's request parameters a server takes, learned from its refusals.

    `max_completion_tokens` is called `max_tokens` by older servers, and newer models take only the former.
    """

    OPTIONAL = ("temperature", "seed", "stream_options", "max_completion_tokens", "max_tokens")

    def __init__(self, options: Any) -> None:
        self._options = options
        self._refused: set[str] = set()

    def leave_out(self, parameter: str) -> bool:
        """Do not send `parameter` any more; whether that makes requests different."""
        if parameter == "max_tokens" and "max_completion_tokens" not in self._refused:
            return False  # it was not sent
        new = parameter in self.OPTIONAL and parameter not in self._refused
        self._refused.add(parameter)
        return new

    def arguments(self, extra_body: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments of `ChatOpenAI`, which calls the limit `max_completion_tokens` whatever it is given."""
        options, refused = self._options, self._refused
        old_name = (
            "max_completion_tokens" in refused and "max_tokens" not in refused and options.max_tokens is not None
        )
        body = {**extra_body, "max_tokens": options.max_tokens} if old_name else extra_body
        return {
            "temperature": None if "temperature" in refused else options.temperature,
            "seed": None if "seed" in refused else options.seed,
            "max_completion_tokens": None if "max_completion_tokens" in refused else options.max_tokens,
            "stream_usage": "stream_options" not in refused and bool(getattr(options, "stream_options", True)),
            "extra_body": body or None,
        }


def is_loopback(address: str) -> bool:
    """Does `address` stay on this machine?"""
    host = urllib.parse.urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def _chat_class() -> Any:
    from langchain_openai import ChatOpenAI

    class Chat(ChatOpenAI):
        """`ChatOpenAI` for servers that count tokens in words of their own; a usage it cannot read is none."""

        def _create_chat_result(self, response: Any, generation_info: Any = None) -> Any:
            if not _readable(getattr(response, "usage", None)):
                response = response.model_copy(update={"usage": None})
            return super()._create_chat_result(response, generation_info)

        def _convert_chunk_to_generation_chunk(self, chunk: Any, *arguments: Any) -> Any:
            if not _readable(chunk.get("usage")):
                chunk = {**chunk, "usage": None}
            return super()._convert_chunk_to_generation_chunk(chunk, *arguments)

    return Chat


def _readable(usage: Any) -> bool:
    """Whether a server's usage is missing, or counts with numbers."""
    if usage is None:
        return True
    counts = usage if isinstance(usage, dict) else getattr(usage, "__dict__", {})
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return bool(counts) and all(isinstance(counts.get(name, 0), int | float | None) for name in names)


class OpenAI(LLM):
    """A model behind the OpenAI chat protocol; the key comes from the environment."""

    Options: ClassVar[type[LLMOptions]] = OpenAIOptions
    structured: ClassVar[Structured] = "json_schema"
    streams: ClassVar[bool] = True
    options: OpenAIOptions

    def __init__(self, options: OpenAIOptions) -> None:
        super().__init__(options)
        self._listed: dict[str, Any] = {}
        self._request = OpenAIRequest(options)
        self._client: Any = None

    def open(self) -> BaseChatModel:
        """A client; nothing is sent yet."""
        from openai import DefaultHttpxClient

        if self._client is None:
            self._client = limited_client(self.options.timeout_s, DefaultHttpxClient)
        return _chat_class()(  # type: ignore[no-any-return]
            model=self.options.model,
            base_url=self.options.base_url,
            api_key=self._key(),
            timeout=self.options.timeout_s,
            max_retries=0,
            use_responses_api=False,
            default_query=self.options.query or None,
            http_client=self._client,
            **self._request.arguments(self.options.extra_body),
        )

    def leave_out(self, parameter: str) -> bool:
        """From the next `open` on, do not send it, or send it under its older name."""
        return self._request.leave_out(parameter)

    def close(self) -> None:
        """Close the client's connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def check(self) -> None:
        """Ask the server for its list of models, and keep what it says about this one."""
        import httpx

        url = f"{self.options.base_url}/models"
        try:
            timeout = min(CHECK_TIMEOUT_S, self.options.timeout_s)
            key = self._key().get_secret_value()
            with limited_client(timeout) as client:
                answer = client.get(url, params=self.options.query, headers={"Authorization": f"Bearer {key}"})
        except (httpx.HTTPError, TimeoutError, ReplyTooLarge) as error:
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

    @cached_property
    def calls_tools(self) -> bool:
        """What langchain knows of the model; of a model it does not know the server will say."""
        profile = _chat_class()(model=self.options.model, api_key=SecretStr("unused")).profile or {}
        return bool(profile.get("tool_calling", True))

    @property
    def sampling(self) -> dict[str, Any]:
        """Temperature, length, seed and what else is sent."""
        return self.options.model_dump(mode="json", include={"temperature", "max_tokens", "seed", "extra_body"})
