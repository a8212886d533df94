"""The checks of `ultra doctor`, one function each. An exception or a hang in a check becomes a finding."""

from __future__ import annotations

import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ultra_agents.errors import UltraError

TIMEOUT_S = 60.0
"""Of one check."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        status: `ok`; `warn`: missing, and needed by some runs; `fail`: missing, and needed by every default run.
        do: The remedy, a command where there is one.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    do: str | None = None


def probe(name: str, check: Callable[[], Finding], timeout_s: float = TIMEOUT_S) -> Finding:
    """Run a check in a thread of its own: what it raises, or a timeout, becomes a finding."""
    answers: list[Finding] = []

    def work() -> None:
        try:
            answers.append(check())
        except UltraError as error:
            detail = error.problem + (f" ({error.found})" if error.found else "")
            answers.append(Finding(name, "fail", detail, error.hint))
        except Exception as error:
            missing = error.name if isinstance(error, ImportError) else None
            answers.append(
                Finding(
                    name, "fail", f"{type(error).__name__}: {error}", f"pip install {missing}" if missing else None
                )
            )

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return answers[0] if answers else Finding(name, "fail", f"no answer within {timeout_s:.0f} s")


def python(runs: Path) -> Finding:
    """Python's version: 3.11 or newer."""
    version = platform.python_version()
    if tuple(map(int, version.split(".")[:2])) < (3, 11):
        return Finding("python", "fail", version, "install Python 3.11 or newer")
    return Finding("python", "ok", f"{version} ({platform.system()} {platform.machine()})")


def machine(runs: Path) -> Finding:
    """Usable cores and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pages, free = _sysconf("SC_PHYS_PAGES"), _sysconf("SC_AVPHYS_PAGES")
    size = _sysconf("SC_PAGE_SIZE")
    if pages is None or size is None:
        return Finding("machine", "ok", f"{cores} cores")
    memory = pages * size / 2**30
    told = f"{cores} cores, {memory:.1f} GiB of memory" + (f" ({free * size / 2**30:.1f} free)" if free else "")
    if memory < 2:
        return Finding(
            "machine", "warn", told, "2 GiB are comfortable; use a smaller model or fewer llms.options.slots"
        )
    return Finding("machine", "ok", told)


def _sysconf(name: str) -> int | None:
    try:
        return os.sysconf(name)
    except (AttributeError, ValueError, OSError):
        return None


def torch(runs: Path) -> Finding:
    """PyTorch computes, with how many threads."""
    import torch as library

    total = float(library.ones(4).sum())
    if total != 4.0:
        return Finding(
            "torch", "fail", f"{library.__version__}: 1+1+1+1 gave {total}", "pip install --force-reinstall torch"
        )
    cuda = ", CUDA" if library.cuda.is_available() else ""
    return Finding("torch", "ok", f"{library.__version__}, {library.get_num_threads()} threads{cuda}")


def atari(runs: Path) -> Finding:
    """ALE has the ROM of Pong and can step it."""
    import ale_py

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    try:
        rom = ale_py.roms.get_rom_path("pong")
    except Exception as error:
        rom = None
        detail = f": {error}"
    else:
        detail = ""
    if rom is None:
        return Finding(
            "atari", "warn", f"ale-py {ale_py.__version__} has no ROM of Pong{detail}", "pip install --upgrade ale-py"
        )
    ale = ale_py.ALEInterface()
    ale.loadROM(rom)
    ale.act(0)
    if ale.getFrameNumber() < 1:
        return Finding("atari", "fail", "a step of Pong went nowhere", "pip install --force-reinstall ale-py")
    return Finding("atari", "ok", f"ale-py {ale_py.__version__}, Pong loads and steps")


def plugins(runs: Path) -> Finding:
    """Every registered plugin loads."""
    from ultra_agents.errors import PluginError
    from ultra_agents.registry import catalogue

    broken: list[str] = []
    for listing in catalogue():
        try:
            listing.load()
        except PluginError as error:
            broken.append(f"{listing.name} ({error.found})")
    if not catalogue():
        return Finding("plugins", "fail", "none is registered", "install the package: pip install -e .")
    if broken:
        return Finding("plugins", "warn", f"failing to load: {'; '.join(broken)}", "ultra plugins list")
    return Finding("plugins", "ok", f"{len(catalogue())} load")


def embedded(runs: Path) -> Finding:
    """The embedded model: package and weights are there, its server starts and answers."""
    from ultra_agents.registry import create_llm

    llm = create_llm("local", {"max_tokens": 8, "slots": 1, "context": 512, "timeout_s": 50})
    llm.check()
    began = time.monotonic()
    try:
        model = llm.open()
        started = time.monotonic() - began
        began = time.monotonic()
        reply = str(model.invoke("Say yes.").content).strip()
        took = time.monotonic() - began
    finally:
        llm.close()
    if not reply:
        return Finding("embedded LLM", "fail", f"{llm.model_name} answered nothing", "ultra llm list")
    return Finding("embedded LLM", "ok", f"{llm.model_name} serves after {started:.1f} s, answers in {took:.1f} s")


def writable(runs: Path) -> Finding:
    """The folder of runs is writable and has at least 1 GiB free."""
    place = runs.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            pass
    except OSError as error:
        return Finding("runs", "fail", f"{runs} cannot be written: {error}", "choose another folder with --runs DIR")
    import shutil

    free = shutil.disk_usage(place).free / 2**30
    if free < 1:
        return Finding("runs", "warn", f"{runs}: only {free:.2f} GiB free", "make room: a run takes some hundred MiB")
    return Finding("runs", "ok", f"{runs} can be written, {free:.0f} GiB free")


def openai(runs: Path) -> Finding:
    """Whether a key is set; its value is neither used nor shown."""
    if os.environ.get("OPENAI_API_KEY"):
        return Finding("OpenAI", "ok", "OPENAI_API_KEY is set")
    return Finding(
        "OpenAI", "warn", "OPENAI_API_KEY is not set", "needed for the provider openai only: export OPENAI_API_KEY=..."
    )


def ollama(runs: Path) -> Finding:
    """Whether an Ollama server listens."""
    from urllib.error import URLError
    from urllib.request import ProxyHandler, build_opener

    host = os.environ.get("OLLAMA_HOST") or "127.0.0.1:11434"
    address = host if "://" in host else f"http://{host}"
    try:
        with build_opener(ProxyHandler({})).open(f"{address}/api/version", timeout=2) as answer:
            answer.read(200)
    except (URLError, OSError, ValueError):
        return Finding(
            "Ollama", "warn", f"nothing answers at {address}", "needed for the provider ollama only: ollama serve"
        )
    return Finding("Ollama", "ok", f"answers at {address}")


PROBES: Mapping[str, Callable[[Path], Finding]] = {
    "python": python, "machine": machine, "torch": torch, "atari": atari, "plugins": plugins,
    "embedded LLM": embedded, "runs": writable, "OpenAI": openai, "Ollama": ollama,
}  # fmt: skip
