"""langchain's callbacks and tracing: what they hear, that they hear no key, and that nothing is traced unasked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import ModuleType

import pytest
from langchain_core.callbacks import BaseCallbackHandler

from ultra_agents.errors import ConfigError
from ultra_agents.llm.tracing import SWITCHES

KEY = "sk-canary-trace-1"


class Listener(BaseCallbackHandler):
    """Writes down everything it is told."""

    def __init__(self):
        self.heard = []

    def on_chat_model_start(self, serialized, messages, **kwargs):
        self.heard.append(("start", json.dumps(serialized), repr(messages), repr(kwargs)))

    def on_llm_end(self, response, **kwargs):
        self.heard.append(("end", repr(response), repr(kwargs)))

    def on_llm_error(self, error, **kwargs):
        self.heard.append(("error", type(error).__name__, repr(kwargs)))


@pytest.fixture
def listener(monkeypatch):
    heard = Listener()
    module = ModuleType("my_tracing")
    module.make, module.nothing = lambda: heard, lambda: "no handler"
    monkeypatch.setitem(sys.modules, "my_tracing", module)
    for name in SWITCHES:
        monkeypatch.delenv(name, raising=False)
    return heard


def test_callbacks_hear_every_call_and_no_key(bench, server, listener, monkeypatch):
    monkeypatch.setenv("CANARY_KEY", KEY)
    server.queue = [(500, {}, b'{"error": {"message": "busy"}}'), server.ok(bench.GOOD)]
    llms = {"a": bench.openai(server, api_key_env="CANARY_KEY")}
    with bench.gateway(llms, callbacks=["my_tracing:make"]) as gateway:
        bench.ask(gateway, f"Is my key {KEY}?")
    assert [row[0] for row in listener.heard] == ["start", "error", "start", "end"]
    assert "You play Pong" in listener.heard[0][2]
    assert "Is my key [secret]?" in listener.heard[0][2]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(listener.heard)
    assert server.requests[-1]["messages"][1]["content"] == f"Is my key {KEY}?", "what is sent is never changed"


TRACED = """
import sys
from pathlib import Path
from pydantic import BaseModel
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.langchain import wait_for_all_tracers
from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.llm.gateway import Gateway

class Reply(BaseModel):
    action: str

folder, address, tracing = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "on"
llms = {"a": LLMConfig(provider="openai", options={"model": "m", "base_url": address, "api_key_env": "CANARY_KEY"})}
with Gateway(llms, GatewayConfig(tracing=tracing), folder) as gateway:
    RunnableLambda(lambda text: text).invoke("a graph, say")
    question = [("user", "Where to?")]
    gateway.ask(agent="critic", segment="s", models=(), messages=question, reply=Reply)
wait_for_all_tracers()
"""


@pytest.mark.parametrize("tracing", ["off", "on"])
def test_langsmith_hears_only_where_the_configuration_says_so_and_never_a_key(server, tmp_path, tracing):
    server.says({"action": "UP"})
    environment = {
        **os.environ,
        "CANARY_KEY": KEY,
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_ENDPOINT": server.address,
        "LANGSMITH_API_KEY": "for-langsmith",
        "LANGSMITH_DISABLE_RUN_COMPRESSION": "true",
    }
    arguments = [sys.executable, "-c", TRACED, str(tmp_path), f"{server.address}/v1", tracing]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = [body for path, body in zip(server.paths, server.bodies, strict=True) if path.startswith("/runs")]
    assert bool(told) is (tracing == "on")
    assert (b"Where to?" in b"".join(told)) is (tracing == "on")
    assert KEY.encode() not in b"".join(told)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("my_tracing:nothing", "makes no callback handler"),
        ("my_tracing:missing", "cannot be made"),
        ("no_such_package:make", "cannot be made"),
        ("my_tracing", "cannot be made"),
    ],
)
def test_callbacks_that_cannot_be_made(bench, listener, target, message):
    with pytest.raises(ConfigError, match=message):
        bench.gateway({"a": bench.scripted("x")}, callbacks=[target])
