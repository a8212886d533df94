"""Limits of a whole reply: its time, its size unpacked, what of it is kept; and text that cannot be encoded."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from ultra_agents.contracts import http
from ultra_agents.errors import LLMError
from ultra_agents.llm.structured import ReplyDropped


def trickle(server, what):
    """Make the server send `what` one byte at a time, without end after it."""

    def answer(handler):
        handler.rfile.read(int(handler.headers.get("content-length") or 0))
        server.requests.append({})
        try:
            for byte in what:
                if server.release.wait(0.05):
                    return
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
            server.release.wait(20)
        except OSError:
            pass

    server._server.RequestHandlerClass.do_POST = answer


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n"


@pytest.mark.parametrize("what", [HEAD + b"\r\n" + b" " * 10_000, HEAD + b"x: " + b"y" * 10_000], ids=["body", "head"])
@pytest.mark.parametrize("structured", ["json_schema", "tools"])
def test_the_timeout_is_that_of_the_whole_reply(bench, server, what, structured):
    trickle(server, what)
    llms = {"a": bench.openai(server, timeout_s=1.0, structured=structured)}
    with bench.gateway(llms, retries=0) as gateway, pytest.raises(LLMError) as caught:
        bench.ask(gateway)
    assert "no answer in time" in caught.value.found
    assert bench.rows()[0]["charged"], "the model may have worked"


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", lambda data: data)]
)
def test_a_reply_is_unpacked_up_to_a_limit(bench, server, monkeypatch, encoding, pack):
    good = server.ok(bench.GOOD)[2]
    monkeypatch.setattr(http, "MAX_REPLY_BYTES", 100_000)
    server.queue = [(200, {"content-encoding": encoding}, pack(good + b" " * 3_000_000)),
                    (200, {"content-encoding": encoding}, pack(good))]  # fmt: skip
    with bench.gateway({"a": bench.openai(server)}, retries=3) as gateway:
        with pytest.raises(ReplyDropped, match="too long"):
            bench.ask(gateway, "1")
        assert bench.ask(gateway, "2").value.step == 3
    assert len(server.requests) == 2, "one that is too large is not asked for again"


def test_a_reply_that_is_too_long_is_not_kept_whole(bench, server):
    server.says("x" * 2_000_000)
    llms = {"a": bench.openai(server)}
    for _ in range(2):
        with bench.gateway(llms) as gateway, pytest.raises(ReplyDropped, match="too long"):
            bench.ask(gateway)
    assert len(server.requests) == 2, "the question and its repair"
    assert sum(path.stat().st_size for path in bench.folder.iterdir()) < 500_000


@pytest.mark.parametrize("escaped", [True, False])
def test_half_an_emoji_in_a_reply_or_a_question_is_made_valid(bench, server, escaped):
    said = {**bench.GOOD, "rationale": "half \ud83d"}
    text = json.dumps(said) if escaped else '{"rationale": "half \ud83d", "step": 3, "action": "UP"}'
    server.says(text)
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        answer = bench.ask(gateway, "what of \udc80?")
        assert bench.ask(gateway, "what of \udc80?").cached
    assert answer.value.rationale == "half \ufffd"
    assert server.requests[0]["messages"][1]["content"] == "what of \ufffd?"
    for event in bench.events:
        json.dumps(event.to_json(), ensure_ascii=False).encode()


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br"])
def test_what_cannot_be_unpacked_piece_by_piece_is_neither_asked_for_nor_taken(bench, server, encoding):
    server.queue = [(200, {"content-encoding": encoding}, server.ok(bench.GOOD)[2])]
    with bench.gateway({"a": bench.openai(server)}, retries=0) as gateway, pytest.raises(LLMError) as caught:
        bench.ask(gateway)
    assert f"packed as '{encoding}'" in caught.value.found
    assert server.headers[0]["accept-encoding"] == "gzip, deflate"
