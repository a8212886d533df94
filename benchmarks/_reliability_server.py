"""What the parts of `reliability.py` share: a model server on this machine, runs in folders, a look for keys."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from ultra_agents.runs import read_lines
from ultra_agents.testing import corridor_script

ULTRA = [sys.executable, "-m", "ultra_agents.cli.main"]
KEY = "sk-canary-7Qm2/xT+94=fLz0vB8kR1"
"""The key of the server: with characters that are written otherwise in addresses and in base64."""
KEY_VARIABLE = "ULTRA_CANARY_KEY"

Answer = Callable[[BaseHTTPRequestHandler, dict[str, Any], random.Random], None]


class Server:
    """A chat-completions server on this machine that counts requests and answers each as `answer` does."""

    def __init__(self, seed: int, answer: Answer) -> None:
        self.requests = 0
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                send(self, json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    outer.requests += 1
                    rng = random.Random(f"{seed} {outer.requests}")
                answer(self, body, rng)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:  # the client was killed, or hung up
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def server(seed: int, answer: Answer) -> Iterator[Server]:
    """A `Server`, closed at the end."""
    made = Server(seed, answer)
    try:
        yield made
    finally:
        made.close()


def send(
    handler: BaseHTTPRequestHandler, content: bytes, status: int = 200, headers: dict[str, str] | None = None
) -> None:
    """Send a whole answer; `headers` replace the usual ones."""
    handler.send_response(status)
    usual = {"content-type": "application/json", "content-length": str(len(content))}
    for name, value in {**usual, **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


def schema_of(body: dict[str, Any]) -> dict[str, Any]:
    """The schema a request asks for, in whichever form it was sent."""
    form = body.get("response_format") or {}
    if "json_schema" in form:
        return dict(form["json_schema"]["schema"])
    if body.get("tools"):
        return dict(body["tools"][0]["function"]["parameters"])
    return dict(json.loads(body["messages"][-1]["content"].rpartition("nothing else:\n")[2]))


def said(body: dict[str, Any]) -> dict[str, Any]:
    """What a sensible model answers."""
    return corridor_script.good(body["messages"], schema_of(body))


def completion(body: dict[str, Any], content: Any, **changes: Any) -> dict[str, Any]:
    """A chat completion that says `content`, a text or what is to become JSON."""
    text = content if isinstance(content, str) else json.dumps(content)
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if body.get("tools"):
        function = {"name": body["tools"][0]["function"]["name"], "arguments": text}
        message = {"role": "assistant", "content": None, "tool_calls": [
            {"id": "1", "type": "function", "function": function}]}  # fmt: skip
    return {
        "id": "1", "object": "chat.completion", "created": 0, "model": body.get("model", "m"),
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}, **changes,
    }  # fmt: skip


def run_settings(address: str, **changes: Any) -> dict[str, Any]:
    """A corridor whose agents ask the server at `address` with `KEY`."""
    options = {"model": "m", "base_url": address, "structured": "json_schema", "api_key_env": KEY_VARIABLE}
    return {
        "name": "one",
        "environment": {"name": "corridor", "options": {"length": 21, "slip": 0.2, "max_steps": 60}},
        "policy": {"train_steps": 300},
        "llms": {"default": {"provider": "openai", "options": options, "price_prompt": 1.0, "price_completion": 3.0}},
        "collect": {"episodes": 6},
        "agents": {"concurrency": 2, "rules": "text"},
        "verification": {"max_pairs": 4, "min_pairs": 2},
        **changes,
    }


def start(
    folder: Path, settings: dict[str, Any] | None = None, display: str = "--plain", terminal: int | None = None
) -> subprocess.Popen[bytes]:
    """Begin the run `one` in `folder`, or take it up where it was begun; its output is added to `output.txt`.

    Args:
        folder: Holds `config.yaml` and `runs`.
        settings: Written to `config.yaml` first.
        display: How the run tells what it does.
        terminal: Descriptor of a terminal, for the live screen.
    """
    if settings is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    words = ["resume", "runs/one"] if (folder / "runs/one").is_dir() else ["run", "config.yaml"]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", KEY_VARIABLE: KEY, "TERM": "xterm-256color"}
    if terminal is not None:
        return subprocess.Popen(
            [*ULTRA, *words], cwd=folder, env=variables, stdin=terminal, stdout=terminal, stderr=terminal,
            start_new_session=True,
        )  # fmt: skip
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [*ULTRA, *words, display], cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip


def noted(folder: Path) -> int:
    """Requests that the transcript accounts for: replies that were paid for and calls cut off by a kill."""
    return sum(not row.get("cached") for row in read_lines(folder / "runs/one/transcript.jsonl"))


def left_behind(folder: Path) -> list[str]:
    """Drafts and temporary files that a finished run should have swept."""
    name = re.compile(r"\.one-\d+-[a-z0-9_]{8}|\..+\.tmp")
    return [str(path) for path in (folder / "runs").rglob(".*") if name.fullmatch(path.name)]


def leaks(folder: Path) -> list[str]:
    """Files below `folder` with three quarters of the key, or more, in any spelling."""
    raw, quoted = KEY.encode(), urllib.parse.quote(KEY, safe="").encode()
    encoded = [base64.b64encode(b"0" * before + raw)[(0, 2, 3)[before] : -2] for before in range(3)]
    parts = [part for one in (raw, quoted, quoted.lower(), *encoded)
             for part in (one[: 3 * len(one) // 4], one[len(one) // 4 :])]  # fmt: skip
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and any(part in path.read_bytes() for part in parts)
    ]


def crashed(output: str) -> bool:
    """Whether a run's output tells of a defect of ours, or of a display that gave up."""
    return any(words in output for words in ("Traceback (most recent call last)", "internal error", "display failed"))
