"""Logs and JSON that no run of this version wrote, or that found no room: read as far as they go, or one error."""

from __future__ import annotations

import io
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ultra_agents.config import Config
from ultra_agents.errors import LLMError, PolicyError, RunError
from ultra_agents.events import AgentSpoke, Dropped, TrainingProgress, Warned, from_json
from ultra_agents.llm.cache import AnswerCache
from ultra_agents.llm.transcript import Transcript
from ultra_agents.policies import load_policy, write_safetensors
from ultra_agents.registry import create_environment, create_llm
from ultra_agents.rollout.store import load_trajectories
from ultra_agents.runs import RunFolder, read_lines
from ultra_agents.text import parsed_json
from ultra_agents.ui.event_log import EventLogReader
from ultra_agents.ui.history import past_events
from ultra_agents.ui.plain import PlainDisplay
from ultra_agents.ui.run_state import RunState, reduce
from ultra_agents.ui.screen import Screen
from ultra_agents.ui.training_log import TrainingLog


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = {"name": "one", "environment": {"name": "corridor"}, "policy": {"train_steps": 100}}
    return RunFolder.create(tmp_path, Config.model_validate({**made, "llms": {"default": {"provider": "scripted"}}}))


def test_an_event_that_finds_no_room_fails_at_once_and_once(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = os.write, [10]

    def nearly_full(handle: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        part = data[: left[0]]
        left[0] -= len(part)
        return real(handle, part)

    monkeypatch.setattr("ultra_agents.files.os.write", nearly_full)
    with pytest.raises(OSError, match="No space left"):
        folder.append_event({"event": "Warned", "text": "lost"})
    folder.close()
    monkeypatch.undo()
    folder.append_event({"event": "Warned", "text": "kept"})
    folder.close()
    assert [row["text"] for row in read_lines(folder.events)] == ["kept"]


@pytest.mark.parametrize("text", ["\\ud83d", "a \\ude00 b", "\\ud83d\\ud83d\\ude00"])
def test_half_an_emoji_in_a_log_of_an_older_version_is_read(folder: RunFolder, text: str) -> None:
    line = f'{{"event": "Dropped", "stage": "identify", "reason": "{text}", "segment": "0:0-9", "time": 3.5}}\n'
    folder.events.write_text(line + line.replace("Dropped", "Nonsense"), encoding="ascii")
    valid = {"\\ud83d": "\ufffd", "a \\ude00 b": "a \ufffd b"}.get(text, "\ufffd\U0001f600")
    assert list(past_events(read_lines(folder.events))) == [Dropped("identify", valid, "0:0-9")]
    assert list(EventLogReader(folder.events).poll()) == [(3.5, Dropped("identify", valid, "0:0-9"))]
    assert from_json(json.loads(line)) == Dropped("identify", valid, "0:0-9")


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        f'{{"event": "Warned", "text": {"[" * 100_000}',
        f'{{"event": "StepsSpent", "purpose": "test", "steps": 1{"0" * 5000}}}',
        f'{{"event": "StepsSpent", "purpose": "test", "steps": 3.5, "time": 1{"0" * 400}}}',
        f'{{"event": "Evaluated", "method": "x", "steps": 1, "purpose": "last", "returns": [1{"0" * 400}]}}',
    ],
    ids=["lists", "lists in an event", "5,000 digits", "half a step", "a return beyond floats"],
)
def test_a_line_of_a_log_that_no_run_wrote_is_passed_over(folder: RunFolder, line: str) -> None:
    good = '{"event": "Warned", "text": "good", "time": 1' + "0" * 400 + "}"
    folder.events.write_text(f"{line}\n{good}\n", encoding="utf-8")
    assert [event for event in map(from_json, read_lines(folder.events)) if event] == [Warned("good")]
    assert list(EventLogReader(folder.events).poll()) == [(None, Warned("good"))]


@pytest.mark.parametrize("levels", [101, 900, 100_000])
@pytest.mark.parametrize("what", ["cassette", "replay", "state.json", "policy", "trajectory"])
def test_lists_in_lists_in_lists_are_one_message(folder: RunFolder, tmp_path: Path, what: str, levels: int) -> None:
    nested = "[" * levels + "]" * levels
    if what == "cassette":
        (tmp_path / "c.jsonl").write_text(nested)
        with pytest.raises(LLMError, match="cannot read the cassette"):
            AnswerCache(tmp_path / "c.sqlite").load(tmp_path / "c.jsonl")
    elif what == "replay":
        (tmp_path / "c.jsonl").write_text(nested)
        with pytest.raises(LLMError, match="cannot read the cassette"):
            create_llm("replay", {"cassette": str(tmp_path / "c.jsonl")}).check()
    elif what == "state.json":
        (folder.path / "state.json").write_text(f'{{"format": 2, "done": {nested}}}')
        with pytest.raises(RunError, match=r"state\.json is damaged"):
            RunFolder.open(folder.path)
    elif what == "policy":
        write_safetensors(tmp_path / "p.safetensors", {"a": np.zeros(1)}, {"ultra_agents": nested})
        with pytest.raises(PolicyError, match="not a policy of ultra-agents"):
            load_policy(tmp_path / "p.safetensors", "corridor", create_environment("corridor", {}))
    else:
        np.savez(tmp_path / "episode-000000.npz", head=np.frombuffer(zlib.compress(nested.encode()), np.uint8))
        with pytest.raises(RunError, match="is damaged"):
            load_trajectories(tmp_path)


@pytest.mark.parametrize("levels", [100, 101, 900, 100_000])
def test_a_reply_of_lists_in_lists_is_shown_by_every_display(levels: int) -> None:
    said = AgentSpoke("critic", "0:0-9", "m", "[" * levels + "]" * levels, False, 1, 1, 0.1, "ok")
    out = io.StringIO()
    console = Console(file=out, width=100, height=30)
    plain, state = PlainDisplay(out), reduce(RunState(), said, 0.0)
    plain.start()
    plain.handle(said)
    assert "critic" in out.getvalue()
    console.print(Screen(state, 0.0))
    assert parsed_json("[" * 100 + "]" * 100)


@pytest.mark.parametrize("kind", ["events", "metrics", "transcript"])
def test_a_line_after_half_a_line_stands_alone_in_every_log(
    folder: RunFolder, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TrainingLog(folder.metrics, folder.tensorboard, trackers=())
    path, write = {
        "events": (folder.events, lambda n: folder.append_event({"n": n})),
        "metrics": (folder.metrics, lambda n: log.handle(TrainingProgress("m", n, 9, {"n": n}))),
        "transcript": (folder.transcript, lambda n: Transcript(folder.transcript).append({"n": n})),
    }[kind]
    write(1)
    real, left = os.write, [5]

    def nearly_full(handle: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        part = data[: left[0]]
        left[0] -= len(part)
        return real(handle, part)

    with monkeypatch.context() as full:
        full.setattr("ultra_agents.files.os.write", nearly_full)
        with pytest.raises((OSError, RunError), match=r"No space left|cannot write"):
            write(2)
    assert not path.read_bytes().endswith(b"\n"), "a part of the second is there"
    write(3)
    assert [row["n"] for row in read_lines(path)] == [1, 3]
