"""The conformance kit for LLM plugins, every check proven by a provider that breaks it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import BaseModel, Field, SecretStr

from ultra_agents.contracts.llm import LLM, LLMOptions, Structured, bound
from ultra_agents.errors import LLMError
from ultra_agents.registry import create_llm
from ultra_agents.testing.llm_kit import SCHEMA, check_llm
from ultra_agents.testing.scripted import scripted_chat_model

KEY = "sk-quite-secret"


def respond(messages: list[tuple[str, str]], schema: dict[str, Any] | None) -> str | dict[str, Any]:
    asked = schema is not None or "JSON schema" in messages[-1][1]
    return {"reasoning": "no divisor", "answer": "yes"} if asked else "hello"


class Good(LLM):
    """A provider that keeps its promises."""

    structured: ClassVar[Structured] = "json_schema"
    respond = staticmethod(respond)

    def open(self) -> BaseChatModel:
        return scripted_chat_model(self.respond)

    @property
    def model_name(self) -> str:
        return "stand-in"

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        return (SecretStr(KEY),)


class LooseOptions(BaseModel):
    structured: str | None = None


class UndescribedOptions(LLMOptions):
    speed: int = 3


class KeyInOptions(LLMOptions):
    api_key: str = Field("", description="the key")


class OptionsOfAnotherKind(Good):
    Options = LooseOptions  # type: ignore[assignment]
    sampling: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]


class WithoutDescription(Good):
    Options = UndescribedOptions


class KeyInConfiguration(Good):
    Options = KeyInOptions


class Nameless(Good):
    model_name = ""  # type: ignore[assignment]


class SamplesTheName(Good):
    @property
    def sampling(self) -> dict[str, Any]:
        return {"temperature": 0.0, "model": "x"}


class SamplesObjects(Good):
    @property
    def sampling(self) -> dict[str, Any]:
        return {"temperature": object()}


class StructuredByMagic(Good):
    structured = "magic"  # type: ignore[assignment]


class KeyInRepr(Good):
    def __repr__(self) -> str:
        return f"KeyInRepr({KEY})"


class KeyInAddress(Good):
    base_url = f"http://user:{KEY}@host/v1"  # type: ignore[assignment]


class CheckExplodes(Good):
    def check(self) -> None:
        raise ConnectionError("no route")


class NoChatModel(Good):
    def open(self) -> Any:
        return respond


class KeyInChatModel(Good):
    def open(self) -> BaseChatModel:
        chat = scripted_chat_model(respond)
        chat.metadata = {"key": KEY}
        return chat


class Silent(Good):
    respond = staticmethod(lambda messages, schema: "  " if schema is None else {"reasoning": "", "answer": "no"})


class NoJson(Good):
    respond = staticmethod(lambda messages, schema: "It is prime.")


class OtherFields(Good):
    respond = staticmethod(lambda messages, schema: "hi" if schema is None else {"verdict": "yes"})


class Miscounts(Good):
    def open(self) -> BaseChatModel:
        class Odd(BaseChatModel):
            @property
            def _llm_type(self) -> str:
                return "odd"

            def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
                usage: Any = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
                text = '{"reasoning": "", "answer": "yes"}'
                return ChatResult(generations=[ChatGeneration(message=AIMessage(text, usage_metadata=usage))])

        return Odd()


class ClosesOnce(Good):
    closed = False

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True


def built(cls: type[Good], **options: Any) -> Good:
    return cls(cls.Options(**options))


@pytest.mark.parametrize("name", ["openai", "ollama", "langchain"])
def test_the_providers_that_ship_keep_what_can_be_seen_without_a_server(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "OLLAMA_HOST"):
        monkeypatch.delenv(variable, raising=False)
    nowhere = {"model": "any", "base_url": "http://127.0.0.1:9"}
    options = {"chat_model": "langchain_openai.ChatOpenAI", "model": "any"} if name == "langchain" else nowhere
    report = check_llm(create_llm(name, options))
    assert report.ok, str(report)
    rows = {row.check: row for row in report.rows}
    assert (rows["options"].status, rows["identity"].status) == ("pass", "pass")
    if name != "langchain":
        assert rows["answers"].status == "skipped"


@pytest.mark.parametrize("way", ["json_schema", "text", "json_object", None])
def test_a_good_provider_conforms(way: str | None) -> None:
    report = check_llm(built(Good, structured=way))
    assert report.ok, str(report)
    assert {row.status for row in report.rows} == {"pass"}
    assert report.subject == "Good stand-in"


@pytest.mark.parametrize(
    ("cls", "check", "says"),
    [
        (OptionsOfAnotherKind, "options", "not a subclass"),
        (WithoutDescription, "options", "without a description: speed"),
        (KeyInConfiguration, "options", "options.api_key would put a key"),
        (Nameless, "identity", "model_name is empty"),
        (SamplesTheName, "identity", "sampling holds model"),
        (SamplesObjects, "identity", "not JSON serializable"),
        (StructuredByMagic, "identity", "'magic'"),
        (KeyInRepr, "secrets", "repr of the plugin"),
        (KeyInAddress, "secrets", "base_url"),
        (CheckExplodes, "check", "ConnectionError"),
        (NoChatModel, "open", "not a langchain BaseChatModel"),
        (KeyInChatModel, "open", "repr of the chat model"),
        (Silent, "answers", "'  '"),
        (Miscounts, "tokens", "[0, 0]"),
        (NoJson, "structured", "no JSON object"),
        (OtherFields, "structured", "'verdict': 'yes'"),
        (ClosesOnce, "close", "closed twice"),
    ],
)
def test_each_check_can_fail(cls: type[Good], check: str, says: str) -> None:
    report = check_llm(built(cls))
    row = next(row for row in report.rows if row.check == check)
    assert row.status == "failed", str(report)
    assert says in row.detail
    assert row.do
    assert KEY not in str(report)
    assert not report.ok


class Unreachable(Good):
    asked = 0

    def check(self) -> None:
        raise LLMError("no server answers", found="connection refused", hint="start the server")

    def open(self) -> BaseChatModel:
        raise AssertionError("asked although it cannot be reached")


def test_a_model_that_is_not_there_is_skipped_with_what_to_do() -> None:
    report = check_llm(built(Unreachable))
    assert report.ok, str(report)
    rows = {row.check: row for row in report.rows}
    assert rows["check"].detail == "not ready: no server answers (connection refused)"
    assert rows["check"].do == "start the server"
    assert {rows[name].status for name in ("open", "answers", "tokens", "structured")} == {"skipped"}


JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "reply", "schema": SCHEMA, "strict": True}}


@pytest.mark.parametrize(
    ("way", "asked"),
    [
        ("json_schema", {"extra_body": {"top_k": 3, "response_format": JSON_SCHEMA}}),
        ("json_object", {"extra_body": {"top_k": 3, "response_format": {"type": "json_object"}}}),
        ("format", {"format": SCHEMA}),
        (
            "tools",
            (
                ({"title": "reply", "description": "the reply", **SCHEMA},),
                {"include_raw": True, "method": "function_calling"},
            ),
        ),
    ],
)
def test_each_way_of_telling_a_model_the_schema(way: Any, asked: Any) -> None:
    class Recording:
        extra_body: ClassVar[dict[str, int]] = {"top_k": 3}

        def bind(self, **kwargs: Any) -> Any:
            return kwargs

        def with_structured_output(self, *args: Any, **kwargs: Any) -> Any:
            return args, kwargs

    chat = Recording()
    assert bound(chat, SCHEMA, way, "reply") == asked
    assert bound(chat, SCHEMA, "text", "reply") is chat
