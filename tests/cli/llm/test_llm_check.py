"""`ultra llm check`: what it finds out, how it looks, how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ultra_agents.config import LLMConfig
from ultra_agents.llm.check import check_model


def openai(address: str, **more: Any) -> list[str]:
    options = {"base_url": f"{address}/v1", **more}
    return ["--provider", "openai", "--model", "any", *(f"--set={key}={value}" for key, value in options.items())]


def test_a_good_model(ultra: Any, any_model: Any) -> None:
    done = ultra("llm", "check", "--json", *openai(any_model.address))
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)
    assert row["ok"]
    assert row["reachable"]
    assert row["structured"] == "json_schema"
    assert (row["ways"]["json_schema"], row["ways"]["tools"]) == ("ok", "ok")
    assert row["ways"]["text"] == "wrong fields"
    assert (row["asks"], row["valid"], row["dropped"]) == (10, 10, {})
    assert row["tokens_per_s"] > 0
    assert row["latency_s"] > 0
    assert row["seed"] == "cannot tell"  # it always says the same
    assert row["price_prompt_1k"] == 0.0
    assert row["usage"]["calls"] == len(any_model.paths) == 4 + 10 + 3


def test_the_table_at_80_columns(ultra: Any, any_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = ultra("llm", "check", "--asks", "3", *openai(any_model.address))
    assert done.code == 0
    for said in ("✔ yes", "json_schema", "3 of 3", "cannot tell", "free"):
        assert said in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_every_model_of_a_configuration(ultra: Any, any_model: Any, settings: Any) -> None:
    llms = {
        "one": {"provider": "openai", "options": {"model": "any", "base_url": f"{any_model.address}/v1"}},
        "two": {"provider": "ollama", "options": {"model": "any", "base_url": any_model.address}},
        "gone": {"provider": "ollama", "options": {"model": "any", "base_url": "http://127.0.0.1:9"}},
    }
    done = ultra("llm", "check", "--config", str(settings(llms=llms)), "--json", "--asks", "1")
    assert done.code == 2
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert rows["two"]["structured"] == "format"
    assert rows["two"]["context_tokens"] == 8192
    assert rows["one"]["ok"]
    assert not rows["gone"]["reachable"]
    assert "no Ollama server answers" in rows["gone"]["problem"]
    table = ultra("llm", "check", "--config", str(settings(llms=llms)), "--asks", "1")
    assert table.code == 2
    assert "gone: no Ollama server answers" in table.out
    assert "do: ollama serve" in table.out


def test_a_seed_that_is_honoured_and_one_that_is_not(any_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = LLMConfig(provider="openai", options={"model": "any", "base_url": f"{any_model.address}/v1"})
    openai_reply = any_model.openai

    def seeded(asked: dict[str, Any]) -> bytes:
        any_model.echo = f"seed {asked['seed']}"
        return bytes(openai_reply(asked))

    monkeypatch.setattr(any_model, "answer", lambda schema: {"reasoning": any_model.echo, "action": "UP", "hold": 1})
    monkeypatch.setattr(any_model, "openai", seeded)
    assert check_model("m", entry, asks=1).seed == "honoured"
    count = iter(range(100))

    def random(asked: dict[str, Any]) -> bytes:
        any_model.echo = f"draw {next(count)}"
        return bytes(openai_reply(asked))

    monkeypatch.setattr(any_model, "openai", random)
    assert check_model("m", entry, asks=1).seed == "not honoured"
    script = LLMConfig(provider="scripted", options={"replies": [{"reasoning": "r", "action": "UP", "hold": 1}] * 9})
    assert check_model("m", script, asks=1).seed == "not sent"


def test_bad_replies_are_counted_by_reason(any_model: Any) -> None:
    good = {"reasoning": "r", "action": "UP", "hold": 1}
    replies = [good] * 4 + ["what?", {"reasoning": "r", "action": "SIDEWAYS", "hold": 1}, good]
    made = check_model("m", LLMConfig(provider="scripted", options={"replies": replies}), asks=3)
    assert (made.valid, made.dropped) == (1, {"malformed reply": 1, "wrong fields": 1})
    assert made.ok


def test_a_model_that_only_writes_prose_is_found_out(any_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = any_model.openai

    def openai_reply(asked: dict[str, Any]) -> bytes:
        row = json.loads(plain({}))
        text = json.dumps({"reasoning": "r", "action": "UP", "hold": 1})
        told = "JSON schema" in asked["messages"][-1]["content"]
        row["choices"][0]["message"] = {
            "role": "assistant",
            "content": f"Sure: {text}" if told else "UP, I would say.",
        }
        return json.dumps(row).encode()

    monkeypatch.setattr(any_model, "openai", openai_reply)
    entry = LLMConfig(provider="openai", options={"model": "any", "base_url": f"{any_model.address}/v1"})
    made = check_model("m", entry, asks=2)
    assert (made.structured, made.valid) == ("json_object", 2)
    assert made.ways["json_schema"] == "malformed reply"


@pytest.mark.parametrize(("status", "said"), [(401, "HTTP 401"), (404, "HTTP 404"), (503, "does not answer")])
def test_a_model_that_refuses(ultra: Any, any_model: Any, status: int, said: str) -> None:
    any_model.fault = status, b'{"error": {"message": "no"}}'
    done = ultra("llm", "check", "--json", *openai(any_model.address))
    assert done.code == 2
    (row,) = json.loads(done.out)
    assert said in row["problem"]
    assert row["hint"]
    assert len(any_model.paths) == (3 if status == 503 else 1)  # a wrong key is not tried again


def test_a_parameter_the_server_does_not_take_is_named(ultra: Any, any_model: Any) -> None:
    any_model.refused = "temperature"
    done = ultra("llm", "check", "--json", "--asks", "2", *openai(any_model.address))
    assert done.code == 0, done.out
    (row,) = json.loads(done.out)
    assert (row["ok"], row["valid"], row["left_out"]) == (True, 2, ["temperature"])
    assert "options.temperature: null" in row["warnings"][0]
    table = ultra("llm", "check", "--asks", "1", *openai(any_model.address))
    assert "temperature" in table.out


def test_the_cause_of_a_refusal_is_the_problem_and_not_the_size_of_the_model(ultra: Any, any_model: Any) -> None:
    any_model.fault = 400, b'{"detail": "top_k is needed here"}'
    done = ultra("llm", "check", "--json", *openai(any_model.address))
    assert done.code == 2
    (row,) = json.loads(done.out)
    assert "top_k is needed here" in row["problem"]
    assert "larger model" not in row["hint"]


def test_what_was_noticed_is_told_first(any_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = any_model.openai

    def openai_reply(asked: dict[str, Any]) -> bytes:
        row = json.loads(plain({}))
        row["choices"][0]["message"] = {"role": "assistant", "content": "", "reasoning_content": "UP, or DOWN"}
        return json.dumps(row).encode()

    monkeypatch.setattr(any_model, "openai", openai_reply)
    entry = LLMConfig(provider="openai", options={"model": "any", "base_url": f"{any_model.address}/v1"})
    made = check_model("m", entry)
    assert made.warnings
    assert made.hint == f"{made.warnings[0]}; else try a larger model, or raise options.max_tokens"
