"""Runs answered by a faulty server: most answers are wrong in one of many ways, mixed at random.

Runs of moves and of rules on a corridor, four segments at a time, with plain output, JSON events or the live screen
(replies then come as a stream). A process must end with exit status 0, or with 2 and one message, and is then resumed
until the run is finished. Counted: other exit statuses and tracebacks, processes without an end, requests that are not
in the transcript, unreadable lines, files left behind, keys in any file or output.
"""

from __future__ import annotations

import json
import os
import pty
import random
import subprocess
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from _fault_kinds import FAULTS, LAST, LAST_SHARE, TIMEOUT_S, stream
from _reliability_server import (
    completion,
    crashed,
    leaks,
    left_behind,
    noted,
    run_settings,
    said,
    send,
    server,
    start,
)  # fmt: skip

SHARE = 0.7
"""Of answers that are faulty."""
LIMIT_S = 900.0
"""A process that takes longer hangs."""
PROCESSES = 40
"""A run that is not finished after so many processes is given up, and counted as a run without an end."""
DISPLAYS = ("--plain", "--json", "live")
REDIRECTED = "redirect to itself"


class Faulty:
    """Answers a share of the requests with a fault, and counts which.

    Attributes:
        share: Of answers that are faulty.
        counts: Of each kind.
        not_paid: Requests that are part of another call.
    """

    def __init__(self, share: float = SHARE) -> None:
        self.share, self.counts, self._lock = share, Counter[str](), threading.Lock()
        self.not_paid = 0

    def __call__(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], rng: random.Random) -> None:
        """Answer one request."""
        if rng.random() >= self.share:
            if body.get("stream"):
                stream(handler, body, rng)
            else:
                send(handler, json.dumps(completion(body, said(body))).encode())
            return
        kinds = LAST if rng.random() < LAST_SHARE else FAULTS
        name = rng.choice(list(kinds))
        with self._lock:
            self.counts[name] += 1
            self.not_paid += name == REDIRECTED  # the client follows it a few times within one call
        kinds[name](handler, body, rng)


def settings(address: str, number: int) -> dict[str, Any]:
    """One of the runs: mostly explaining, with very little refining."""
    refine = {"steps": 1200, "num_envs": 2, "workers": 0, "evaluate_every": 600, "curve_episodes": 2}
    rules = number % 4 == 3
    made = run_settings(
        address,
        seed=number,
        collect={"episodes": 150},
        agents={"concurrency": 4, "rules": "text", "max_revisions": 2},
        gateway={"retries": 25, "retry_wait_s": 0.0, "breaker": 1000},
        verification={"max_pairs": 2, "min_pairs": 2, "screen_pairs": 0, "horizon": 8, "joint_max_steps": 300},
        imitation={"mode": "never"},
        refine=refine,
        evaluate={"episodes": 2, "video": False},
        methods=["ultra-ra"],
    )
    made["llms"]["default"]["options"] |= {"timeout_s": TIMEOUT_S}
    if rules:
        made["advice"] = {"form": "rules"}
    return made


def _waited(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def _ended(folder: Path, made: dict[str, Any] | None, display: str) -> int | None:
    """Run one process to its end; its exit status, None where it had to be ended."""
    if display != "live":
        return _waited(start(folder, made, display))
    master, slave = pty.openpty()
    try:
        process = start(folder, made, terminal=slave)
        os.close(slave)
        reader = threading.Thread(target=_drain, args=(master, folder / "output.txt"), daemon=True)
        reader.start()
        status = _waited(process)
        reader.join(5)
    finally:
        os.close(master)
    return status


def _drain(master: int, place: Path) -> None:
    with place.open("ab") as file:
        while True:
            try:
                data = os.read(master, 1 << 16)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            file.write(data)
            file.flush()


def _unreadable(folder: Path) -> int:
    """Lines of logs that are no JSON, or hold what is no text."""
    bad = 0
    for path in (folder / "runs/one").glob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            try:
                json.dumps(json.loads(line.decode()), ensure_ascii=False).encode()
            except ValueError:
                bad += 1
    return bad


WRONG = ("crashes", "hangs", "runs without an end", "requests", "unreadable lines", "files left behind", "keys found")


def attack(faults: int, seed: int, share: float = SHARE, most: int | None = None) -> dict[str, Any]:
    """Answer runs wrongly until `faults` answers were faulty.

    Args:
        faults: Wanted, in all.
        seed: Of the faults.
        share: Of answers that are faulty.
        most: Runs, at most.
    """
    counts, wrong, statuses = Counter[str](), Counter(dict.fromkeys(WRONG, 0)), Counter[int]()
    runs = requests = 0
    messages: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="ultra-faults-") as place:
        while counts.total() < faults and (most is None or runs < most):
            folder, faulty, display = Path(place, str(runs)), Faulty(share), DISPLAYS[runs % len(DISPLAYS)]
            folder.mkdir()
            began = time.monotonic()
            with server(seed * 1000 + runs, faulty) as asked:
                made: dict[str, Any] | None = settings(asked.address, runs)
                status: int | None = None
                for _ in range(PROCESSES):
                    status = _ended(folder, made, display)
                    made = None
                    statuses[-1 if status is None else status] += 1
                    output = (folder / "output.txt").read_text(errors="replace")
                    if status is None:
                        wrong["hangs"] += 1
                    elif status not in (0, 2) or crashed(output):
                        wrong["crashes"] += 1
                    if status != 2 or crashed(output):
                        break
                    (folder / "output.txt").replace(folder / f"output-{statuses.total()}.txt")
                    messages.update(line[:90] for line in output.splitlines() if line.startswith("error"))
                    if not (folder / "runs/one").is_dir():
                        made = settings(asked.address, runs)
                if status not in (0, None):
                    wrong["runs without an end"] += 1
                if status != 0:
                    print(f"run {runs} {display} ended with {status}:\n{output[-3000:]}", flush=True)
                requests += asked.requests
            missing = asked.requests - faulty.not_paid - noted(folder)
            wrong["requests"] += max(missing, 0)
            wrong["unreadable lines"] += _unreadable(folder)
            behind, keys = left_behind(folder), leaks(folder)
            wrong["files left behind"] += len(behind)
            wrong["keys found"] += len(keys)
            counts += faulty.counts
            told = f"missing {missing}, {behind}, {keys}" if missing > 0 or behind or keys else ""
            seconds = time.monotonic() - began
            print(f"run {runs} {display}: {asked.requests} requests, {faulty.counts.total()} faulty, {seconds:.0f} s "
                  f"{told}", flush=True)  # fmt: skip
            runs += 1
    return {"runs": runs, "requests": requests, "faults": counts.total(), "kinds": dict(counts),
            "statuses": dict(statuses), "messages": dict(messages), "wrong": dict(wrong)}  # fmt: skip


def told(found: dict[str, Any]) -> str:
    """The figures as lines of text."""
    kinds = found["kinds"]
    ended = ", ".join(f"{count} with {status}" for status, count in sorted(found["statuses"].items()))
    lines = [
        f"{found['faults']} faulty answers of {len(kinds)} kinds ({min(kinds.values())} to {max(kinds.values())} of "
        f"each) among {found['requests']} requests of {found['runs']} runs",
        f"processes ended: {ended}",
    ]
    names = {"requests": "requests not accounted for"}
    return "\n".join([*lines, *(f"{names.get(name, name):<26} {count}" for name, count in found["wrong"].items())])
