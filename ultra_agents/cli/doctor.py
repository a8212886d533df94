"""`ultra doctor`: is everything here that a run needs?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import typer

Status: TypeAlias = Literal["ok", "warn", "fail"]
STYLES: dict[Status, str] = {"ok": "green", "warn": "yellow", "fail": "red"}


class Finding(NamedTuple):
    """One line of the table: what was looked at, how it is, what was seen, what to do."""

    what: str
    status: Status
    seen: str
    do: str = ""


def doctor() -> None:
    """Check Python, libraries, the emulator, the embedded model, providers; exits with 2 if something is missing."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("what", "", "seen", "do", box=None, pad_edge=False)
    failed = False
    for check in (_python, _machine, _torch, _pong, _embedded, _openai, _ollama, _folder):
        found = _guarded(check)
        failed |= found.status == "fail"
        table.add_row(found.what, Text(found.status, STYLES[found.status]), Text(found.seen), Text(found.do))
    Console().print(table)
    if failed:
        raise typer.Exit(2)


def _guarded(check: Callable[[], Finding]) -> Finding:
    """A check that breaks is itself a finding."""
    try:
        return check()
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        do = getattr(error, "hint", None) or "pip install -c constraints.txt -e '.[local]'"
        return Finding(check.__name__.strip("_"), "fail", first, do)


def _python() -> Finding:
    found = sys.version.split()[0]
    return Finding("python", "ok" if sys.version_info >= (3, 11) else "fail", found, "")


def _machine() -> Finding:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    enough = memory >= 4
    return Finding("machine", "ok" if enough else "warn", f"{os.cpu_count()} cores, {memory:.0f} GiB of memory")


def _torch() -> Finding:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU (none is needed)"
    return Finding("torch", "ok", f"{torch.__version__}, {device}")


def _pong() -> Finding:
    from ultra_agents.registry import create_environment
    from ultra_agents.rollout.simulators import make_simulators

    environment = create_environment("pong")
    with make_simulators(environment, 1) as simulators:
        simulators.reset(seed=[0])
        simulators.step([0])
    return Finding("pong", "ok", f"{environment.env_id} steps")


def _embedded() -> Finding:
    from ultra_agents.registry import create_llm

    model = create_llm("local", {"max_tokens": 8, "context": 512})
    try:
        answer = model.open().invoke("Say yes.")
    finally:
        model.close()
    return Finding("embedded model", "ok", f"answers ({len(str(answer.content))} characters)")


def _openai() -> Finding:
    there = bool(os.environ.get("OPENAI_API_KEY"))
    seen = "OPENAI_API_KEY is set" if there else "OPENAI_API_KEY is not set"
    return Finding("openai", "ok" if there else "warn", seen, "" if there else "only needed for provider: openai")


def _ollama() -> Finding:
    import socket

    with socket.socket() as probe:
        probe.settimeout(0.5)
        there = probe.connect_ex(("127.0.0.1", 11434)) == 0
    seen = "answers on 127.0.0.1:11434" if there else "nothing on 127.0.0.1:11434"
    return Finding("ollama", "ok" if there else "warn", seen, "" if there else "only needed for provider: ollama")


def _folder() -> Finding:
    place = Path("runs") if Path("runs").exists() else Path()
    able = os.access(place, os.W_OK)
    return Finding("runs folder", "ok" if able else "fail", str(place.resolve()), "" if able else "use --runs DIR")
