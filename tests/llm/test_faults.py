"""Failures of real sockets: which pass, which end the run, which hand over; and keys that show up nowhere."""

from __future__ import annotations

import json
import socket

import pytest

from ultra_agents.errors import Interrupted, LLMError
from ultra_agents.llm.failures import CallFailed, classify
from ultra_agents.llm.limits import RateLimits
from ultra_agents.llm.retry import call_with_retries
from ultra_agents.llm.structured import ReplyDropped

KEY = "sk-canary-5f1e0b"


def refused(status, text="no", **headers):
    return status, headers, json.dumps({"error": {"message": text}}).encode()


PASSING = {
    "429 with Retry-After": refused(429, **{"retry-after": "0"}),
    "429": refused(429),
    "500": refused(500),
    "502 page": (502, {"content-type": "text/html"}, b"<html>bad gateway</html>"),
    "truncated JSON": (200, {}, b'{"id": "x", "choices": [{"index": 0, "mess'),
    "reset mid-body": (200, {"x-claims": "4000"}, b'{"id": "x", '),
    "wrong schema": (200, {}, b'{"hello": "world"}'),
    "no choices": (200, {}, b'{"id": "x", "object": "chat.completion", "choices": []}'),
    "wrong types": (200, {}, b'{"id": 3, "choices": "many"}'),
    "empty body": (200, {}, b""),
    "HTML page": (200, {"content-type": "text/html"}, b"<html>Welcome</html>"),
    "not UTF-8": (200, {}, b'{"id": "\xff\xfe\xfa"}'),
    "null": (200, {}, b"null"),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_passing_failure_is_asked_again(bench, server, fault):
    server.queue = [fault, server.ok(bench.GOOD)]
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        assert bench.ask(gateway).value.step == 3
    assert len(server.requests) == 2
    failed, ok = bench.verdicts()
    assert failed.startswith("failed: ")
    assert ok == "ok"


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_failure_that_stays_ends_in_one_clear_message(bench, server, fault):
    server.queue = [fault]
    with bench.gateway({"a": bench.openai(server)}) as gateway, pytest.raises(LLMError) as caught:
        bench.ask(gateway)
    assert len(server.requests) == 3
    text = str(caught.value)
    assert "does not answer, after 3 attempts" in text
    assert "found:" in text
    assert len(text) < 900


def test_a_hang_ends_at_the_timeout(bench, server):
    server.queue = [None, server.ok(bench.GOOD)]
    with bench.gateway({"a": bench.openai(server, timeout_s=0.3)}) as gateway:
        assert bench.ask(gateway).value.step == 3
    assert "no answer in time" in bench.verdicts()[0]
    assert [row["charged"] for row in bench.rows()] == [True, True]  # a model may have worked for the first


def test_stop_does_not_wait_for_a_hanging_server(bench, server):
    server.queue = [None]
    with bench.gateway({"a": bench.openai(server, timeout_s=15)}) as gateway, pytest.raises(Interrupted):
        bench.ask(gateway, stop=lambda: bool(server.requests))
    assert len(server.requests) == 1
    assert not server.release.is_set()


def test_nobody_listening_is_one_clear_message(bench, server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with bench.gateway({"a": bench.openai(server, base_url=address)}) as gateway:
            for attempt in (gateway._models["a"].check, lambda: bench.ask(gateway)):
                with pytest.raises(LLMError, match="no model server answers") as caught:
                    attempt()
                assert caught.value.exit_code == 2


@pytest.mark.parametrize(("status", "hint"), [(401, "key"), (403, "key"), (404, "base_url"), (400, "options")])
def test_a_permanent_failure_stops_at_once(bench, server, status, hint):
    server.queue = [refused(status, "go away")]
    llms = {"a": bench.openai(server), "b": bench.scripted(bench.GOOD)}
    with bench.gateway(llms) as gateway, pytest.raises(LLMError, match="refuses to answer") as caught:
        bench.ask(gateway, models=["a", "b"])
    assert len(server.requests) == 1
    assert f"HTTP {status}" in str(caught.value)
    assert hint in caught.value.hint


def test_an_empty_account_is_permanent(bench, server):
    server.queue = [refused(429, "insufficient_quota: pay first")]
    with bench.gateway({"a": bench.openai(server)}) as gateway, pytest.raises(LLMError, match="refuses"):
        bench.ask(gateway)
    assert len(server.requests) == 1


def test_the_next_model_takes_over_and_the_failed_one_rests(bench, server):
    server.queue = [refused(503)]
    llms = {"a": bench.openai(server), "b": bench.scripted(bench.GOOD, cycle=True)}
    with bench.gateway(llms) as gateway:
        assert bench.ask(gateway, "1", models=["a", "b"]).model == "b"
        assert bench.ask(gateway, "2", models=["a", "b"]).model == "b"
        assert len(server.requests) == 3
    server.queue = [server.ok(bench.GOOD)]
    with bench.gateway(llms) as gateway:  # answers of the stand-in are still good
        assert bench.ask(gateway, "2", models=["a", "b"]).cached
    assert any("asking the next one" in getattr(event, "text", "") for event in bench.events)


def test_a_prompt_too_long_is_dropped_not_fatal(bench, server):
    server.queue = [refused(400, "the request exceeds the available context size")]
    with bench.gateway({"a": bench.openai(server)}) as gateway, pytest.raises(ReplyDropped) as caught:
        bench.ask(gateway)
    assert caught.value.reason == "prompt too long"


def test_a_server_without_schemas_is_asked_more_simply(bench, server):
    server.queue = [
        refused(400, "response_format json_schema is not supported"),
        refused(400, "response_format is not supported"),
        server.ok(f"Of course: {json.dumps(bench.GOOD)}"),
    ]
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        assert bench.ask(gateway, "1").value.step == 3
        assert bench.ask(gateway, "2").value.step == 3
    forms = [(request.get("response_format") or {}).get("type") for request in server.requests]
    assert forms == ["json_schema", "json_object", None, None]
    assert "JSON schema" in server.requests[-1]["messages"][-1]["content"]


def test_the_schema_sampling_and_model_are_sent(bench, server):
    server.says(bench.GOOD)
    with bench.gateway({"a": bench.openai(server, temperature=0.3, max_tokens=77, seed=5)}) as gateway:
        answer = bench.ask(gateway)
    (request,) = server.requests
    sent = request["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sent["schema"]["properties"]["rationale"]["maxLength"] == 80
    assert (request["model"], request["temperature"], request["seed"]) == ("m", 0.3, 5)
    assert request["max_completion_tokens"] == 77
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 7)


def test_a_cut_reply_is_counted_as_such(bench, server):
    server.queue = [server.ok('{"rationale": "and then and then', "length")]
    with bench.gateway({"a": bench.openai(server)}) as gateway, pytest.raises(ReplyDropped) as caught:
        bench.ask(gateway)
    assert caught.value.reason == "cut at max_tokens"
    assert "and then" in bench.rows()[0]["reply"]


def test_ten_megabytes_are_refused(bench, server):
    server.says("x" * 10_000_000)
    with bench.gateway({"a": bench.openai(server)}) as gateway, pytest.raises(ReplyDropped) as caught:
        bench.ask(gateway)
    assert caught.value.reason == "too long"
    assert (bench.folder / "transcript.jsonl").stat().st_size < 1_000_000


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_the_key_shows_up_nowhere(bench, server, monkeypatch, status):
    monkeypatch.setenv("CANARY_KEY", KEY)
    echo = json.dumps({**bench.GOOD, "rationale": f"your key is {KEY}"})
    server.queue = [server.ok(echo) if status == 200 else refused(status, f"bad key {KEY}")]
    texts = []
    with bench.gateway({"a": bench.openai(server, api_key_env="CANARY_KEY")}) as gateway:
        try:
            texts.append(repr(bench.ask(gateway, f"my key is {KEY}")))
        except LLMError as error:
            texts += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
        model = gateway._models["a"]
        texts += [repr(model.llm.open()), repr(model.llm.options), repr(model.config), repr(model.llm.secrets)]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    texts += [repr(event) for event in bench.events]
    texts += [path.read_bytes().decode("utf-8", "replace") for path in bench.folder.iterdir()]
    assert len(texts) > 6
    assert [text for text in texts if KEY in text] == []


def test_retry_after_is_honoured_and_impatience_is_not_punished_forever(monkeypatch):
    waits = []
    monkeypatch.setattr("ultra_agents.llm.retry.sleep", lambda seconds, stop: waits.append(seconds))

    class Busy(Exception):
        status_code = 429

        def __init__(self, headers):
            super().__init__("busy")
            self.response = type("Response", (), {"headers": headers, "status_code": 429})()

    def failing(headers):
        def call():
            raise CallFailed(classify(Busy(headers)))

        return call

    for headers in ({"retry-after": "7"}, {"retry-after-ms": "250"}, {"retry-after": "9999"}, {}):
        with pytest.raises(CallFailed):
            call_with_retries(failing(headers), retries=1, first_wait_s=1.0)
    assert waits[:2] == [7.0, 0.25]
    assert len(waits) == 3  # 9999 s is no wait: the model is taken as down
    assert 1.0 <= waits[2] <= 2.0


@pytest.mark.parametrize(("said", "told"), [("9999", "9999 s"), ("inf", "inf s")])
def test_a_server_that_asks_to_wait_for_hours_is_down_at_once_and_that_is_told(bench, server, said, told):
    server.queue = [refused(429, "later", **{"retry-after": said})]
    with bench.gateway({"a": bench.openai(server)}) as gateway, pytest.raises(LLMError) as caught:
        bench.ask(gateway)
    assert len(server.requests) == 1
    assert f"does not answer, and asks to wait for {told}" in str(caught.value)


def test_limits_hold_back_what_is_too_much():
    now = [0.0]
    limits = RateLimits(requests=2, tokens=100, clock=lambda: now[0])
    assert limits.wait_s(60) == 0
    now[0] = 10.0
    assert limits.wait_s(60) == 50.0  # tokens
    assert limits.wait_s(30) == 0
    assert limits.wait_s(1) == 50.0  # requests
    now[0] = 60.0
    assert limits.wait_s(70) == 0
    now[0] = 200.0
    assert limits.wait_s(500) == 0  # larger than the limit: alone
