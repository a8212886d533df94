"""A scripted model: answers from a list or from a function, for tests, demonstrations and dry runs.

It is no language model and is called `scripted` wherever it shows up. With a list, replies go out in the order of the
asks; a run that is resumed starts the list again (answers in the cache are not asked for), so use a callable where the
reply must depend on the question.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from ultra_agents.contracts.llm import LLM, LLMOptions, Prompts, Structured
from ultra_agents.errors import ConfigError, LLMError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Respond = Callable[[list[tuple[str, str]], dict[str, Any] | None], "str | dict[str, Any]"]
"""`(messages as (role, text), the reply's JSON schema or None) -> reply`; a mapping is sent as JSON.

Where tools may be called the schema is None, and `{"tool_calls": [{"name": ..., "arguments": {...}}]}` calls some;
`arguments` may be any text. Results are messages of the role `tool`.
"""


class ScriptedOptions(LLMOptions):
    """Options of the scripted model."""

    max_tokens: int | None = Field(512, gt=0, description="tokens of one reply, counted against caps beforehand")
    replies: list[str | dict[str, Any]] = Field(default_factory=list, description="replies, in order")
    cycle: bool = Field(False, description="start the list again when it is used up")
    callable: str | None = Field(None, description='"module:function" that answers (messages, schema)')

    @model_validator(mode="after")
    def _one_source(self) -> ScriptedOptions:
        if bool(self.replies) == (self.callable is not None):
            raise ValueError("give either replies or callable")
        return self


def scripted_chat_model(respond: Respond) -> BaseChatModel:
    """A langchain chat model whose every answer is `respond(messages, schema)`.

    Its `history` lists the `(messages, schema, reply)` of every ask so far.
    """
    from langchain_core.callbacks import CallbackManagerForLLMRun
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    roles = {"human": "user", "ai": "assistant"}

    class ScriptedChatModel(BaseChatModel):
        """Scripted answers behind langchain's chat model interface."""

        history: list[tuple[list[tuple[str, str]], dict[str, Any] | None, str]] = Field(default_factory=list)

        @property
        def _llm_type(self) -> str:
            return "scripted"

        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self.bind(tools=tools, **kwargs)

        def _generate(
            self,
            messages: list[BaseMessage],
            stop: list[str] | None = None,
            run_manager: CallbackManagerForLLMRun | None = None,
            **kwargs: Any,
        ) -> ChatResult:
            wanted = (kwargs.get("extra_body") or {}).get("response_format") or kwargs.get("response_format") or {}
            schema = wanted.get("json_schema", {}).get("schema")
            said = [(roles.get(message.type, message.type), str(message.content)) for message in messages]
            answer = respond(said, schema)
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.history.append((said, schema, text))
            calls = answer.get("tool_calls") if isinstance(answer, dict) and kwargs.get("tools") else None
            words = sum(len(content.split()) for _, content in said)
            usage = {"input_tokens": words, "output_tokens": len(text.split()), "total_tokens": 0}
            usage["total_tokens"] = usage["input_tokens"] + usage["output_tokens"]
            message = AIMessage(
                content="" if calls else text,
                tool_calls=[_call(row) for row in calls or () if isinstance(row["arguments"], dict)],
                invalid_tool_calls=[_call(row) for row in calls or () if not isinstance(row["arguments"], dict)],
                usage_metadata=usage,
                response_metadata={"model_name": "scripted", "finish_reason": "stop"},
            )
            return ChatResult(generations=[ChatGeneration(message=message)])

    return ScriptedChatModel()


class Scripted(LLM):
    """The scripted model as a provider. Tokens are counted in words.

    Attributes:
        chat: The chat model once opened; its `history` holds every ask.
    """

    Options: ClassVar[type[LLMOptions]] = ScriptedOptions
    structured: ClassVar[Structured] = "json_schema"
    options: ScriptedOptions

    def __init__(self, options: ScriptedOptions) -> None:
        super().__init__(options)
        self.chat: Any = None
        self._next = 0
        self._lock = threading.Lock()

    def open(self) -> BaseChatModel:
        """The chat model."""
        respond = self._respond if self.options.callable is None else _named(self.options.callable)
        self.chat = scripted_chat_model(respond)
        return self.chat  # type: ignore[no-any-return]

    def check(self) -> None:
        """Can the callable be imported?"""
        if self.options.callable is not None:
            _named(self.options.callable)

    @property
    def model_name(self) -> str:
        """Always `scripted`, so that it is not taken for a language model."""
        return "scripted"

    @property
    def base_url(self) -> str:
        """A hash of the script, so that another script is another model to the cache."""
        script = json.dumps([self.options.replies, self.options.callable])
        return "script:" + hashlib.sha256(script.encode()).hexdigest()[:16]

    @property
    def calls_tools(self) -> bool:
        """If the script does."""
        return True

    @property
    def sampling(self) -> dict[str, Any]:
        """Nothing is sampled."""
        return {}

    @property
    def prompts(self) -> Prompts:
        """Short: a script reads nothing, and is written for the plainest form of a reply."""
        return "short"

    @property
    def prices(self) -> tuple[float, float]:
        """Free."""
        return 0.0, 0.0

    def _respond(self, messages: list[tuple[str, str]], schema: dict[str, Any] | None) -> str | dict[str, Any]:
        replies = self.options.replies
        with self._lock:
            index, self._next = self._next, self._next + 1
        if index >= len(replies) and not self.options.cycle:
            raise LLMError(
                "the scripted model has no reply left",
                found=f"ask number {index + 1}",
                expected=f"at most {len(replies)} asks",
                hint="add replies, or set options.cycle: true",
            )
        return replies[index % len(replies)]


def _call(row: dict[str, Any]) -> dict[str, Any]:
    """A call as langchain has it; text in the place of arguments is one it cannot read."""
    if isinstance(row["arguments"], dict):
        return {"name": row["name"], "args": row["arguments"], "id": "scripted", "type": "tool_call"}
    return {
        "name": row["name"], "args": str(row["arguments"]), "id": "scripted", "error": None,
        "type": "invalid_tool_call",
    }  # fmt: skip


def _named(target: str) -> Respond:
    module, colon, name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), name) if colon else None
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError("the scripted model's callable cannot be imported", found=f"{target}: {error}") from error
    if not callable(found):
        raise ConfigError("the scripted model's callable is not usable", found=target, expected='"module:function"')
    return found  # type: ignore[no-any-return]
