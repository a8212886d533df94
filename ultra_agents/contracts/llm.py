"""What an LLM plugin offers: a factory of langchain chat models, and nothing else."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, SecretStr

from ultra_agents.contracts.environment import CONTRACT_VERSION, Options
from ultra_agents.errors import LLMError
from ultra_agents.text import parsed_json

__all__ = [
    "LLM", "LLMOptions", "NotRecorded", "Structured", "Unreachable", "parsed_json", "question_key",
]  # fmt: skip

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Structured: TypeAlias = Literal["json_schema", "json_object", "format", "tools", "text"]
"""How a reply's JSON schema reaches the model.

`json_schema`/`json_object`: OpenAI's `response_format`; `format`: Ollama's; `tools`: langchain's
`with_structured_output`; `text`: in words, at the end of the prompt.
"""


Prompts: TypeAlias = Literal["full", "short"]
"""How much a model is shown and asked for: `short` where a long prompt or a long answer costs it its decision."""


class Unreachable(LLMError):
    """A model's server does not answer at all: the one of these errors for which another model is asked instead."""


class NotRecorded(LLMError):
    """A recording has no answer to this question; others may be there. `gateway.missing` says what then."""


def question_key(
    messages: Sequence[Sequence[str]], schema: dict[str, Any] | None, tools: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Hex SHA-256 of a question, independent of the model: `(role, text)` pairs, the reply's JSON schema, tools.

    Of a turn in which tools may be called `schema` is empty.
    """
    question: dict[str, Any] = {"messages": [list(message) for message in messages], "schema": schema}
    if tools:
        question["tools"] = [dict(tool) for tool in tools]
    return hashlib.sha256(json.dumps(question, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


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
    temperature: float | None = Field(0.0, ge=0, description="sampling temperature; 0 is greedy; null: not sent")
    max_tokens: int | None = Field(4096, gt=0, description="tokens of one reply, at most; null: not sent")
    seed: int | None = Field(0, description="sampling seed, where the provider honours one; null: not sent")
    timeout_s: float = Field(120.0, gt=0, description="seconds one call may take, to the last word of the reply")
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

    def leave_out(self, parameter: str) -> bool:
        """The server does not take `parameter`: from the next `open` on, do not send it, or rename it.

        Args:
            parameter: Its name in requests (`temperature`, `max_completion_tokens`, ...).

        Returns:
            Whether requests will be different from now on; False (the default) makes the refusal an error.
        """
        return False

    def check(self) -> None:  # noqa: B027 - optional: some providers have nothing to reach
        """Find out cheaply whether `open` and a first call would work; spends no tokens.

        Raises:
            Unreachable: No server answers.
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
        """Keys in use; the gateway redacts them in every text it writes or shows. Requests are sent as they are."""
        return ()

    @property
    def sampling(self) -> dict[str, Any]:
        """The options that can change a reply, part of the cache key."""
        return dict(self.options.model_dump(mode="json", exclude={"model", "timeout_s", "structured"}))

    @property
    def way(self) -> Structured:
        """How a reply's schema is sent: as the options say, else the provider's way."""
        return self.options.structured or self.structured

    @property
    def prompts(self) -> Prompts:
        """Whether the model can use long prompts, if nobody says so (`llms.NAME.prompts`); known before `open`."""
        return "full"

    @property
    def context_tokens(self) -> int | None:
        """Context window in tokens, where the provider knows it."""
        return None

    @property
    def calls_tools(self) -> bool:
        """Whether the model takes tools (langchain's `bind_tools`) and calls them; `llms.NAME.tools` overrides it.

        Known without asking a server, or a replay would ask other questions than the run it repeats.
        """
        return False

    @property
    def prices(self) -> tuple[float, float] | None:
        """Money per million prompt and completion tokens, where the provider knows: (0, 0) is free. After `check`."""
        return None
