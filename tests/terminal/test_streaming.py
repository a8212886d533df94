"""A reply streams to a real terminal and to no log; without a display that shows it, no stream is requested."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.terminal.terminal import Terminal
from ultra_agents.cli.run_display import execute
from ultra_agents.config import load_config
from ultra_agents.runs import RunFolder
from ultra_agents.testing.corridor_script import good
from ultra_agents.ui.panels.conversation import CURSOR

ULTRA = [sys.executable, "-m", "ultra_agents.cli.main"]


class Writer:
    """A model server that writes the first half of each reply, and the rest once it may."""

    def __init__(self) -> None:
        self.may, self.streamed = threading.Event(), set[bool]()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.begin("application/json")
                self.wfile.write(b'{"data": [{"id": "m"}]}')

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                said = json.dumps(good([], asked["response_format"]["json_schema"]["schema"]))
                outer.streamed.add(asked.get("stream") is True)
                usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
                self.about = {"id": "x", "created": 1, "model": "m"}
                if not asked.get("stream"):
                    self.begin("application/json")
                    self.wfile.write(self.row("chat.completion", "message", said, "stop", usage))
                    return
                self.begin("text/event-stream")
                half = len(said) // 2
                self.event(self.row("chat.completion.chunk", "delta", said[:half]))
                outer.may.wait(60)
                self.event(self.row("chat.completion.chunk", "delta", said[half:], "stop", usage))
                self.event(b"[DONE]")

            def row(self, kind: str, what: str, text: str, finish: str | None = None, usage: Any = None) -> bytes:
                choice = {"index": 0, "finish_reason": finish, what: {"role": "assistant", "content": text}}
                return json.dumps({**self.about, "object": kind, "choices": [choice], "usage": usage}).encode()

            def event(self, data: bytes) -> None:
                self.wfile.write(b"data: " + data + b"\n\n")

            def begin(self, kind: str) -> None:
                self.send_response(200)
                self.send_header("content-type", kind)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.may.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def writer() -> Iterator[Writer]:
    made = Writer()
    yield made
    made.close()


@pytest.fixture
def config(tmp_path: Path, writer: Writer) -> Path:
    path = tmp_path / "config.yaml"
    settings = {
        "name": "one",
        "environment": {"name": "corridor"},
        "policy": {"train_steps": 500},
        "llms": {"default": {"provider": "openai", "options": {"model": "m", "base_url": writer.address}}},
        "collect": {"episodes": 1},
        "methods": ["ultra-ra"],
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def test_a_reply_streams_to_the_screen_and_in_no_log(config: Path, tmp_path: Path, writer: Writer) -> None:
    with Terminal(110, 32).start([*ULTRA, "explain", str(config)], cwd=tmp_path) as run:
        text = run.wait_for(CURSOR)
        assert "identifier default" in text
        assert "writing …" in text
        assert "cases: case_analysis: scripted" in text
        assert "✔  7 tokens" not in text
        writer.may.set()
        assert run.wait_exit() == 0
    assert writer.streamed == {True}
    log = (tmp_path / "runs/one/events.jsonl").read_text()
    assert "ReplyStreaming" not in log
    assert '"AgentSpoke"' in log


def test_lines_of_json_hold_whole_replies_only(
    config: Path, tmp_path: Path, writer: Writer, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(RunFolder.create(tmp_path / "runs", load_config(config)), "json", "measure")
    kinds = {json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()}
    assert "AgentSpoke" in kinds
    assert "ReplyStreaming" not in kinds
    assert writer.streamed == {False}
