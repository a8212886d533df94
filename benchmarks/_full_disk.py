"""Runs whose disk is full from the beginning of one stage on, each stage in turn; then there is room again.

The runs are in a small file system in memory (tmpfs, mounted as root). When a stage begins, a file takes all that is
left of it. The run must end with exit status 2, one message that says to make room, and no traceback; with the file
gone it is resumed, and must end as the run that always had room: same weights, same advice, same charges, and no
answered question asked again. Counted too: runs that went on to their end, for their stage had written everything.
"""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _kills import LIMIT_S, RULES, Kill, Outcome, answer, outcome, play, settings, stage
from _reliability_server import Server, crashed, noted, server, start

from ultra_agents.runs import read_lines

SIZE = 48 << 20
SCENARIOS = ("moves", "rules")
STEPS = 2000
WRONG = (
    "other exit statuses",
    "tracebacks",
    "several messages",
    "no word of room",
    "not resumed",
    "differ",
    "requests",
)


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of `SIZE` bytes at `place`."""
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> Path:
    """A file that takes all the room of a file system."""
    ballast = place / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return ballast


def _calm(folder: Path, scenario: str) -> tuple[list[str], Outcome, int]:
    """The stages of a run that always has room, how it ends, and its requests."""
    folder.mkdir()
    with server(0, answer) as asked:
        play(folder, asked, STEPS, scenario, lambda: Kill(0.0), 0)
    rows = read_lines(folder / "runs/one/events.jsonl")
    names = [str(row["stage"]) for row in rows if row.get("event") == "StageStarted"]
    return list(dict.fromkeys(names)), outcome(folder), asked.requests


def _stopped(folder: Path, asked: Server, scenario: str, name: str) -> tuple[int, str, str]:
    """Run until the stage `name` begins, then without room: exit status, the stage it ended in, its output."""
    process = start(folder, settings(asked.address, STEPS, scenario))
    while process.poll() is None and stage(folder) != name:
        time.sleep(0.01)
    ballast = fill(folder / "runs")
    status = process.wait(LIMIT_S)
    where = stage(folder)
    ballast.unlink()
    return status, where, (folder / "output.txt").read_text(errors="replace")


def attack() -> dict[str, Any]:
    """Fill the disk at the beginning of every stage."""
    if os.geteuid() != 0:
        raise SystemExit("--disk mounts file systems: run it as root")
    wrong: Counter[str] = Counter(dict.fromkeys(WRONG, 0))
    ended: list[str] = []
    with tempfile.TemporaryDirectory(prefix="ultra-disk-") as root:
        for scenario in SCENARIOS:
            names, wanted, requests = _calm(Path(root, scenario), scenario)
            for number, name in enumerate(names):
                folder = Path(root, f"{scenario}-{number}")
                with small_disk(folder / "runs"), server(0, answer) as asked:
                    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
                    status, where, said = _stopped(folder, asked, scenario, name)
                    ended.append("to its end" if status == 0 else f"{status} in {where}")
                    if status != 0:
                        wrong["other exit statuses"] += status != 2
                        wrong["tracebacks"] += crashed(said)
                        wrong["several messages"] += said.count("error: ") != 1
                        wrong["no word of room"] += "make room" not in said
                    process = start(folder)
                    if (again := process.wait(LIMIT_S)) != 0:
                        wrong["not resumed"] += 1
                        output = (folder / "output.txt").read_text(errors="replace")[-2500:]
                        print(f"{scenario}, full from {name}: {ended[-1]}, then {again}:\n{output}", flush=True)
                        continue
                    found = outcome(folder)
                    wrong["differ"] += found != wanted
                    wrong["requests"] += max(asked.requests - noted(folder), 0)
                    more, same = asked.requests - requests, "as with room" if found == wanted else str((found, wanted))
                    print(f"{scenario}, full from {name}: {ended[-1]}; {more} requests more; {same}", flush=True)
                    if status not in (0, 2) or said.count("error: ") > 1 or "make room" not in said:
                        print(said[-1500:], flush=True)
    return {"ended": ended, "wrong": dict(wrong)}


def told(found: dict[str, Any]) -> str:
    """The figures as lines of text."""
    names = {"requests": "requests not accounted for", "differ": "end otherwise than with room"}
    stopped = sum(how != "to its end" for how in found["ended"])
    lines = [f"{len(found['ended'])} runs on a full disk, {stopped} of them stopped by it"]
    return "\n".join([*lines, *(f"{names.get(name, name):<28} {count}" for name, count in found["wrong"].items())])
