"""Runs killed at random moments and resumed, against the same run left alone.

Three kinds of runs in turn: moves by models, rules by models, rules of a file; two segments at a time, models behind a
server on this machine, asked through the real gateway. A run is killed (SIGKILL) several times: at a request while it
explains, while it refines, or anywhere, from its first moments on. At its end the refined weights, the advice and the
environment steps charged to every method must equal those of the run left alone, to the bit, and every request the
server saw must be a line of the transcript: a reply that was paid for, or a call that was under way at a kill. What
the event log adds up to must be right too: steps by purpose, decisions and drops as in the run left alone, calls,
tokens and money as in the transcript.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal

from _reliability_server import (
    Server,
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

from ultra_agents.events import from_json
from ultra_agents.llm.transcript import Transcript
from ultra_agents.policies import read_safetensors
from ultra_agents.records import Usage
from ultra_agents.runs import read_lines
from ultra_agents.ui.run_state import RunState, reduce

REPLY_S = 0.03
"""Mean seconds the server thinks about a reply: long enough that kills hit calls under way."""
RULES = "rules: [{when: cell >= 0, do: RIGHT, why: the goal is there}]\npotential: cell / 20\n"
SCENARIOS: dict[str, dict[str, Any]] = {
    "moves": {"imitation": {"mode": "never"}},
    "rules": {"advice": {"form": "rules"}},
    "file": {"proposer": "file", "advice": {"file": "rules.yaml"}},
}
MOMENTS: dict[str, float] = {"explaining": 0.45, "refining": 0.35, "anywhere": 0.2}
"""Share of the kills that wait for a request, for the refining of a method, or for neither."""
LIMIT_S = 600.0
"""A process that takes longer hangs."""


@dataclass(frozen=True)
class Outcome:
    """What a finished run must have in common with every other one.

    Attributes:
        weights: Digest of every array of the checkpoints of policies.
        advice: Digest of `advice.jsonl`, and of the rules that were found.
        charges: Environment steps by method and purpose.
    """

    weights: str
    advice: str
    charges: str


@dataclass(frozen=True)
class Kill:
    """When to kill: `seconds` after the process began, or after what it waits for.

    Attributes:
        seconds: To wait.
        request: After the server saw this one.
        refining: After a method begins to be refined.
    """

    seconds: float
    request: int | None = None
    refining: bool = False


def answer(handler: BaseHTTPRequestHandler, body: dict[str, Any], rng: random.Random) -> None:
    """What a sensible model says, after a while."""
    time.sleep(rng.expovariate(1 / REPLY_S))
    send(handler, json.dumps(completion(body, said(body))).encode())


def settings(address: str, steps: int, scenario: str) -> dict[str, Any]:
    """A run of one kind with `steps` of refining."""
    refine = {"steps": steps, "num_envs": 2, "workers": 0, "evaluate_every": steps // 4, "curve_episodes": 2}
    ppo = {"name": "ppo", "options": {"clone_steps": 100, "clone_steps_max": 200}}
    return run_settings(
        address,
        refine={**refine, "algorithm": ppo},
        evaluate={"episodes": 4, "video": False},
        methods=["ultra-ra", "continue"],
        **SCENARIOS[scenario],
    )


def stage(folder: Path) -> str:
    """The stage a run is in, by its event log."""
    rows = [row for row in read_lines(folder / "runs/one/events.jsonl") if row.get("event") == "StageStarted"]
    return str(rows[-1]["stage"]) if rows else "start"


def _killed(folder: Path, process: subprocess.Popen[bytes], asked: Server, kill: Kill) -> bool:
    """Kill `process` at its moment; False where it ended before."""
    events = folder / "runs/one/events.jsonl"
    seen = events.stat().st_size if events.is_file() else 0
    while process.poll() is None:
        if kill.request is not None and asked.requests < kill.request:
            time.sleep(0.002)
        elif kill.refining and not _refines(events, seen):
            time.sleep(0.02)
        else:
            break
    try:
        process.wait(kill.seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def _refines(events: Path, seen: int) -> bool:
    if not events.is_file():
        return False
    with events.open("rb") as file:
        file.seek(seen)
        return b'"stage": "refine' in file.read()


def play(
    folder: Path, asked: Server, steps: int, scenario: str, draw: Callable[[], Kill], kills: int
) -> tuple[list[str], float]:
    """Run in `folder`, `kills` times killed at a drawn moment and resumed.

    Returns:
        The stages it was killed in, and the seconds the last process took.

    Raises:
        RuntimeError: It ended with another status than 0, or hung.
    """
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    killed: list[str] = []
    process = start(folder, settings(asked.address, steps, scenario))
    while len(killed) < kills and _killed(folder, process, asked, draw()):
        killed.append(stage(folder))
        process = start(folder)
    began = time.monotonic()
    try:
        status = process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        status = "no end"
    output = (folder / "output.txt").read_text(errors="replace")
    if status != 0 or crashed(output):
        raise RuntimeError(f"the run ended with {status} after kills in {killed}:\n{output[-3000:]}")
    return killed, time.monotonic() - began


def outcome(folder: Path) -> Outcome:
    """What a finished run left behind."""
    run, weights = folder / "runs/one", hashlib.sha256()
    for path in sorted((run / "checkpoints").glob("*.safetensors")):
        for name, array in sorted(read_safetensors(path)[1].items()):
            weights.update(f"{path.name} {name} {array.shape}".encode() + array.tobytes())
    done = json.loads((run / "state.json").read_text(encoding="utf-8"))["done"]
    charges = [(row["method"], row["env_steps"]) for row in done["evaluate"]["value"]]
    rows = run / "advice.jsonl"
    advice = hashlib.sha256(rows.read_bytes() if rows.is_file() else b"")
    advice.update(json.dumps(done.get("rules", {}).get("value"), sort_keys=True).encode())
    return Outcome(weights.hexdigest(), advice.hexdigest(), json.dumps(charges, sort_keys=True))


@dataclass(frozen=True)
class Calm:
    """A run left alone: how it ended, in how many seconds and with how many requests, what its events add up to."""

    outcome: Outcome
    seconds: float
    requests: int
    events: str


def added_up(folder: Path) -> tuple[str, int]:
    """What the event log of a run adds up to: steps, decisions and drops; and in how much it is not the transcript."""
    state = RunState()
    for event in filter(None, map(from_json, read_lines(folder / "runs/one/events.jsonl"))):
        state = reduce(state, event, 0.0)
    paid = sum(Transcript(folder / "runs/one/transcript.jsonl").usage().values(), Usage())
    shown = state.usage
    differs = (shown.calls, shown.prompt_tokens, shown.completion_tokens) != (
        paid.calls, paid.prompt_tokens, paid.completion_tokens)  # fmt: skip
    made = {"spent": state.spent, "decisions": state.decisions, "drops": state.drops}
    return json.dumps(made, sort_keys=True), int(differs or abs(shown.cost - paid.cost) > 1e-9)


WRONG = ("weights", "advice", "charges", "events", "requests", "ended badly", "files left behind", "keys found")


def attack(
    kills: int, seed: int, per_run: int = 3, steps: int = 8000, scenarios: tuple[str, ...] = tuple(SCENARIOS)
) -> dict[str, Any]:
    """Kill runs until `kills` have hit; what differed from the run left alone.

    Args:
        kills: Wanted, in all.
        seed: Of the moments.
        per_run: Kills of one run, at most.
        steps: Environment steps of refining.
        scenarios: Kinds of runs, in turn.
    """
    rng, stages = random.Random(seed), Counter[str]()
    wrong: Counter[str] = Counter(dict.fromkeys(WRONG, 0))
    runs = requests = again = early = 0
    calm: dict[str, Calm] = {}

    with tempfile.TemporaryDirectory(prefix="ultra-kills-") as place:
        for name in scenarios:
            alone = Path(place, name)
            alone.mkdir()
            with server(seed, answer) as asked:
                _, seconds = play(alone, asked, steps, name, lambda: Kill(0.0), 0)
                calm[name] = Calm(outcome(alone), seconds, asked.requests, added_up(alone)[0])
                wrong["requests"] += abs(asked.requests - noted(alone))
            wrong["keys found"] += len(leaks(alone))
        while stages.total() < kills:
            name, folder = scenarios[runs % len(scenarios)], Path(place, f"run-{runs}")
            runs += 1
            folder.mkdir()
            with server(seed + runs, answer) as asked:
                draw = _moments(rng, asked, calm[name])
                try:
                    killed, _ = play(folder, asked, steps, name, draw, min(per_run, kills - stages.total()))
                except RuntimeError as error:
                    wrong["ended badly"] += 1
                    stages["a run that ended badly"] += 1
                    print(f"{name}, run {runs}: {error}", flush=True)
                    continue
                stages.update(killed)
                requests += asked.requests
                again += asked.requests - calm[name].requests
                missing = asked.requests - noted(folder)
                wrong["requests"] += max(missing, 0)
                early += max(-missing, 0)
            found = outcome(folder)
            differs = [one for one in ("weights", "advice", "charges")
                       if getattr(found, one) != getattr(calm[name].outcome, one)]  # fmt: skip
            events, unpaid = added_up(folder)
            differs += ["events"] * (events != calm[name].events or unpaid > 0)
            wrong.update(differs)
            behind, keys = left_behind(folder), leaks(folder)
            wrong["files left behind"] += len(behind)
            wrong["keys found"] += len(keys)
            for what in (differs, behind, keys):
                if what:
                    print(f"{name}, run {runs}, killed in {killed}: {what}", flush=True)
    return {
        "runs": runs, "kills": stages.total(), "stages": dict(stages), "requests": requests, "asked_again": again,
        "never_sent": early, "calm": {name: one.requests for name, one in calm.items()}, "wrong": dict(wrong),
    }  # fmt: skip


def _moments(rng: random.Random, asked: Server, calm: Calm) -> Callable[[], Kill]:
    def draw() -> Kill:
        where: Literal["explaining", "refining", "anywhere"]
        where = rng.choices(list(MOMENTS), list(MOMENTS.values()))[0]  # type: ignore[assignment]
        if where == "explaining" and asked.requests < calm.requests:
            return Kill(rng.uniform(0, 2 * REPLY_S), rng.randint(asked.requests + 1, calm.requests))
        if where == "anywhere":
            return Kill(rng.uniform(0.01, 0.9) * calm.seconds)
        return Kill(rng.uniform(0, 0.12) * calm.seconds, refining=True)

    return draw


def told(found: dict[str, Any]) -> str:
    """The figures as lines of text."""
    lines = [f"{found['kills']} kills of {found['runs']} runs ({', '.join(found['calm'])}); in the stages:"]
    lines += [f"  {name:<24} {count:>5}" for name, count in sorted(found["stages"].items(), key=lambda row: -row[1])]
    alone = ", ".join(f"{name} {count}" for name, count in found["calm"].items())
    lines += [
        f"requests the server saw    {found['requests']} (in a run left alone: {alone})",
        f"asked again after a kill   {found['asked_again']}",
        f"noted, killed before sent  {found['never_sent']}",
    ]
    names = {
        "weights": "weights that differ",
        "advice": "advice that differs",
        "charges": "charges that differ",
        "events": "sums of events that differ",
        "requests": "requests not accounted for",
    }
    return "\n".join([*lines, *(f"{names.get(name, name):<28} {count}" for name, count in found["wrong"].items())])
