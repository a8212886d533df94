"""What an LLM plugin offers: a factory of langchain chat models, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, SecretStr

from ultra_agents.contracts.environment import CONTRACT_VERSION, Options
from ultra_agents.errors import ConfigError, LLMError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Structured: TypeAlias = Literal["json_schema", "json_object", "format", "tools", "text"]
"""How a reply's JSON schema reaches the model.

`json_schema`/`json_object`: OpenAI's `response_format`; `format`: Ollama's; `tools`: langchain's
`with_structured_output`; `text`: in words, at the end of the prompt.
"""


class Unreachable(LLMError):
    """A model's server does not answer at all: the one of these errors for which another model is asked instead."""


def question_key(messages: Sequence[Sequence[str]], schema: dict[str, Any] | None) -> str:
    """Hex SHA-256 of a question, whoever answers it: `(role, text)` pairs and the reply's JSON schema."""
    question = {"messages": [list(message) for message in messages], "schema": schema}
    return hashlib.sha256(json.dumps(question, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def no_secrets(values: dict[str, Any], where: str) -> dict[str, Any]:
    """`values`, unless one is named like a secret: the configuration is written down, secrets are not.

    Raises:
        ultra_agents.errors.ConfigError: One is; the message does not repeat the value.
    """
    for name in values:
        if _SECRET.search(name):
            raise ConfigError(  # not a ValueError: pydantic would repeat the value
                f"{where} holds {name!r}, which looks like a secret",
                expected="secrets in the environment or in a file only",
                hint="export it and name the variable in options.api_key_env, or the file in options.api_key_file",
            )
    return values


def read_key(variable: str | None, file: Path | None) -> SecretStr | None:
    """A provider's key: what `file` holds where one is named, else the environment's `variable`, None if unset.

    Raises:
        ultra_agents.errors.LLMError: The file is missing, unreadable or empty.
    """
    if file is None:
        value = os.environ.get(variable or "", "").strip()
        return SecretStr(value) if value else None
    path = file.expanduser()
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise LLMError(f"cannot read the key file {path}", found=said, expected="a file with the key only") from None
    if not value or len(value.split()) != 1:
        raise LLMError(f"the key file {path} holds no key", expected="one word: the key, and nothing else")
    return SecretStr(value)


_SECRET = re.compile(r"api.?key|secret|password|credential|token$", re.IGNORECASE)


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


def bound(chat: Any, schema: dict[str, Any], way: Structured, title: str = "reply") -> Any:
    """The langchain model `chat`, told the reply's schema in one `way`; by `text` it has to be in the prompt.

    `json_object` asks for JSON only, so there, too, the prompt must say which.
    """
    if way == "format":
        return chat.bind(format=schema)
    if way == "tools":
        tool = {"title": title, "description": "the reply", **schema}
        return chat.with_structured_output(tool, include_raw=True, method="function_calling")
    if way == "text":
        return chat
    wanted: dict[str, Any] = {"type": "json_object"}
    if way == "json_schema":
        wanted = {"type": "json_schema", "json_schema": {"name": title, "schema": schema, "strict": True}}
    # through extra_body: langchain's own response_format argument raises on a cut reply and loses its text
    return chat.bind(extra_body={**(getattr(chat, "extra_body", None) or {}), "response_format": wanted})


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
    recorded: ClassVar[bool] = False
    """Replies come from a recording: they cost nothing and count as cached."""
    streams: ClassVar[bool] = False
    """Streamed (`chat.stream`), a reply is the same, and so are its `finish_reason` and its `usage_metadata`.

    Then a live screen shows it while it is written.
    """

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
            Unreachable: Nobody answers.
            ultra_agents.errors.LLMError: They would not work for another reason.
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

    @property
    def prices(self) -> tuple[float, float] | None:
        """Money per million prompt and completion tokens, where the provider knows: (0, 0) is free. After `check`."""
        return None
