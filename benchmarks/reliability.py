"""Runs killed at random moments and resumed, against the same run left alone.

    python benchmarks/reliability.py --kills 200 --seed 0 [--kills-per-run 3]

A corridor is explained and refined, two segments at a time, by a scripted model behind a server on this machine, asked
through the real gateway. Each run is killed (SIGKILL) several times, at random moments, most of them while it
explains, and resumed after each. At its end the refined weights, advice.jsonl and the environment steps charged to
every method must equal those of the run left alone, to the bit, and every request the server saw must be a line of the
transcript: a reply that was paid for, or a call that was under way when the process was killed. Exit status 1 where
anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from ultra_agents.policies import read_safetensors
from ultra_agents.runs import read_lines
from ultra_agents.testing import corridor_script

ULTRA = [sys.executable, "-m", "ultra_agents.cli.main"]
REPLY_S = 0.03
"""Mean seconds the server thinks about a reply: long enough that kills hit calls under way."""
WHILE_EXPLAINING = 0.7
"""Share of the kills that wait for a request, as long as there are any to come; the others hit the whole run."""


@dataclass(frozen=True)
class Outcome:
    """What a finished run must have in common with every other one.

    Attributes:
        weights: Digest of every array of the checkpoints of policies.
        advice: Digest of `advice.jsonl`.
        charges: Environment steps by purpose.
    """

    weights: str
    advice: str
    charges: str


class Server:
    """A chat-completions server on this machine that answers as `corridor_script.good` and counts requests."""

    def __init__(self, seed: int) -> None:
        self.requests = 0
        self._lock, self._rng = threading.Lock(), random.Random(seed)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer._lock:
                    outer.requests += 1
                    wait = outer._rng.expovariate(1 / REPLY_S)
                time.sleep(wait)
                content = json.dumps(_completion(body)).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:  # the client was killed
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def server(seed: int) -> Iterator[Server]:
    """A `Server`, closed at the end."""
    made = Server(seed)
    try:
        yield made
    finally:
        made.close()


def _completion(body: dict[str, Any]) -> dict[str, Any]:
    schema = body["response_format"]["json_schema"]["schema"]
    said = json.dumps(corridor_script.good(body["messages"], schema))
    return {
        "id": "1", "object": "chat.completion", "created": 0, "model": body["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }  # fmt: skip


def settings(address: str, steps: int) -> dict[str, Any]:
    """A run whose agents ask the server at `address` two segments at a time; `steps` of refining."""
    options = {"model": "m", "base_url": address, "structured": "json_schema"}
    return {
        "name": "one",
        "environment": {"name": "corridor", "options": {"length": 21, "slip": 0.2, "max_steps": 60}},
        "policy": {"train_steps": 300},
        "llms": {"default": {"provider": "openai", "options": options}},
        "collect": {"episodes": 6},
        "agents": {"concurrency": 2},
        "imitation": {"mode": "never"},
        "verification": {"max_pairs": 4, "min_pairs": 2},
        "refine": {"steps": steps, "num_envs": 2, "workers": 0, "evaluate_every": steps // 4, "curve_episodes": 2},
        "evaluate": {"episodes": 4},
        "methods": ["ultra-ra", "continue"],
    }


def _start(folder: Path) -> subprocess.Popen[bytes]:
    begun = (folder / "runs/one").is_dir()
    words = ["resume", "runs/one"] if begun else ["run", "config.yaml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [*ULTRA, *words, "--plain"], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


def stage(folder: Path) -> str:
    """The stage a run is in, by its event log."""
    rows = [row for row in read_lines(folder / "runs/one/events.jsonl") if row.get("event") == "StageStarted"]
    return str(rows[-1]["stage"]) if rows else "start"


@dataclass(frozen=True)
class Kill:
    """When to kill: `seconds` after the process began, or after the server saw its request number `request`."""

    seconds: float
    request: int | None = None


def _killed(process: subprocess.Popen[bytes], asked: Server, kill: Kill) -> bool:
    """Kill `process` at its moment; False where it ended before."""
    while kill.request is not None and asked.requests < kill.request and process.poll() is None:
        time.sleep(0.002)
    try:
        process.wait(kill.seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def play(folder: Path, asked: Server, steps: int, draw: Callable[[], Kill], kills: int) -> list[str]:
    """Run in `folder`, `kills` times killed at a drawn moment and resumed; the stages it was killed in.

    Raises:
        RuntimeError: It ended with another status than 0.
    """
    (folder / "config.yaml").write_text(yaml.safe_dump(settings(asked.address, steps)), encoding="utf-8")
    killed: list[str] = []
    process = _start(folder)
    while len(killed) < kills and _killed(process, asked, draw()):
        killed.append(stage(folder))
        process = _start(folder)
    if (status := process.wait()) != 0:
        output = (folder / "output.txt").read_text(errors="replace")
        raise RuntimeError(f"the run ended with {status} after kills in {killed}:\n{output[-3000:]}")
    return killed


def outcome(folder: Path) -> Outcome:
    """What a finished run left behind."""
    run, weights = folder / "runs/one", hashlib.sha256()
    for path in sorted((run / "checkpoints").glob("*.safetensors")):
        for name, array in sorted(read_safetensors(path)[1].items()):
            weights.update(f"{path.name} {name} {array.shape}".encode() + array.tobytes())
    done = json.loads((run / "state.json").read_text(encoding="utf-8"))["done"]
    charges = [(row["method"], row["env_steps"]) for row in done["evaluate"]["value"]]
    advice = hashlib.sha256((run / "advice.jsonl").read_bytes()).hexdigest()
    return Outcome(weights.hexdigest(), advice, json.dumps(charges, sort_keys=True))


def noted(folder: Path) -> int:
    """Requests that the transcript accounts for: replies that were paid for and calls cut off by a kill."""
    rows = read_lines(folder / "runs/one/transcript.jsonl")
    return sum(not row.get("cached") for row in rows)


def attack(kills: int, seed: int, per_run: int = 3, steps: int = 8000) -> dict[str, Any]:
    """Kill runs until `kills` have hit; what differed from the run left alone.

    Args:
        kills: Wanted, in all.
        seed: Of the moments.
        per_run: Kills of one run.
        steps: Environment steps of refining.
    """
    rng, stages = random.Random(seed), Counter[str]()
    wrong: Counter[str] = Counter(weights=0, advice=0, charges=0, requests=0)
    runs = requests = 0
    with tempfile.TemporaryDirectory(prefix="ultra-kills-") as place:
        alone = Path(place, "alone")
        alone.mkdir()
        with server(seed) as calm:
            began = time.monotonic()
            play(alone, calm, steps, lambda: Kill(0.0), 0)
            seconds = time.monotonic() - began
            wanted = outcome(alone)
            wrong["requests"] += abs(calm.requests - noted(alone))
        while stages.total() < kills:
            runs += 1
            folder = Path(place, str(runs))
            folder.mkdir()
            with server(seed + runs) as asked:

                def draw(asked: Server = asked) -> Kill:
                    if asked.requests < calm.requests and rng.random() < WHILE_EXPLAINING:
                        return Kill(rng.uniform(0, 2 * REPLY_S), rng.randint(asked.requests + 1, calm.requests))
                    return Kill(rng.uniform(0.15, 0.9) * seconds)

                stages.update(play(folder, asked, steps, draw, min(per_run, kills - stages.total())))
                found = outcome(folder)
                requests += asked.requests
                wrong["requests"] += abs(asked.requests - noted(folder))
            for name in ("weights", "advice", "charges"):
                wrong[name] += getattr(found, name) != getattr(wanted, name)
    return {
        "runs": runs, "kills": stages.total(), "stages": dict(stages), "requests": requests,
        "asked_again": requests - runs * calm.requests, "calm": calm.requests, "wrong": dict(wrong),
    }  # fmt: skip


def main() -> int:
    """Attack and print the table; 1 where anything differed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="kills in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--kills-per-run", type=int, default=3, help="kills of one run")
    parser.add_argument("--steps", type=int, default=8000, help="environment steps of refining")
    asked = parser.parse_args()
    found = attack(asked.kills, asked.seed, asked.kills_per_run, asked.steps)
    print(f"{found['kills']} kills of {found['runs']} runs; in the stages:")
    for name, count in sorted(found["stages"].items(), key=lambda row: -row[1]):
        print(f"  {name:<20} {count:>5}")
    print(f"requests the server saw  {found['requests']} ({found['calm']} in a run left alone)")
    print(f"asked again after a kill {found['asked_again']}")
    for name, count in found["wrong"].items():
        print(f"{name + ' that differ':<24} {count}" if name != "requests" else f"requests not accounted for {count}")
    return int(any(found["wrong"].values()))


if __name__ == "__main__":
    sys.exit(main())
