"""Replies streamed by a real socket: the same answers, counts and records as whole ones; broken streams are mended."""

from __future__ import annotations

import json
import threading

import httpx
import openai
import pytest

from ultra_agents.config import GatewayConfig
from ultra_agents.errors import BudgetReached, Interrupted, LLMError
from ultra_agents.events import AgentSpoke, ReplyStreaming
from ultra_agents.llm import streaming
from ultra_agents.llm.failures import classify, stream_at_fault
from ultra_agents.llm.gateway import Gateway
from ultra_agents.llm.structured import ReplyDropped

KEY = "sk-canary-77ab"
HEADERS = {"content-type": "text/event-stream"}
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@pytest.fixture(autouse=True)
def every_piece_is_told(monkeypatch):
    monkeypatch.setattr(streaming, "MIN_INTERVAL_S", 0.0)


def frame(text=None, finish=None, usage=None, **delta):
    """One server-sent event of a chat completion."""
    choices = [] if text is finish is None else [{"index": 0, "finish_reason": finish, "delta": {**delta}}]
    for choice in choices:
        choice["delta"] |= {} if text is None else {"content": text}
    row = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}
    return b"data: " + json.dumps({**row, "usage": usage}).encode() + b"\n\n"


def stream(text, finish="stop", usage=USAGE, end=b"data: [DONE]\n\n", size=10):
    """A completion as a stream, its text in pieces of `size` characters."""
    said = text if isinstance(text, str) else json.dumps(text)
    frames = [frame("", role="assistant"), *(frame(said[at : at + size]) for at in range(0, len(said), size))]
    frames += [frame(finish=finish)] if finish else []
    frames += [frame(usage=usage)] if usage else []
    return 200, HEADERS, b"".join(frames) + end


def gateway(bench, llms, shown, name="streamed", stop=None, **config):
    config = GatewayConfig(**{"retries": 2, "retry_wait_s": 0.0, **config})
    grow = None if shown is None else shown.append
    return Gateway(llms, config, bench.folder / name, bench.events.append, stop, emit_streaming=grow)


def streamed(server):
    return [request.get("stream") is True for request in server.requests]


def record(folder):
    rows = [json.loads(line) for line in (folder / "transcript.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in ("seconds", "time")} for row in rows]


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        ({"rationale": "the ball is above", "step": 3, "action": "UP"}, "stop"),
        ('{"rationale": "and then and then', "length"),
        ("", "content_filter"),
    ],
    ids=["good", "cut", "refused"],
)
def test_a_streamed_reply_is_the_whole_reply(bench, server, text, finish):
    found, events, shown = {}, {}, []
    for name, body in (("whole", server.ok(text, finish)), ("streamed", stream(text, finish))):
        server.queue, bench.events = [body], []
        with gateway(bench, {"a": bench.openai(server)}, shown if name == "streamed" else None, name) as asked:
            try:
                answer = bench.ask(asked)
                found[name] = answer.value, answer.model, answer.usage.calls, answer.usage.completion_tokens
            except ReplyDropped as problem:
                found[name] = problem.reason
            assert bench.ask(asked).cached if finish == "stop" else True
            exported = bench.folder / f"{name}.jsonl"
            asked._cache.export(exported)
        events[name] = [(type(one), getattr(one, "verdict", ""), getattr(one, "text", "")) for one in bench.events]
        rows = [json.loads(line) for line in exported.read_text().splitlines()]
        found[f"{name} cache"] = [{**row, "seconds": 0} for row in rows]
    assert found["streamed"] == found["whole"]
    assert found["streamed cache"] == found["whole cache"]
    assert found["whole cache"][0]["cut"] is (finish == "length")
    assert events["streamed"] == events["whole"], "what grows is no event of the run"
    assert record(bench.folder / "streamed") == record(bench.folder / "whole")
    half = len(server.requests) // 2
    assert streamed(server) == [False] * half + [True] * half
    said = text if isinstance(text, str) else json.dumps(text)
    assert said.startswith(shown[0].text) if said else shown == []
    if said:
        assert shown[-1] == ReplyStreaming("identifier", "0:0-9", "a", said)


def test_only_the_end_of_a_long_reply_is_told(bench, server):
    shown = []
    server.queue = [stream("abc" * 1000, size=100)]
    with gateway(bench, {"a": bench.openai(server)}, shown) as asked, pytest.raises(ReplyDropped):
        bench.ask(asked)
    assert max(len(one.text) for one in shown) == 600
    assert len(bench.events[1].text) == 3000


BROKEN = {
    "no ending": stream("half of", finish=None, usage=None),
    "cut off": (200, {**HEADERS, "x-claims": "90000"}, frame("half of")),
    "empty": (200, HEADERS, b""),
    "an error in it": stream("half of", None, None, b'data: {"error": {"message": "overloaded"}}\n\n'),
    "not JSON": stream("half of", None, None, b"data: {oops\n\n"),
    "not streams": (400, {}, b'{"error": {"message": "stream is not supported"}}'),
    "not with a schema": (400, {}, b'{"error": {"message": "response_format cannot be streamed: stream"}}'),
    "a defect": (500, {}, b'{"error": {"message": "defect"}}'),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN.keys())
def test_a_stream_that_fails_is_asked_for_whole_from_then_on(bench, server, fault):
    shown = []
    server.queue = [fault, server.ok(bench.GOOD)]
    with gateway(bench, {"a": bench.openai(server)}, shown, retries=int(fault[0] == 500)) as asked:
        assert bench.ask(asked, "1").usage.completion_tokens == 7
        bench.ask(asked, "2")
    assert streamed(server) == [True, False, False]
    assert {request["response_format"]["type"] for request in server.requests} == {"json_schema"}
    if fault[0] != 500:
        assert shown[-1].text == "", "what there was of it has left the screen"
        verdicts = [one.verdict for one in bench.events if isinstance(one, AgentSpoke)]
        assert [verdict.partition(":")[0] for verdict in verdicts] == ["failed", "ok", "ok"]
    accounted_for(bench, server)


def accounted_for(bench, server, name="streamed"):
    """Assert that each request the server saw has its line, none twice, and nothing is left to be counted."""
    rows = record(bench.folder / name)
    assert len(rows) == len(server.requests)
    begun = [json.loads(line) for line in (bench.folder / name / "calls.jsonl").read_text().splitlines()]
    assert sum(not row["answered"] for row in begun) == len(server.requests)
    with gateway(bench, {"a": bench.openai(server)}, None, name) as resumed:
        used = resumed.usage()["identifier"]
    assert record(bench.folder / name) == rows
    charged = [row for row in rows if row["charged"]]
    assert used.calls == len(charged)
    assert used.prompt_tokens == sum(row["prompt_tokens"] for row in charged)
    return rows


@pytest.mark.parametrize("fault", ["no ending", "cut off", "not JSON"])
def test_a_stream_that_broke_half_way_is_paid_for_with_what_had_come(bench, server, fault):
    said = "the ball is " * 10
    broken = {
        "no ending": stream(said, None, None),
        "cut off": (200, {**HEADERS, "x-claims": "90000"}, frame(said)),
        "not JSON": stream(said, None, None, b"data: {oops\n\n"),
    }[fault]
    cut = (200, {"x-claims": "90000"}, b'{"id": "x", "choi')
    server.queue = [broken, cut, server.ok(bench.GOOD)]
    entry = bench.openai(server, price_prompt=1.0, price_completion=100.0)
    with gateway(bench, {"a": entry}, []) as asked:
        answer = bench.ask(asked)
        live = asked.usage()["identifier"]
    assert streamed(server) == [True, False, False]
    first, second, third = accounted_for(bench, server)
    assert (first["verdict"][:7], second["verdict"][:7], third["verdict"]) == ("failed:", "failed:", "ok")
    assert first["charged"]
    assert first["reply"] == said
    assert first["completion_tokens"] == len(said) // 3 + 1
    assert first["cost"] == (first["prompt_tokens"] + 100 * first["completion_tokens"]) / 1e6
    assert not second["charged"], "nothing of a reply had come"
    assert live.calls == 2
    assert (answer.usage.calls, answer.usage.completion_tokens) == (1, 7)


def test_a_broken_stream_leaves_no_room_beyond_a_cap(bench, server):
    server.queue = [stream("half of", None, None), server.ok(bench.GOOD)]
    with gateway(bench, {"a": bench.openai(server)}, [], budget={"calls": 1}) as asked, pytest.raises(BudgetReached):
        bench.ask(asked)
    assert len(server.requests) == 1


def test_each_form_that_is_tried_is_a_request_that_is_written_down(bench, server):
    refusals = ("json_schema is not supported", "unsupported parameter: seed", "unknown parameter: temperature")
    server.queue = [(400, {}, json.dumps({"error": {"message": text}}).encode()) for text in refusals]
    server.queue += [stream("half of", None, None), server.ok(bench.GOOD)]
    with gateway(bench, {"a": bench.openai(server, seed=1, temperature=0.5)}, [], retries=0) as asked:
        assert bench.ask(asked).value.step == 3
    rows = accounted_for(bench, server)
    assert [row["verdict"].partition(":")[0] for row in rows] == ["failed"] * 4 + ["ok"]
    assert [row["charged"] for row in rows] == [False, False, False, True, True]


def test_no_half_of_a_key_is_kept_of_a_stream_that_broke(bench, server, monkeypatch):
    monkeypatch.setenv("CANARY_KEY", KEY)
    server.queue = [stream(f"{KEY} and {KEY[:9]}", None, None), server.ok(bench.GOOD)]
    with gateway(bench, {"a": bench.openai(server, api_key_env="CANARY_KEY")}, []) as asked:
        bench.ask(asked)
    assert record(bench.folder / "streamed")[0]["reply"] == "[secret] and "
    kept = b"".join(path.read_bytes() for path in (bench.folder / "streamed").iterdir())
    assert KEY[:9].encode() not in kept


@pytest.mark.parametrize(
    ("cause", "at_fault"),
    [(httpx.ConnectError("refused"), False), (httpx.ReadTimeout("slow"), False), (httpx.ReadError("reset"), True)],
)
def test_nobody_reached_in_time_is_no_fault_of_the_stream(cause, at_fault):
    wrapped = openai.APIConnectionError(request=httpx.Request("POST", "http://127.0.0.1/"))
    wrapped.__cause__ = cause
    assert stream_at_fault(classify(cause)) is at_fault
    assert stream_at_fault(classify(wrapped)) is at_fault


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_a_failure_of_another_kind_does_not_end_the_streaming(bench, server, status):
    shown = []
    server.queue = [(status, {}, b'{"error": {"message": "no"}}'), stream(bench.GOOD)]
    with gateway(bench, {"a": bench.openai(server)}, shown) as asked:
        if status in (401, 404):
            with pytest.raises(LLMError, match="refuses"):
                bench.ask(asked)
            assert len(server.requests) == 1
        bench.ask(asked)
    assert streamed(server) == [True, True]
    assert shown[-1].text == json.dumps(bench.GOOD)


def test_a_server_without_schemas_goes_on_streaming(bench, server):
    server.queue = [(400, {}, b'{"error": {"message": "json_schema is not supported"}}'), stream(bench.GOOD)]
    with gateway(bench, {"a": bench.openai(server)}, []) as asked:
        assert bench.ask(asked).value.step == 3
    assert streamed(server) == [True, True]
    assert [request["response_format"]["type"] for request in server.requests] == ["json_schema", "json_object"]


def test_a_stream_without_counts_is_the_last_one(bench, server):
    server.queue = [stream(bench.GOOD, usage=None), server.ok(bench.GOOD)]
    with gateway(bench, {"a": bench.openai(server)}, []) as asked:
        assert bench.ask(asked, "1").usage.completion_tokens > 7, "estimated, on the high side"
        assert bench.ask(asked, "2").usage.completion_tokens == 7
    assert streamed(server) == [True, False]
    assert server.requests[0]["stream_options"] == {"include_usage": True}


def test_who_does_not_stream_is_not_streamed(bench, server):
    server.says(bench.GOOD)
    shown = []
    with gateway(bench, {"a": bench.scripted(bench.GOOD)}, shown) as asked:
        bench.ask(asked)
    with gateway(bench, {"a": bench.openai(server, structured="tools")}, shown, "tools") as asked:
        bench.ask(asked)
    assert streamed(server) == [False]
    assert shown == []


def test_no_key_grows_on_the_screen_not_even_half_of_it(bench, server, monkeypatch):
    monkeypatch.setenv("CANARY_KEY", KEY)
    echo = {**bench.GOOD, "rationale": f"your key is {KEY}, I say"}
    server.queue = [stream(echo, size=3)]
    shown = []
    with gateway(bench, {"a": bench.openai(server, api_key_env="CANARY_KEY")}, shown) as asked:
        bench.ask(asked)
    assert len(shown) > 10
    assert [one.text for one in shown if KEY[:3] in one.text] == []
    assert "your key is [secret], I say" in shown[-1].text


def test_stop_ends_the_stream_so_that_the_server_can_stop_writing(bench, server):
    gone, shown = threading.Event(), []

    def endless(handler):
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        try:
            while not server.release.wait(0.01):
                handler.wfile.write(frame("and then "))
        except OSError:
            gone.set()

    server._server.RequestHandlerClass.do_POST = endless
    with gateway(bench, {"a": bench.openai(server)}, shown) as asked, pytest.raises(Interrupted):
        bench.ask(asked, stop=lambda: len(shown) >= 3)
    assert gone.wait(20)
