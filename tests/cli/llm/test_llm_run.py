"""What a run does with its models: it stops in the middle of a call, and looks for all of them before it spends."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.config import load_config
from ultra_agents.errors import Interrupted
from ultra_agents.pipeline import run_pipeline
from ultra_agents.runs import RunFolder


def openai(address: str, **options: Any) -> dict[str, Any]:
    return {"provider": "openai", "options": {"model": "any", "base_url": f"{address}/v1", **options}}


def test_stop_ends_a_run_whose_model_hangs(settings: Any, any_model: Any, tmp_path: Path) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(handler: Any) -> None:
        asked.set()
        release.wait(60)

    any_model._server.RequestHandlerClass.do_POST = hang
    llms = {"default": openai(any_model.address, timeout_s=20)}
    folder = RunFolder.create(tmp_path / "runs", load_config(settings(llms=llms, gateway={"retries": 0})))
    try:
        with pytest.raises(Interrupted):  # waiting for the model instead ends in "does not answer"
            run_pipeline(folder, folder.config, lambda event: None, asked.is_set, "measure")
    finally:
        release.set()


def test_a_missing_advisor_is_noticed_before_the_identifier_spends(ultra: Any, settings: Any, any_model: Any) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        gone = openai(f"http://127.0.0.1:{taken.getsockname()[1]}")
        changes = {"llms": {"here": openai(any_model.address), "gone": gone}, "agents": {"advisor": {"llm": "gone"}}}
        done = ultra("run", str(settings(**changes)), "--plain")
    assert done.code == 2
    assert "no model server answers at" in done.err
    assert any_model.paths == []
