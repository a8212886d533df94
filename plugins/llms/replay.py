"""Recorded answers as a model: a cassette stands in for the model it was recorded from.

Questions are told apart by their words and the reply's schema alone, so a cassette answers whatever provider it was
recorded from. (`gateway.mode: replay` is stricter: provider, address, model and sampling must be the same too.)
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ultra_agents.contracts.llm import LLM, LLMOptions, NotRecorded, Structured, parsed_json, question_key
from ultra_agents.errors import LLMError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class ReplayOptions(LLMOptions):
    """Options of a cassette; sampling does nothing."""

    cassette: Path = Field(description="file written by `ultra llm export`")
    model: str = Field("", description="only answers of this model, as the cassette names it; default: of any")


class Replay(LLM):
    """Answers recorded earlier; a question that is not among them ends the run, or is a drop (`gateway.missing`)."""

    Options: ClassVar[type[LLMOptions]] = ReplayOptions
    structured: ClassVar[Structured] = "json_schema"
    recorded: ClassVar[bool] = True
    options: ReplayOptions

    def __init__(self, options: ReplayOptions) -> None:
        super().__init__(options)
        self._answers: dict[str, dict[str, Any]] | None = None
        self._lock = threading.Lock()

    def open(self) -> BaseChatModel:
        """A chat model that looks answers up."""
        self.check()
        return _chat_model(self.answer)

    def check(self) -> None:
        """Read the cassette."""
        with self._lock:
            if self._answers is None:
                self._answers = _read(self.options.cassette.expanduser(), self.options.model)

    def answer(
        self, messages: list[tuple[str, str]], schema: dict[str, Any] | None, tools: Sequence[dict[str, Any]] = ()
    ) -> dict[str, Any]:
        """The cassette's line for a question, or for a turn in which `tools` may be called.

        Raises:
            NotRecorded: There is none.
        """
        key = question_key(messages, schema, tools)
        found = (self._answers or {}).get(key)
        if found is None:
            raise NotRecorded(
                "replay: this question is not in the cassette",
                found=f"no question {key}",
                expected=f"one of the {len(self._answers or {})} recorded in {self.options.cassette}",
                hint="record a new cassette: the prompts, the episodes or the reply's schema have changed; "
                "gateway.missing: drop counts such questions and goes on",
            )
        return found

    @property
    def model_name(self) -> str:
        """The cassette's name: it is no model."""
        return self.options.cassette.name

    @property
    def base_url(self) -> str:
        """The file and whose answers are taken."""
        return f"cassette:{self.options.cassette.name}:{self.options.model}"

    @property
    def calls_tools(self) -> bool:
        """If the recorded model did."""
        return True

    @property
    def sampling(self) -> dict[str, Any]:
        """Nothing is sampled."""
        return {}

    @property
    def prices(self) -> tuple[float, float]:
        """Free."""
        return 0.0, 0.0


def _read(path: Path, model: str) -> dict[str, dict[str, Any]]:
    answers: dict[str, dict[str, Any]] = {}
    models: set[str] = set()
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = parsed_json(line)
            models.add(str(row["model"]))
            if not isinstance(row["text"], str):
                raise TypeError("the text of a reply is no text")
            if model in ("", row["model"]):
                answers.setdefault(str(row["question"]), row)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LLMError(
            f"cannot read the cassette {path}",
            found=f"{type(error).__name__}: {error}",
            expected="one JSON object a line, as written by: ultra llm export",
        ) from error
    if not answers:
        raise LLMError(
            f"the cassette {path} has no answers" + (f" of the model {model!r}" if model else ""),
            found=f"answers of: {', '.join(sorted(models)) or 'nobody'}",
            expected="one JSON object a line, as written by: ultra llm export",
        )
    return answers


def _chat_model(answer: Any) -> BaseChatModel:
    from langchain_core.callbacks import CallbackManagerForLLMRun
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    roles = {"human": "user", "ai": "assistant"}

    class ReplayChatModel(BaseChatModel):
        """Recorded answers behind langchain's chat model interface."""

        @property
        def _llm_type(self) -> str:
            return "replay"

        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self.bind(tools=tools, **kwargs)

        def _generate(
            self,
            messages: list[BaseMessage],
            stop: list[str] | None = None,
            run_manager: CallbackManagerForLLMRun | None = None,
            **kwargs: Any,
        ) -> ChatResult:
            wanted = (kwargs.get("extra_body") or {}).get("response_format") or {}
            asked = [
                (getattr(message, "role", None) or roles.get(message.type, message.type), str(message.content))
                for message in messages
            ]
            tools = [tool["function"] for tool in kwargs.get("tools") or ()]
            row = answer(asked, {} if tools else wanted.get("json_schema", {}).get("schema"), tools)
            prompt, completion = int(row.get("prompt_tokens") or 0), int(row.get("completion_tokens") or 0)
            message = AIMessage(
                content=row["text"],
                # as text, for that is what was recorded, whether it can be read or not
                invalid_tool_calls=[
                    {"name": str(name), "args": str(text), "id": None, "error": None, "type": "invalid_tool_call"}
                    for name, text in row.get("calls") or ()
                ],
                usage_metadata={
                    "input_tokens": prompt,
                    "output_tokens": completion,
                    "total_tokens": prompt + completion,
                },
                response_metadata={"finish_reason": "length" if row.get("cut") else "stop"},
            )
            return ChatResult(generations=[ChatGeneration(message=message)])

    return ReplayChatModel()
