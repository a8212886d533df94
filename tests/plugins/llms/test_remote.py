"""Providers of served models against loopback servers, and their configuration mistakes."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Literal

import pytest
from pydantic import BaseModel
from ultra_agents_plugins.llms.langchain import Langchain

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.contracts.secrets import plain_address
from ultra_agents.errors import ConfigError, LLMError
from ultra_agents.llm.gateway import Gateway
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.registry import create_llm
from ultra_agents.testing.scripted import scripted_chat_model


class Move(BaseModel):
    action: Literal["UP", "DOWN"]


def chunk(text, reason="stop"):
    row = {
        "model": "tiny:latest",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done": True,
        "done_reason": reason,
        "prompt_eval_count": 9,
        "eval_count": 4,
    }
    return 200, "application/x-ndjson", (json.dumps(row) + "\n").encode()


def gateway(folder, provider, options, **config):
    entry = LLMConfig(provider=provider, options=options)
    return Gateway({"a": entry}, GatewayConfig(**{"retries": 1, "retry_wait_s": 0.0, **config}), folder)


def ask(made):
    return made.ask(agent="critic", segment="s", models=(), messages=[("user", "Where to?")], reply=Move)


def test_ollama_gets_the_schema_and_its_tokens_are_counted(server, tmp_path):
    server.table["/api/chat"] = chunk('{"action": "UP"}')
    with gateway(tmp_path, "ollama", {"model": "tiny", "base_url": server.address, "context": 2048}) as made:
        answer = ask(made)
        assert made._models["a"].llm.context_tokens == 2048
    assert answer.value.action == "UP"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (9, 4)
    ((_, sent),) = [row for row in server.requests if row[0] == "/api/chat"]
    assert sent["format"]["properties"]["action"]["enum"] == ["UP", "DOWN"]
    assert sent["options"]["num_ctx"] == 2048
    assert sent["options"]["num_predict"] == 2048


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, "application/json", b'{"error": "model \'tiny\' not found"}'), "refuses"),
        ((500, "application/json", b'{"error": "out of memory"}'), "does not answer"),
        ((200, "text/html", b"<html>hello</html>"), "does not answer"),
        ((200, "application/x-ndjson", b'{"model": "tiny", "mess'), "does not answer"),
        ((200, "application/x-ndjson", b"\xff\xfe\xfa\n"), "does not answer"),
    ],
    ids=["404", "500", "html", "truncated", "not UTF-8"],
)
def test_ollama_failures_are_sorted(server, tmp_path, answer, message):
    server.table["/api/chat"] = answer
    options = {"model": "tiny", "base_url": server.address}
    with gateway(tmp_path, "ollama", options) as made, pytest.raises(LLMError, match=message):
        ask(made)
    asked = [path for path, _ in server.requests]
    assert asked == ["/api/tags"] + ["/api/chat"] * (1 if message == "refuses" else 2)


def test_an_ollama_reply_cut_short_is_dropped(server, tmp_path):
    server.table["/api/chat"] = chunk('{"act', "length")
    options = {"model": "tiny", "base_url": server.address}
    with gateway(tmp_path, "ollama", options) as made, pytest.raises(ReplyDropped, match="cut at max_tokens"):
        ask(made)


@pytest.mark.parametrize(
    ("wanted", "listed"),
    [
        ("llama3", "llama3"),
        ("llama3:latest", "llama3"),
        ("llama3", "llama3:latest"),
        ("host:5000/me/llama3", "host:5000/me/llama3:latest"),
        ("host:5000/me/llama3:latest", "host:5000/me/llama3"),
        ("qwen3:8b", "qwen3:8b"),
    ],
)
def test_ollama_takes_a_missing_tag_for_latest_on_either_side(server, wanted, listed):
    body = json.dumps({"models": [{"name": listed}]}).encode()
    server.table["/api/tags"] = 200, "application/json", body
    create_llm("ollama", {"model": wanted, "base_url": server.address}).check()
    body = json.dumps({"models": [{"name": f"{listed.removesuffix(':latest').removesuffix(':8b')}:1b"}]}).encode()
    server.table["/api/tags"] = 200, "application/json", body
    with pytest.raises(LLMError, match="Ollama has no model"):
        create_llm("ollama", {"model": wanted, "base_url": server.address}).check()


def test_ollama_check(server):
    llm = create_llm("ollama", {"model": "tiny", "base_url": server.address})
    server.table["/api/tags"] = 200, "application/json", b'{"models": [{"name": "tiny:latest"}]}'
    llm.check()
    server.table["/api/tags"] = 200, "application/json", b'{"models": [{"name": "big:latest"}]}'
    with pytest.raises(LLMError, match="ollama pull tiny"):
        llm.check()
    server.table["/api/tags"] = 200, "text/html", b"<html>"
    with pytest.raises(LLMError, match="something else than an Ollama server"):
        llm.check()
    with pytest.raises(LLMError, match="no Ollama server answers"):
        create_llm("ollama", {"model": "tiny", "base_url": "http://127.0.0.1:9"}).check()


def test_openai_check(server, monkeypatch):
    monkeypatch.setenv("CANARY_KEY", "sk-canary-77")
    options = {"model": "m", "base_url": f"{server.address}/v1/", "api_key_env": "CANARY_KEY"}
    llm = create_llm("openai", options)
    assert llm.base_url == f"{server.address}/v1"
    llm.check()  # 404: no list of models, but a server
    server.table["/v1/models"] = 200, "application/json", b'{"data": []}'
    llm.check()
    server.table["/v1/models"] = 401, "application/json", b'{"error": "sk-canary-77"}'
    with pytest.raises(LLMError, match="CANARY_KEY") as caught:
        llm.check()
    assert "sk-canary" not in str(caught.value)
    server.table["/v1/models"] = 200, "text/html", b"<html>router login</html>"
    with pytest.raises(LLMError, match="something else than a model server"):
        llm.check()


def test_a_missing_key_is_refused_before_anything_is_sent(monkeypatch, tmp_path):
    monkeypatch.delenv("NOT_SET_KEY", raising=False)
    options = {"model": "m", "base_url": "https://models.example.invalid/v1", "api_key_env": "NOT_SET_KEY"}
    with gateway(tmp_path, "openai", options) as made:
        for attempt in (made._models["a"].check, lambda: ask(made)):
            with pytest.raises(LLMError, match="environment variable NOT_SET_KEY is not set"):
                attempt()


@pytest.mark.parametrize(
    "address", ["ftp://x/v1", "127.0.0.1:8000", "http://me:secret@host/v1", "https://host/v1?key=secret", ""]
)
def test_addresses_that_cannot_be_or_hold_secrets_are_refused(address):
    with pytest.raises((ValueError, ConfigError), match="an address"):
        plain_address(address)
    with pytest.raises(ConfigError, match="base_url") as caught:
        create_llm("openai", {"model": "m", "base_url": address})
    assert "secret" not in str(caught.value)


def test_a_model_must_be_named():
    for provider in ("openai", "ollama"):
        with pytest.raises(ConfigError, match="model"):
            create_llm(provider, {})


@pytest.fixture
def package(monkeypatch):
    """A package as langchain's partners make them, with a chat model class."""
    base = type(scripted_chat_model(lambda messages, schema: "?"))

    class ChatThing(base):
        model: str
        temperature: float
        max_tokens: int
        timeout: float
        max_retries: int
        api_key: object = None

        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            from langchain_core.messages import AIMessage
            from langchain_core.outputs import ChatGeneration, ChatResult

            call = {"name": "Move", "args": {"action": "DOWN"}, "id": "1", "type": "tool_call"}
            return ChatResult(generations=[ChatGeneration(message=AIMessage(content="", tool_calls=[call]))])

        def bind_tools(self, tools, **kwargs):
            return self

    made = ModuleType("langchain_thing")
    made.ChatThing, made.other = ChatThing, 3
    monkeypatch.setitem(sys.modules, "langchain_thing", made)
    return made


def test_any_langchain_class_can_be_named(package, monkeypatch):
    monkeypatch.setenv("CANARY_KEY", "sk-canary-78")
    options = {"model": "m", "chat_model": "langchain_thing.ChatThing", "api_key_env": "CANARY_KEY", "max_tokens": 9}
    llm = Langchain(Langchain.Options(**options))
    llm.check()
    chat = llm.open()
    assert (chat.max_tokens, chat.max_retries) == (9, 0)
    assert chat.api_key.get_secret_value() == "sk-canary-78"
    assert "sk-canary" not in repr(chat) + repr(llm.options)


def test_a_langchain_reply_by_tool_call_is_understood(package, tmp_path, monkeypatch):
    options = Langchain.Options(model="m", chat_model="langchain_thing.ChatThing")
    monkeypatch.setattr("ultra_agents.llm.model.create_llm", lambda provider, given: Langchain(options))
    with gateway(tmp_path, "langchain", {}) as made:
        assert ask(made).value.action == "DOWN"


def test_langchain_mistakes_are_clear(package, monkeypatch):
    monkeypatch.delenv("NOT_SET_KEY", raising=False)
    for options, message in (
        ({"chat_model": "langchain_nowhere.ChatX"}, "pip install langchain-nowhere"),
        ({"chat_model": "langchain_thing.other"}, "is not a chat model"),
        ({"chat_model": "langchain_thing.ChatThing", "api_key_env": "NOT_SET_KEY"}, "NOT_SET_KEY is not set"),
        ({"chat_model": "langchain_thing.ChatThing", "arguments": {"timeout": "soon"}}, "cannot be built"),
    ):
        with pytest.raises(LLMError, match=message):
            Langchain(Langchain.Options(model="m", **options)).open()
    with pytest.raises(ConfigError, match="looks like a secret") as caught:
        Langchain.Options(model="m", chat_model="langchain_thing.ChatThing", arguments={"api_key": "sk-canary"})
    assert "sk-canary" not in str(caught.value)
