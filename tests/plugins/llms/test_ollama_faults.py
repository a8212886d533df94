"""Ollama's protocol failing in every way, through the real langchain-ollama client."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from pydantic import BaseModel

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.errors import LLMError
from ultra_agents.llm.gateway import Gateway

STREAM = "application/x-ndjson"


class Move(BaseModel):
    action: Literal["UP", "DOWN"]


def reply(text, **more):
    row = {
        "model": "tiny:latest", "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop",
        "message": {"role": "assistant", "content": text}, "prompt_eval_count": 9, "eval_count": 4, **more,
    }  # fmt: skip
    return (json.dumps(row) + "\n").encode()


GOOD = 200, STREAM, reply('{"action": "UP"}')
BUSY = b'{"error": "busy"}'
FAULTS = {
    "429 with Retry-After": (429, "application/json", BUSY, {"retry-after": "0"}),
    "429": (429, "application/json", BUSY),
    "500": (500, "application/json", BUSY),
    "502 page": (502, "text/html", b"<html>bad gateway</html>"),
    "hang": (None, "", b""),
    "reset mid-body": (200, STREAM, GOOD[2][:40], {"content-length": "100000"}),
    "truncated JSON": (200, STREAM, GOOD[2][:40]),
    "another JSON": (200, STREAM, b'{"hello": "world"}\n'),
    "wrong types": (200, STREAM, b'{"message": "many", "done": "perhaps"}\n'),
    "an error in the stream": (200, STREAM, b'{"error": "the model runner has ended"}\n'),
    "empty": (200, STREAM, b""),
    "HTML page": (200, "text/html", b"<html>Welcome</html>"),
    "not UTF-8": (200, STREAM, b'{"message": {"content": "\xff\xfe"}}\n'),
    "reply of another schema": (200, STREAM, reply('{"direction": 3}')),
    "reply of wrong types": (200, STREAM, reply('{"action": ["UP"]}')),
    "reply in prose": (200, STREAM, reply("Up, certainly.")),
    "empty reply": (200, STREAM, reply("")),
    "only thoughts": (200, STREAM, reply("", message={"role": "assistant", "content": "", "thinking": "hm"})),
    "10 MB reply": (200, STREAM, reply("x" * 10_000_000)),
}


def gateway(server, folder, **options):
    options = {"model": "tiny", "base_url": server.address, "timeout_s": 20, **options}
    entry = LLMConfig(provider="ollama", options=options)
    return Gateway({"a": entry}, GatewayConfig(retries=1, retry_wait_s=0.0), folder)


def ask(made):
    return made.ask(agent="critic", segment="s", models=(), messages=[("user", "Where to?")], reply=Move)


@pytest.mark.parametrize("name", FAULTS)
def test_after_one_fault_the_answer_arrives(server, tmp_path, name):
    answers = [FAULTS[name]]
    server.table["/api/chat"] = lambda: answers.pop() if answers else GOOD
    with gateway(server, tmp_path, timeout_s=0.5 if name == "hang" else 20) as made:
        assert ask(made).value.action == "UP"
    rows = [json.loads(line) for line in (tmp_path / "transcript.jsonl").read_text().splitlines()]
    assert [row["verdict"] == "ok" for row in rows] == [False, True]
    assert (tmp_path / "transcript.jsonl").stat().st_size < 1_000_000


@pytest.mark.parametrize("name", ["429", "500", "hang", "truncated JSON", "HTML page", "empty", "another JSON"])
def test_a_fault_that_stays_is_one_message_or_a_counted_drop(server, tmp_path, name):
    from ultra_agents.llm.structured import ReplyDropped

    server.table["/api/chat"] = FAULTS[name]
    with gateway(server, tmp_path, timeout_s=0.5) as made, pytest.raises((LLMError, ReplyDropped)) as caught:
        ask(made)
    if isinstance(caught.value, ReplyDropped):
        assert caught.value.reason == "empty reply"
    else:
        assert "does not answer, after 2 attempts" in str(caught.value)
        assert len(str(caught.value)) < 900


def test_thoughts_beside_the_reply_are_left_out(server, tmp_path):
    message = {"role": "assistant", "content": '{"action": "UP"}', "thinking": 'or {"action": "DOWN"}?'}
    server.table["/api/chat"] = 200, STREAM, reply("", message=message)
    with gateway(server, tmp_path, reasoning=True) as made:
        assert ask(made).value.action == "UP"


def test_a_reply_all_in_its_thinking_is_told(server, tmp_path):
    from ultra_agents.llm.structured import ReplyDropped

    message = {"role": "assistant", "content": "", "thinking": '{"action": "UP"}'}
    server.table["/api/chat"] = 200, STREAM, reply("", message=message, eval_count=300)
    events = []
    options = {"model": "tiny", "base_url": server.address}
    entry = LLMConfig(provider="ollama", options=options)
    with (
        Gateway({"a": entry}, GatewayConfig(retries=0), tmp_path, events.append) as made,
        pytest.raises(ReplyDropped, match="empty reply"),
    ):
        ask(made)
    told = [event.text for event in events if type(event).__name__ == "Warned"]
    assert len(told) == 1
    assert "options.reasoning: false" in told[0]


def test_null_leaves_sampling_to_the_server(server, tmp_path):
    server.table["/api/chat"] = GOOD
    with gateway(server, tmp_path, temperature=None, seed=None, max_tokens=None) as made:
        assert ask(made).value.action == "UP"
    sent = next(body for path, body in server.requests if path == "/api/chat")
    assert not {"temperature", "seed", "num_predict"} & set(sent["options"])


@pytest.mark.parametrize("key", ["two words", "caf\u00e9-0123456789"])
def test_a_key_no_header_can_carry_is_refused(server, tmp_path, monkeypatch, key):
    monkeypatch.setenv("OLLAMA_API_KEY", key)
    with gateway(server, tmp_path) as made, pytest.raises(LLMError, match="OLLAMA_API_KEY holds no key") as caught:
        ask(made)
    assert key not in str(caught.value)


def test_what_it_accepts_can_be_unpacked_up_to_a_limit(server, tmp_path):
    server.table["/api/chat"] = GOOD
    with gateway(server, tmp_path) as made:
        ask(made)
    assert {row["accept-encoding"] for row in server.headers} == {"gzip, deflate"}
