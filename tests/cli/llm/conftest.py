"""A loopback model that knows the corridor and speaks three protocols, and a small run to ask it in."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ultra_agents.testing.corridor_script import good

SMALL: dict[str, Any] = {
    "name": "one",
    "environment": {"name": "corridor", "options": {"length": 15, "max_steps": 40}},
    "policy": {"train_steps": 500},
    "methods": ["ultra-ra"],
    "collect": {"episodes": 1},
    "narration": {"segments_per_episode": 1, "token_budget": 120, "segment_steps": 6},
    "agents": {"max_critical": 1, "max_revisions": 0, "concurrency": 2},
    "verification": {"mode": "none"},
    "imitation": {"mode": "never"},
    "refine": {"steps": 600, "num_envs": 4, "workers": 0, "evaluate_every": 600, "curve_episodes": 2},
    "evaluate": {"episodes": 2},
}


class AnyModel:
    """OpenAI's, Ollama's and Anthropic's protocol; every question is answered in its schema.

    Attributes:
        fault: `(status, body)` instead of an answer, or None.
        refused: A parameter that requests may not have.
        echo: Written into the first text of every answer: a server that tells what it was sent.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.fault: tuple[int, bytes] | None = None
        self.refused = ""
        self.echo = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listed = {"data": [{"id": "any"}], "models": [{"name": "qwen3:8b"}, {"name": "any:latest"}]}
                self.say(200, json.dumps(listed).encode())

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.paths.append(self.path)
                outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                if outer.fault is not None:
                    self.say(*outer.fault)
                elif outer.refused in asked:
                    said = {"error": {"message": f"{outer.refused}: only the default (1) is supported"}}
                    self.say(400, json.dumps(said).encode())
                elif self.path.endswith("/api/chat"):
                    self.say(200, outer.ollama(asked), "application/x-ndjson")
                elif self.path.endswith("/v1/messages"):
                    self.say(200, outer.anthropic(asked))
                else:
                    self.say(200, outer.openai(asked))

            def say(self, status: int, body: bytes, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, schema: dict[str, Any] | None) -> dict[str, Any]:
        if schema is None:
            return {"story": "a lighthouse"}
        fields = schema["properties"]
        if "UP" in fields.get("action", {}).get("enum", ()):
            said = {"reasoning": "up", "action": "UP", "hold": 2}
        elif "moves" in fields and '"UP"' in json.dumps(schema):
            said = {"reasoning": "up", "moves": [{"action": "UP", "hold": 2}]}
        else:
            said = good([], schema)
        if self.echo:
            first = next(iter(said))
            if isinstance(said[first], str):
                said[first] = self.echo
            else:
                said[first][0]["case_analysis"] = self.echo
        return said

    def openai(self, asked: dict[str, Any]) -> bytes:
        wanted = asked.get("response_format", {}).get("json_schema", {}).get("schema")
        tools = asked.get("tools")
        message: dict[str, Any] = {"role": "assistant", "content": json.dumps(self.answer(wanted))}
        if tools:
            function = tools[0]["function"]
            said = {"name": function["name"], "arguments": json.dumps(self.answer(function["parameters"]))}
            message = {
                "role": "assistant", "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": said}],
            }  # fmt: skip
        row = {
            "id": "x", "object": "chat.completion", "created": 1, "model": "any",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        }  # fmt: skip
        return json.dumps(row).encode()

    def ollama(self, asked: dict[str, Any]) -> bytes:
        row = {
            "model": asked["model"], "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop",
            "message": {"role": "assistant", "content": json.dumps(self.answer(asked.get("format") or None))},
            "prompt_eval_count": 9, "eval_count": 4,
        }  # fmt: skip
        return (json.dumps(row) + "\n").encode()

    def anthropic(self, asked: dict[str, Any]) -> bytes:
        content: dict[str, Any] = {"type": "text", "text": "a lighthouse"}
        if asked.get("tools"):
            tool = asked["tools"][0]
            said = self.answer(tool["input_schema"])
            content = {"type": "tool_use", "id": "t", "name": tool["name"], "input": said}
        row = {
            "id": "m", "type": "message", "role": "assistant", "model": asked["model"], "content": [content],
            "stop_reason": "tool_use", "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 6},
        }  # fmt: skip
        return json.dumps(row).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def any_model() -> Iterator[AnyModel]:
    made = AnyModel()
    yield made
    made.close()


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    """Writes a configuration of a small run with other settings on top; its path."""

    def write(**changes: Any) -> Path:
        merged = {**SMALL, **changes}
        merged["agents"] = {**SMALL["agents"], **changes.get("agents", {})}
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(merged))
        return path

    return write
