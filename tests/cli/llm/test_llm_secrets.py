"""A canary key through every path a run has: it reaches the server, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

KEY = "sk-canary-cli-93a7"


@pytest.fixture
def everything(ultra: Any, settings: Any, any_model: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs every command there is about one run, at a server that repeats the key; all that was said and written."""
    monkeypatch.setenv("CANARY_KEY", KEY)

    def do(way: str) -> dict[str, str]:
        options: dict[str, Any] = {"model": "any", "base_url": f"{any_model.address}/v1"}
        if way == "file":
            Path("key").write_text(KEY)
            options["api_key_file"] = str(Path("key").absolute())
        else:
            options["api_key_env"] = "CANARY_KEY"
        llms = {"default": {"provider": "openai", "options": options}}
        if way == "langchain":
            monkeypatch.setenv("OPENAI_API_KEY", KEY)
            arguments = {"base_url": f"{any_model.address}/v1"}
            options = {"model": "any", "arguments": arguments, "structured": "json_schema"}
            llms = {"default": {"provider": "langchain:langchain_openai.ChatOpenAI", "options": options}}
        path = str(settings(llms=llms, gateway={"retries": 0}))
        said: dict[str, str] = {}
        for name, command in {
            "run": ["run", path, "--json"],
            "again": ["run", path, "--name", "plain", "--plain"],
            "log": ["llm", "log", "one"],
            "check": ["llm", "check", "--config", path, "--asks", "1", "--json"],
            "table": ["llm", "check", "--config", path, "--asks", "1"],
            "export": ["llm", "export", "one", "answers.jsonl"],
            "import": ["llm", "import", "answers.jsonl", "answers.sqlite"],
        }.items():
            done = ultra(*command)
            said[name] = f"{done.code}\n{done.out}\n{done.err}"
        for file in Path().rglob("*"):
            if file.is_file() and file.name != "key":
                said[str(file)] = file.read_bytes().decode("utf-8", "replace")
        return said

    return do


def leaks(said: dict[str, str]) -> list[str]:
    return [name for name, text in said.items() if KEY in text]


@pytest.mark.parametrize("way", ["environment", "file", "langchain"])
def test_a_run_whose_model_repeats_the_key(everything: Any, any_model: Any, way: str) -> None:
    any_model.echo = f"the key is {KEY}"
    said = everything(way)
    assert {row["authorization"] for row in any_model.headers} == {f"Bearer {KEY}"}
    assert all(said[name].startswith("0\n") for name in ("run", "log", "check", "export", "import")), said["run"]
    written = {Path(name).name for name in said}
    assert written >= {
        "transcript.jsonl", "events.jsonl", "advice.jsonl", "report.html", "report.json", "config.yaml",
        "llm-cache.sqlite", "answers.jsonl", "answers.sqlite", "state.json",
    }  # fmt: skip
    assert "the key is [secret]" in said["log"]
    assert "the key is [secret]" in said["answers.jsonl"]
    assert leaks(said) == []


@pytest.mark.parametrize(
    ("way", "status"),
    [("environment", 400), ("environment", 404), ("environment", 429), ("file", 401), ("langchain", 500)],
)
def test_a_run_whose_model_fails_with_the_key_on_its_lips(
    everything: Any, any_model: Any, way: str, status: int
) -> None:
    any_model.fault = status, f'{{"error": {{"message": "{KEY} is no good"}}}}'.encode()
    said = everything(way)
    assert said["run"].startswith("2\n")
    assert "[secret] is no good" in said["run"]
    assert "[secret] is no good" in said["check"]
    assert said["check"].startswith("2\n")
    assert leaks(said) == []
