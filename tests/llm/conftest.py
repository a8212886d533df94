"""A loopback server that fails in chosen ways, and gateways in a temporary folder."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.llm.gateway import Gateway


class Move(BaseModel):
    rationale: str = Field(max_length=80)
    step: Literal[3, 6]
    action: Literal["UP", "DOWN"]


GOOD = {"rationale": "the ball is above", "step": 3, "action": "UP"}


def completion(text, finish="stop"):
    """An OpenAI chat completion that says `text`."""
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


class Server:
    """Answers from a queue of `(status, headers, body)`; the last one is repeated. `None` hangs until released.

    The list of models is not taken from the queue; `models` is what it says, `listed` how often it was asked for.
    """

    def __init__(self):
        self.queue = []
        self.models = 200, {}, b'{"object": "list", "data": [{"id": "m", "object": "model"}]}'
        self.listed = 0
        self.requests = []
        self.bodies = []
        self.paths = []
        self.headers = []
        self.release = threading.Event()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.listed += 1
                self.answer(*outer.models)

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with outer._lock:
                    outer.bodies.append(body)
                    outer.requests.append(json.loads(body) if body[:1] == b"{" else None)
                    outer.paths.append(self.path)
                    outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                    answer = outer.queue.pop(0) if len(outer.queue) > 1 else outer.queue[0]
                if answer is None:
                    outer.release.wait(20)
                    return
                self.answer(*answer)

            def answer(self, status, headers, content):
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(int(headers.get("x-claims", len(content)))))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def says(self, *texts):
        """Queue well-formed completions."""
        self.queue = [self.ok(text) for text in texts]

    @staticmethod
    def ok(text, finish="stop"):
        said = text if isinstance(text, str) else json.dumps(text)
        return 200, {}, json.dumps(completion(said, finish)).encode()

    def close(self):
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


class Bench:
    """Makes gateways in one folder and remembers their events."""

    Move = Move
    GOOD = GOOD

    def __init__(self, folder):
        self.folder = folder
        self.events = []

    def gateway(self, llms, stop=None, chains=(), folder=None, **config):
        config = {"retries": 2, "retry_wait_s": 0.0, **config}
        return Gateway(llms, GatewayConfig(**config), folder or self.folder, self.events.append, stop, chains)

    def scripted(self, *replies, cycle=False, **entry):
        return LLMConfig(provider="scripted", options={"replies": list(replies), "cycle": cycle}, **entry)

    def openai(self, server, **options):
        entry = {key: options.pop(key) for key in list(options) if key in LLMConfig.model_fields and key != "options"}
        options = {"model": "m", "base_url": f"{server.address}/v1", "timeout_s": 5.0, **options}
        return LLMConfig(provider="openai", options=options, **entry)

    def ask(self, gateway, text="What now?", models=(), **more):
        return gateway.ask(
            agent=more.pop("agent", "identifier"),
            segment=more.pop("segment", "0:0-9"),
            models=models,
            messages=[("system", "You play Pong."), ("user", text)],
            reply=more.pop("reply", Move),
            **more,
        )

    def rows(self):
        return [json.loads(line) for line in (self.folder / "transcript.jsonl").read_text().splitlines()]

    def verdicts(self):
        return [row["verdict"] for row in self.rows()]
