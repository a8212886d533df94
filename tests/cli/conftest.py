"""The command line in this process, with a stand-in for the pipeline where a test gives one."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ultra_agents.cli.main import invoke

SETTINGS: dict[str, Any] = {
    "name": "one",
    "environment": {"name": "corridor"},
    "policy": {"train_steps": 1000},
    "llms": {
        "default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
    },
}


@dataclass(frozen=True)
class Done:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def ultra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs `ultra ...` in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Done:
        code = invoke(arguments)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file of a small run."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], None]:
    """Puts a function of its first four arguments in the place of `run_pipeline`."""

    def put(function: Callable[..., None]) -> None:
        module = types.ModuleType("ultra_agents.pipeline")
        module.run_pipeline = lambda *given: function(*given[:4])  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "ultra_agents.pipeline", module)

    return put
