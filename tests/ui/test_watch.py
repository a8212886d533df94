"""Logs that others write: followed line by line, whatever happens to them."""

from __future__ import annotations

import json
from pathlib import Path

from ultra_agents.events import Event, RunFinished, RunStarted, Warned
from ultra_agents.ui.event_log import EventLogReader
from ultra_agents.ui.watch import GONE, WatchedRun


def line(event: Event, time: float = 100.0) -> bytes:
    return json.dumps({**event.to_json(), "time": time}).encode() + b"\n"


def texts(reader: EventLogReader) -> list[str | None]:
    return [None if found is None else getattr(found[1], "text", "?") for found in reader.poll()]


def test_a_line_is_read_when_its_end_is_written(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    reader = EventLogReader(path)
    assert texts(reader) == [], "no file yet"
    whole = line(Warned("ü one")) + line(Warned("two"))
    for cut in range(0, len(whole), 7):
        with path.open("ab") as file:
            file.write(whole[cut : cut + 7])
        if cut + 7 < len(line(Warned("ü one"))):
            assert texts(reader) == []
    assert texts(reader)[-1:] == ["two"]
    assert texts(reader) == []


def test_damaged_lines_and_those_of_a_newer_version_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "Warn\n\x00\xff\n[1]\n{"event": "New", "x": 1}\n\n' + line(Warned("good")) + b'{"ev')
    reader = EventLogReader(path)
    assert texts(reader) == ["good"]
    with path.open("ab") as file:  # what a resumed run does after a killed one
        file.write(b"\n" + line(Warned("after")))
    assert texts(reader) == ["after"]


def test_a_log_that_is_replaced_or_cut_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line(Warned("one")) + line(Warned("two")))
    reader = EventLogReader(path)
    assert texts(reader) == ["one", "two"]
    path.write_bytes(line(Warned("cut")))
    assert texts(reader) == [None, "cut"]
    other = tmp_path / "other"
    other.write_bytes(line(Warned("replaced")) + line(Warned("again")))
    other.replace(path)
    assert texts(reader) == [None, "replaced", "again"]


def test_a_killed_run_is_said_to_be_dead_and_lives_when_resumed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    alive = [True]
    run = WatchedRun("one", EventLogReader(path), lambda: alive[0])
    path.write_bytes(line(RunStarted("one", "runs/one", "abc", False, (("explain", 1.0),)), 1e9))
    assert len(run.poll()) == 1
    assert (run.state.status, run.ended) == ("running", False)
    alive[0] = False
    run.poll()
    assert run.ended
    assert run.state.status == f"stopped: {GONE}"
    assert run.label(1e9) == "one stopped"
    alive[0] = True
    with path.open("ab") as file:
        file.write(line(RunStarted("one", "runs/one", "abc", True, ()), 1e9 + 50))
    run.poll()
    assert (run.state.status, run.ended) == ("running", False)
    with path.open("ab") as file:
        file.write(line(RunFinished("finished", 9.0, "done"), 1e9 + 60))
    run.poll()
    assert (run.state.status, run.ended) == ("finished", True)
    assert run.state.elapsed(5e9) == 10.0, "the log's clock, not ours"
