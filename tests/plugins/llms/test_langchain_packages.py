"""Real langchain packages against loopback servers: Anthropic's protocol, and an Azure deployment."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.errors import LLMError
from ultra_agents.llm.gateway import Gateway
from ultra_agents.registry import create_llm

KEY = "sk-canary-ant-2"
CLAUDE = "langchain_anthropic.ChatAnthropic"


class Move(BaseModel):
    rationale: str
    action: str


def gateway(folder, entry, **config):
    return Gateway({"a": entry}, GatewayConfig(**{"retries": 1, "retry_wait_s": 0.0, **config}), folder)


def ask(made, text="Where to?"):
    return made.ask(agent="critic", segment="s", models=(), messages=[("system", "Pong."), ("user", text)], reply=Move)


def anthropic(server, **options):
    options = {"model": "claude-sonnet-4-5", "arguments": {"base_url": server.address}, **options}
    return LLMConfig(provider="langchain:langchain_anthropic.ChatAnthropic", options=options)


def said(*blocks, stop="tool_use"):
    """A reply of Anthropic's messages protocol."""
    row = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": list(blocks),
        "stop_reason": stop, "stop_sequence": None, "usage": {"input_tokens": 21, "output_tokens": 8},
    }  # fmt: skip
    return 200, "application/json", json.dumps(row).encode()


TOOL = {"type": "tool_use", "id": "t1", "name": "Move", "input": {"rationale": "it rises", "action": "UP"}}
TEXT = {"type": "text", "text": "Let me think about it."}


def test_anthropic_is_asked_by_a_tool_and_its_words_before_it_do_no_harm(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    server.table["/v1/messages"] = said(TEXT, TOOL)
    with gateway(tmp_path, anthropic(server, max_tokens=77)) as made:
        answer = ask(made)
        assert made._models["a"].llm.context_tokens
    assert answer.value == Move(rationale="it rises", action="UP")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (21, 8)
    ((_, sent),) = server.requests
    assert sent["tools"][0]["input_schema"]["properties"]["action"] == {"type": "string"}
    assert (sent["max_tokens"], sent["temperature"]) == (77, 0.0)


def test_an_answer_in_words_is_repaired(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    answers = [said(TEXT, stop="end_turn"), said(TOOL)]
    server.table["/v1/messages"] = lambda: answers.pop(0)
    with gateway(tmp_path, anthropic(server)) as made:
        assert ask(made).usage.calls == 2


def test_thoughts_of_a_reasoning_model_are_not_the_reply(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    thought = {"type": "thinking", "thinking": 'perhaps {"rationale": "wrong", "action": "DOWN"}', "signature": "x"}
    text = {"type": "text", "text": json.dumps({"rationale": "right", "action": "UP"})}
    server.table["/v1/messages"] = said(thought, text, stop="end_turn")
    with gateway(tmp_path, anthropic(server, structured="text")) as made:
        assert ask(made).value.rationale == "right"


@pytest.mark.parametrize("status", [401, 500, 529])
def test_its_failures_are_sorted_and_its_key_shows_up_nowhere(server, tmp_path, monkeypatch, status):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)  # the package's own variable, not named in the configuration
    error = {"type": "error", "error": {"type": "some_error", "message": f"your key {KEY} is bad"}}
    server.table["/v1/messages"] = status, "application/json", json.dumps(error).encode()
    with gateway(tmp_path, anthropic(server)) as made, pytest.raises(LLMError) as caught:
        ask(made)
    assert ("refuses" if status == 401 else "does not answer") in str(caught.value)
    assert len(server.requests) == (1 if status == 401 else 2)
    assert KEY in str(server.headers[0])
    texts = [str(caught.value), *(path.read_bytes().decode("utf-8", "replace") for path in tmp_path.iterdir())]
    assert [text for text in texts if KEY in text] == []


def test_a_missing_key_is_found_before_anything_is_sent(server, tmp_path, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with gateway(tmp_path, anthropic(server)) as made, pytest.raises(LLMError, match="no key for") as caught:
        ask(made)
    assert "ANTHROPIC_API_KEY is not set" in caught.value.found
    assert server.requests == []


def completion(value):
    row = {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": json.dumps(value)}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }  # fmt: skip
    return 200, "application/json", json.dumps(row).encode()


def test_an_azure_deployment(server, tmp_path, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    arguments = {"azure_endpoint": server.address, "azure_deployment": "mine", "api_version": "2024-10-21"}
    options = {"model": "gpt-4o", "arguments": arguments, "structured": "json_schema"}
    entry = LLMConfig(provider="langchain:langchain_openai.AzureChatOpenAI", options=options)
    path = "/openai/deployments/mine/chat/completions?api-version=2024-10-21"
    server.table[path] = completion({"rationale": "r", "action": "UP"})
    with gateway(tmp_path, entry) as made:
        assert ask(made).value.action == "UP"
    ((asked, sent),) = server.requests
    assert asked == path
    assert sent["response_format"]["type"] == "json_schema"
    assert server.headers[0]["api-key"] == KEY


def test_an_azure_like_address_with_a_query_and_a_key_from_a_file(server, tmp_path):
    (tmp_path / "key").write_text(f"{KEY}\n")
    options = {
        "model": "m", "base_url": f"{server.address}/openai/v1", "query": {"api-version": "preview"},
        "api_key_file": str(tmp_path / "key"),
    }  # fmt: skip
    server.table["/openai/v1/models?api-version=preview"] = 200, "application/json", b'{"data": []}'
    server.table["/openai/v1/chat/completions?api-version=preview"] = completion({"rationale": "r", "action": "UP"})
    with gateway(tmp_path / "run", LLMConfig(provider="openai", options=options)) as made:
        assert ask(made, f"is {KEY} known?").value.action == "UP"
        assert KEY not in repr(made._models["a"].llm.options)
    assert {row["authorization"] for row in server.headers} == {f"Bearer {KEY}"}
    asked = next(body for path, body in server.requests if body)
    assert asked["messages"][1]["content"] == f"is {KEY} known?", "what is sent is never changed"
    assert all(KEY.encode() not in path.read_bytes() for path in (tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot read the key file"), ("", "holds no key"), ("two words", "holds no key")]
)
def test_a_key_file_that_holds_none(tmp_path, server, content, message):
    if content is not None:
        (tmp_path / "key").write_text(content)
    options = {"model": "m", "base_url": f"{server.address}/v1", "api_key_file": str(tmp_path / "key")}
    with (
        gateway(tmp_path / "run", LLMConfig(provider="openai", options=options)) as made,
        pytest.raises(LLMError, match=message),
    ):
        ask(made)
    assert server.requests == []


@pytest.mark.parametrize("key", ["sk-canary-\u00e9-0123456789", "sk-canary-01234\r\n56789"])
def test_a_key_of_the_package_s_own_variable_is_checked_too(server, tmp_path, monkeypatch, key):
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    with gateway(tmp_path, anthropic(server)) as made, pytest.raises(LLMError) as caught:
        ask(made)
    assert "sk-canary" not in f"{caught.value!r} {caught.value} {caught.value.__context__!r}"
    assert server.requests == []


def test_a_parameter_the_model_does_not_take_is_left_out(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "temperature is deprecated"}}
    answers = [(400, "application/json", json.dumps(error).encode()), said(TOOL), said(TOOL)]
    server.table["/v1/messages"] = lambda: answers.pop(0)
    with gateway(tmp_path, anthropic(server)) as made:
        ask(made, "1")
        ask(made, "2")
    assert ["temperature" in body for _, body in server.requests] == [True, False, False]


def test_langchains_profile_of_a_model_says_what_the_provider_does_not_know(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    known = create_llm("langchain", {"chat_model": CLAUDE, "model": "claude-sonnet-4-5"})
    assert known.context_tokens is not None, "before it is asked for anything"
    assert known.context_tokens >= 100_000
    assert (known.way, known.prompts) == ("tools", "full")
    profile = {"profile": {"max_input_tokens": 9000, "tool_calling": False}}
    small = create_llm("langchain", {"chat_model": CLAUDE, "model": "m", "arguments": profile})
    assert (small.context_tokens, small.way) == (9000, "text")
    asked = {"chat_model": CLAUDE, "model": "m", "arguments": profile, "structured": "tools"}
    assert create_llm("langchain", asked).way == "tools", "what is said wins"


def test_without_a_profile_nothing_is_known(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    unknown = create_llm("langchain", {"chat_model": CLAUDE, "model": "nobody-knows-this-one"})
    assert (unknown.context_tokens, unknown.way) == (None, "tools")
    absent = create_llm("langchain", {"chat_model": "no_such_package.Chat", "model": "m"})
    assert (absent.context_tokens, absent.way) == (None, "tools")
