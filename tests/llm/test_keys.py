"""Keys: which are none, that prompts arrive whole, and that no spelling and no part of a real one is written down."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest
from langchain_core.callbacks import BaseCallbackHandler

from ultra_agents.contracts.secrets import Redactor, is_secret
from ultra_agents.errors import LLMError
from ultra_agents.llm.tracing import redacting_handler

KEY = "sk-canary/9aB+3kLm=Zq7wPx28"


def redactor(key=KEY):
    from pydantic import SecretStr

    return Redactor([SecretStr(key)])


@pytest.mark.parametrize("key", ["x", "EMPTY", "none", "ollama", "token", "lm-studio", "sk-no-key-required", "0" * 40])
def test_a_placeholder_is_no_key(bench, server, monkeypatch, key):
    monkeypatch.setenv("CANARY_KEY", key)
    text = f"next: the extra token of ollama is none, EMPTY, {key}"
    server.says({**bench.GOOD, "rationale": f"exact {key}"[:80]})
    with bench.gateway({"a": bench.openai(server, api_key_env="CANARY_KEY")}) as gateway:
        answer = bench.ask(gateway, text)
    assert not is_secret(key)
    assert server.headers[0]["authorization"] == f"Bearer {key}"
    assert server.requests[0]["messages"][1]["content"] == text
    assert answer.value.rationale == f"exact {key}"[:80]
    (row,) = bench.rows()
    assert row["messages"][1][1] == text
    assert json.loads(row["reply"])["rationale"] == f"exact {key}"[:80]


def test_what_is_sent_is_never_changed_and_what_is_written_down_holds_no_key(bench, server, monkeypatch):
    monkeypatch.setenv("CANARY_KEY", KEY)
    server.says({**bench.GOOD, "rationale": f"I saw {KEY}"})
    with bench.gateway({"a": bench.openai(server, api_key_env="CANARY_KEY")}) as gateway:
        assert bench.ask(gateway, f"my key is {KEY}").value.rationale == "I saw [secret]"
    assert server.requests[0]["messages"][1]["content"] == f"my key is {KEY}"
    assert bench.rows()[0]["messages"][1][1] == "my key is [secret]"
    for path in bench.folder.iterdir():
        assert KEY.encode() not in path.read_bytes()


SPELLINGS = {
    "plain": KEY,
    "URL": urllib.parse.quote(KEY, safe=""),
    "URL, lower case": urllib.parse.quote(KEY, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
    "repr": repr(f"{KEY}'\"")[1:-1],
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 of basic authorization": base64.b64encode(f"user:{KEY}".encode()).decode(),
    "base64, shifted by one": base64.b64encode(f"me:{KEY}:x".encode()).decode(),
    "base64, shifted by two": base64.b64encode(f"m:{KEY}".encode()).decode(),
    "base64 for addresses": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "all but one character": KEY[:-1],
    "without its beginning": KEY[2:],
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_every_spelling_is_redacted(spelling):
    said = redactor()(f"refused: {spelling} (403)")
    assert "[secret]" in said
    assert said.startswith("refused: ")
    assert said.endswith(" (403)")
    for size in (10, 12):
        assert not any(spelling[at : at + size] in said for at in range(len(spelling) - size)), said


def test_other_text_stays_as_it_is():
    text = "sk-canary is no key, nor is 9aB+3kLm; neither is " + base64.b64encode(b"Pong at 20 Hz, as ever").decode()
    assert redactor()(text) == text


@pytest.mark.parametrize("status", [400, 401, 500])
@pytest.mark.parametrize("before", [370, 373, 380, 385])
def test_an_error_text_is_redacted_before_it_is_cut(bench, server, monkeypatch, status, before):
    monkeypatch.setenv("CANARY_KEY", KEY)
    body = {"error": {"message": "e" * (before - len("Error code: 400 - ")) + KEY}}
    server.queue = [(status, {}, json.dumps(body).encode())]
    with (
        bench.gateway({"a": bench.openai(server, api_key_env="CANARY_KEY")}, retries=0) as gateway,
        pytest.raises(LLMError) as caught,
    ):
        bench.ask(gateway)
    texts = [str(caught.value), *(repr(event) for event in bench.events)]
    texts += [path.read_bytes().decode("utf-8", "replace") for path in bench.folder.iterdir()]
    assert not any(KEY[:size] in text for text in texts for size in range(10, len(KEY)))


@pytest.mark.parametrize(
    "key", ["sk-canary-9aB3kLm\u00e9Zq7wPx28", "sk-canary-9aB3\r\nkLmZq7wPx28", "sk-\u200bcanary-9aB3kLmZq7"]
)
def test_a_key_no_header_can_carry_is_refused_where_it_is_read(bench, server, monkeypatch, key):
    monkeypatch.setenv("CANARY_KEY", key)
    server.says(bench.GOOD)
    with bench.gateway({"a": bench.openai(server, api_key_env="CANARY_KEY")}) as gateway:
        for step in (gateway._models["a"].check, lambda: bench.ask(gateway)):
            with pytest.raises(LLMError, match="CANARY_KEY holds no key") as caught:
                step()
            chain = [caught.value, caught.value.__cause__, caught.value.__context__]
            assert not any("canary-9aB3" in f"{error!r} {error}" for error in chain)
    assert server.requests == []


def test_whatever_a_provider_raises_is_redacted_before_anybody_stores_it(bench, server, monkeypatch):
    monkeypatch.setenv("CANARY_KEY", KEY)
    server.says(bench.GOOD)
    with bench.gateway({"a": bench.openai(server, api_key_env="CANARY_KEY")}) as gateway:
        llm = gateway._models["a"].llm

        def broken(*arguments):
            raise UnicodeEncodeError("ascii", f"Bearer {KEY}", 3, 4, f"no {KEY}")

        for step in ("check", "open"):
            monkeypatch.setattr(llm, step, broken)
            with pytest.raises(LLMError, match="cannot be") as caught:
                bench.ask(gateway)
            chain = [caught.value, caught.value.__cause__, caught.value.__context__]
            assert not any(KEY in f"{error!r} {error}" for error in chain)
            monkeypatch.undo()
            monkeypatch.setenv("CANARY_KEY", KEY)


def test_a_failed_call_does_not_carry_the_client_s_own_error(bench, server, monkeypatch):
    monkeypatch.setenv("CANARY_KEY", KEY)
    server.queue = [(500, {}, json.dumps({"error": {"message": KEY}}).encode())]
    with bench.gateway({"a": bench.openai(server, api_key_env="CANARY_KEY")}, retries=0) as gateway:
        with pytest.raises(LLMError) as caught:
            bench.ask(gateway)
        error, chain = caught.value, []
        while error is not None:
            chain.append(error)
            error = error.__cause__ or error.__context__
    assert not any(KEY in f"{one!r} {one}" for one in chain)


class Listener(BaseCallbackHandler):
    def __init__(self):
        self.heard = []

    def on_llm_error(self, error, **named):
        self.heard.append(error)

    def on_chat_model_start(self, serialized, messages, **named):
        self.heard.append(messages)


def test_callbacks_hear_redacted_copies():
    from langchain_core.messages import HumanMessage

    listener = Listener()
    handler = redacting_handler(listener, redactor())
    sent = HumanMessage(f"key {KEY}")
    handler.on_chat_model_start({}, [[sent]], run_id="1")
    handler.on_llm_error(ValueError(f"bad {KEY}"))
    handler.on_llm_error(TimeoutError("late"))
    assert sent.content == f"key {KEY}"
    assert listener.heard[0][0][0].content == "key [secret]"
    assert [str(error) for error in listener.heard[1:]] == ["ValueError: bad [secret]", "late"]


IN_CONFIGURATIONS = {
    "extra_body, nested": {"extra_body": {"metadata": [{"x-api-key": KEY}]}},
    "extra_body, by its value": {"extra_body": {"metadata": {"note": "sk-canary9aB3kLmZq7wPx28"}}},
    "query under another name": {"query": {"code": "9aB3kLmZq7wPx28QqRr5"}},
    "query by its value": {"query": {"v": "9aB3kLmZq7wPx28QqRr5Tt"}},
    "default headers": {"arguments": {"default_headers": {"Authorization": f"Bearer {KEY}"}}},
    "headers by their value": {"arguments": {"default_headers": {"x-team": f"Bearer {KEY}"}}},
    "userinfo of a nested address": {"arguments": {"base_url": f"https://me:{KEY[:9]}@host/v1"}},
    "query of a nested address": {"arguments": {"base_url": "https://host/v1?sig=9aB3kLm"}},
    "path of an address": {"base_url": "https://host/sk-canary9aB3kLmZq7wPx28/v1"},
    "userinfo of an address": {"base_url": f"https://{KEY[:9]}@host/v1"},
    "pasted into the name of the variable": {"api_key_env": "sk-canary-9aB3kLmZq7wPx28"},
    "pasted, and a name by its form": {"api_key_env": "gsk_9aB3kLmZq7wPx28QqRr5Tt"},
}


@pytest.mark.parametrize("options", IN_CONFIGURATIONS.values(), ids=IN_CONFIGURATIONS.keys())
def test_a_key_in_a_configuration_is_refused_without_being_repeated(tmp_path, options):
    import yaml

    from ultra_agents.config import load_config
    from ultra_agents.errors import ConfigError
    from ultra_agents.registry import create_llm

    provider = "langchain" if "arguments" in options else "openai"
    more = {"chat_model": "langchain_openai.ChatOpenAI"} if provider == "langchain" else {}
    path = tmp_path / "config.yaml"
    entry = {"provider": provider, "options": {"model": "m", **more, **options}}
    path.write_text(yaml.safe_dump({"environment": {"name": "corridor"}, "llms": {"a": entry}}))
    for step in (lambda: load_config(path), lambda: create_llm(provider, {"model": "m", **more, **options})):
        with pytest.raises(ConfigError) as caught:
            step()
        said = f"{caught.value!r} {caught.value}"
        assert "9aB3kLm" not in said
        assert KEY[:9] not in said
        assert caught.value.hint


def test_what_only_looks_random_is_let_through():
    from ultra_agents.config import LLMConfig

    options = {
        "model": "ft:gpt-4o-mini-2024-07-18:my-org:custom:9AbCdEfG",
        "base_url": "https://name.openai.azure.com/openai/v1",
        "query": {"api-version": "2024-10-21"},
        "extra_body": {"prompt_cache_key": "pong", "endpoint_id": "9aB3kLmZq7wPx28QqRr5", "top_k": 3, "stop": ["END"]},
        "api_key_env": "MY_PROVIDER_2_API_KEY",
        "api_key_file": "/home/me/keys/9aB3kLmZq7wPx28QqRr5",
    }
    assert LLMConfig(provider="openai", options=options).options == options
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"
    assert LLMConfig(provider="langchain", options={"arguments": {"provisioned": arn}}).options
