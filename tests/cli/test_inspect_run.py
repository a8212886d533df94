"""`ultra inspect` on a finished run, on copies damaged in every way, and on runs that are not finished."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.made_run import (
    HELD,
    PLAN,
    READING,
    SETTINGS,
    dumped,
    make_run,
    run_pipeline_for,
    transcript_row,
    write_checkpoints,
)
from ultra_agents.cli.inspect.read import call_of, read_explanations, status_of
from ultra_agents.cli.inspect.run_reader import RunFolderReader
from ultra_agents.config import parse_config
from ultra_agents.errors import Interrupted
from ultra_agents.events import AdviceDecided, Event
from ultra_agents.records import Attempt, CriticalState, Explanation, Fate, Note, Segment
from ultra_agents.runs import RunFolder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run_pipeline_for(tmp_path_factory.mktemp("ran"))


@pytest.fixture(params=["made", "ran"])
def either(request: pytest.FixtureRequest) -> RunFolder:
    """A run put together from records, and one that the pipeline made."""
    folder: RunFolder = request.getfixturevalue({"made": "finished", "ran": "ran"}[request.param])
    return folder


@pytest.fixture
def copy(finished: RunFolder, tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "walk"
    shutil.copytree(finished.path, path)
    return path


def test_the_table_names_what_the_report_counts(ultra: Any, either: RunFolder) -> None:
    report = json.loads(either.report_json.read_text())
    done = ultra("inspect", str(either.path), "--plain")
    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines() if line.startswith("critical ")]
    assert len(rows) == sum(len(one["states"]) for one in either.stage_done("explain")["value"]["explanations"])  # type: ignore[index]
    assert sum(row[2] == "accepted" for row in rows) == report["advice"]["accepted"] > 0
    assert sum(row[2] == "rejected" for row in rows) > 0
    assert all(row[4] == "RIGHT×16" for row in rows)
    assert "finished" in done.out.splitlines()[0]
    assert max(map(len, done.out.splitlines())) < 160


def test_standard_output_that_is_no_terminal_gets_the_same_table(ultra: Any, finished: RunFolder) -> None:
    plain = ultra("inspect", str(finished.path), "--plain")
    assert ultra("inspect", str(finished.path)).out == plain.out
    assert ultra("inspect", "walk", "--runs", str(finished.path.parent)).out == plain.out


def test_the_json_agrees_with_the_advice_table(ultra: Any, either: RunFolder) -> None:
    value = json.loads(ultra("inspect", str(either.path), "--json").out)
    advice = [json.loads(line) for line in either.advice.read_text().splitlines()]
    accepted = {(one["episode"], one["step"]): one for one in value["critical"] if one["fate"] == "accepted"}
    assert set(accepted) == {(row["episode"], row["step"]) for row in advice}
    for row in advice:
        (last,) = [one for one in accepted[row["episode"], row["step"]]["suggestions"] if one["chosen"]]
        assert last["test"]["gain"] == pytest.approx(row["test"]["gain"])
        assert last["verdict"] == "accept"
        assert last["critique"] == "scripted"
        assert accepted[row["episode"], row["step"]]["taken"] == row["taken_action"]


def test_steps_pictures_numbers_and_policies_of_the_run(either: RunFolder) -> None:
    run, source = RunFolderReader(either.path).read()
    try:
        source.read_policies()
        view = source.step(0, 3)
        assert view.action in ("LEFT", "RIGHT")
        assert "I am in cell" in view.words
        assert [name for name, _ in view.choices] == ["starting", "ultra-ra"]
        assert {action for _, action in view.choices} <= {"LEFT", "RIGHT"}
        cells = source.series(0)["cell"]
        for step in (0, 3, len(run.episode(0)) - 1):
            frame = source.frame(0, step)
            assert isinstance(frame, np.ndarray)
            walker = np.flatnonzero((frame[8, 8::16] == (50, 90, 200)).all(axis=-1))
            assert walker.tolist() == [int(cells[step])]
        stored = source._episodes[0]
        source._episodes[0] = replace(stored, infos=())
        measured = source.series(0)
        assert not any(name.startswith("feature") for name in measured), "what has names is told by its names"
        np.testing.assert_array_equal(measured["cell"], cells)
        explanation = run.explanations[0]
        said = source.conversation(explanation.segment.name)
        assert {one.agent for one in said} == {"identifier", "advisor", "critic"}
        assert {one.step for one in said if one.agent == "advisor"} == {state.step for state in explanation.states}
    finally:
        source.close()


def test_nothing_in_the_folder_is_changed(ultra: Any, copy: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in copy.rglob("*") if path.is_file()}
    assert ultra("inspect", str(copy), "--plain").code == 0
    assert {
        path: (path.stat().st_mtime_ns, path.stat().st_size) for path in copy.rglob("*") if path.is_file()
    } == before


def spoil(path: Path, how: str) -> None:
    """Damage a copy of the run."""
    first = path / "trajectories" / "episode-000000.npz"
    state = json.loads((path / "state.json").read_text())
    if how == "no run":
        (path / "state.json").unlink()
    elif how == "newer":
        (path / "state.json").write_text(json.dumps({**state, "format": 99}))
    elif how == "cut trajectory":
        first.write_bytes(first.read_bytes()[:200])
    elif how == "no trajectories":
        shutil.rmtree(path / "trajectories")
    elif how == "damaged transcript":
        (path / "transcript.jsonl").write_text("not json\nneither\n")
    elif how == "damaged explanations":
        state["done"]["explain"]["value"] = {"explanations": [{"segment": 3}], "joint": None, "copy": False}
        (path / "state.json").write_text(json.dumps(state))
    elif how == "plugin missing":
        text = (path / "config.yaml").read_text()
        (path / "config.yaml").write_text(text.replace("name: corridor", "name: corridr"))
    elif how == "other environment":
        text = (path / "config.yaml").read_text()
        (path / "config.yaml").write_text(text.replace("length: 31", "length: 21"))
    elif how == "nothing explained":
        state["done"]["explain"]["value"] = {"explanations": [], "joint": None, "copy": False}
        (path / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no run", "is not a run folder"),
        ("newer", "was made by a newer ultra-agents"),
        ("cut trajectory", "episode-000000.npz is damaged"),
        ("no trajectories", "has no episodes yet"),
        ("damaged transcript", "transcript.jsonl is damaged"),
        ("damaged explanations", "cannot be read"),
        ("plugin missing", "did you mean 'corridor'?"),
        ("other environment", "is of another version than in"),
        ("nothing explained", "has no critical states to show"),
    ],
)
def test_bad_folders_are_told_in_one_clear_word(ultra: Any, copy: Path, how: str, said: str) -> None:
    spoil(copy, how)
    done = ultra("inspect", str(copy), "--plain")
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err + done.out
    assert done.err.startswith("error: ")


def test_a_missing_folder_names_the_others(ultra: Any, copy: Path) -> None:
    done = ultra("inspect", str(copy.parent / "wlak"))
    assert done.code == 2
    assert "one of: walk" in done.err


def test_damaged_lines_are_passed_over_with_a_note(ultra: Any, copy: Path) -> None:
    transcript = copy / "transcript.jsonl"
    whole = transcript.read_text()
    transcript.write_text(whole + '{"agent": "cri')
    done = ultra("inspect", str(copy), "--plain")
    assert done.code == 0
    assert "note 1 damaged line of the transcript passed over" in done.out


def test_other_versions_are_noted(ultra: Any, copy: Path) -> None:
    versions = json.loads((copy / "versions.json").read_text())
    (copy / "versions.json").write_text(json.dumps({**versions, "ultra-agents": "0.0.1", "ultra-moon": "3"}))
    done = ultra("inspect", str(copy), "--plain")
    assert done.code == 0
    assert "note made with ultra-agents 0.0.1 (now" in done.out
    assert "ultra-moon 3 (now gone)" in done.out


def test_pictures_of_damaged_states_are_a_word_not_a_crash(finished: RunFolder) -> None:
    _, source = RunFolderReader(finished.path).read()
    trajectory = source._episodes[0]
    object.__setattr__(trajectory, "snapshots", (b"junk",) * len(trajectory))
    try:
        shown = source.frame(0, 0)
        assert isinstance(shown, str)
        assert "not a snapshot" in shown
    finally:
        source.close()


def test_a_closed_pipe_is_no_crash(finished: RunFolder) -> None:
    command = [sys.executable, "-m", "ultra_agents.cli.main", "inspect", str(finished.path), "--plain"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        said = child.stderr.read()
    assert child.returncode == 141
    assert b"Traceback" not in said


def test_a_run_stopped_amid_explaining_shows_what_there_is(ultra: Any, tmp_path: Path) -> None:
    from ultra_agents.pipeline import run_pipeline

    settings = {**SETTINGS, "agents": {**SETTINGS["agents"], "concurrency": 1}}
    folder = RunFolder.create(tmp_path / "runs", parse_config(settings, "test"))
    decided: list[Event] = []

    def emit(event: Event) -> None:
        if isinstance(event, AdviceDecided):
            decided.append(event)

    with pytest.raises(Interrupted):
        run_pipeline(folder, folder.config, emit, lambda: len(decided) >= 4)
    opened = RunFolder.open(folder.path)
    assert opened.stage_done("explain") is None
    partial, complete = read_explanations(opened)
    assert not complete
    assert partial
    done = ultra("inspect", str(folder.path), "--plain")
    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines() if line.startswith("critical ")]
    fates = [row[2] for row in rows]
    assert len(rows) > len(decided)
    assert fates.count("open") == len(rows) - len(decided)
    assert "note the agents are not finished" in done.out
    assert "stopped;" in done.out.splitlines()[0]
    assert status_of(opened) == "stopped"


def test_a_damaged_checkpoint_of_the_agents_is_told(ultra: Any, copy: Path) -> None:
    state = json.loads((copy / "state.json").read_text())
    del state["done"]["explain"]
    (copy / "state.json").write_text(json.dumps(state))
    (copy / "explain.sqlite").write_bytes(b"this is no database, whatever its name says" * 100)
    for beside in copy.glob("explain.sqlite-*"):
        beside.unlink()
    done = ultra("inspect", str(copy), "--plain")
    assert done.code == 2
    assert "checkpoint of the agents" in done.err


def unfinished(copy: Path) -> RunFolder:
    """The run before its agents were done."""
    state = json.loads((copy / "state.json").read_text())
    state["done"] = {"collect": state["done"]["collect"]}
    (copy / "state.json").write_text(json.dumps(state))
    return RunFolder.open(copy)


def open_case(step: int) -> CriticalState:
    return CriticalState(step, "why", 0.5, taken_action="LEFT", attempts=(Attempt(PLAN, "so", READING),))


def test_unfinished_segments_are_read_from_the_checkpoints(ultra: Any, copy: Path) -> None:
    (copy / "explain.sqlite").unlink(missing_ok=True)
    accepted = CriticalState(3, "why", 0.5, 1.0, "LEFT", (Attempt(PLAN, "so", READING, HELD),), "accepted")
    note = Note("identify", "step not shown", "step 99")
    whole = Explanation(Segment(1, 0, 60, "point lost"), (accepted,), (note,), 400, "scripted")
    segment, states = dumped(Segment(0, 0, 60, "rally"), Segment), dumped((open_case(7),), tuple[CriticalState, ...])
    write_checkpoints(
        copy / "explain.sqlite",
        {
            "0:0-60": {"fingerprint": "f", "segment": segment, "states": states, "env_steps": 9, "source": "scripted"},
            "1:0-60": {"fingerprint": "f", "explanation": dumped(whole, Explanation)},
            "2:0-60": {"fingerprint": "f", "segment": dumped(Segment(2, 0, 60, "rally"), Segment)},
            "3:0-60": {"fingerprint": "f"},
        },
    )
    found, complete = read_explanations(unfinished(copy))
    assert not complete
    assert found == [
        Explanation(Segment(0, 0, 60, "rally"), (open_case(7),), (), 9, "scripted"),
        whole,
        Explanation(Segment(2, 0, 60, "rally"), ()),
    ]
    done = ultra("inspect", str(copy), "--plain")
    assert done.code == 0, done.err
    assert "note the agents are not finished: 3 segments so far" in done.out
    rows = [line.split()[1:3] for line in done.out.splitlines() if line.startswith("critical ")]
    assert rows == [["0:7", "open"], ["1:3", "accepted"]]
    (told,) = [one for one in json.loads(ultra("inspect", str(copy), "--json").out)["segments"] if one["notes"]]
    assert told["notes"] == ["identify: step not shown (step 99)"]


def explained(copy: Path, *states: CriticalState) -> None:
    """Let the run have explained one segment only, with these states."""
    state = json.loads((copy / "state.json").read_text())
    one = Explanation(Segment(0, 0, 60, "x\x1b[2J"), states)
    rows = dumped([one], list[Explanation])
    state["done"]["explain"]["value"] = {"explanations": rows, "joint": None, "copy": False}
    (copy / "state.json").write_text(json.dumps(state))


def test_fates_and_reasons_are_those_of_the_records(ultra: Any, copy: Path) -> None:
    fates: tuple[Fate, ...] = ("open", "dropped", "rejected", "accepted")
    states = [
        replace(open_case(10 - index), fate=fate, reason="" if fate in ("open", "accepted") else f"because {index}")
        for index, fate in enumerate(fates)
    ]
    explained(copy, *states, replace(open_case(4_000)))
    done = ultra("inspect", str(copy), "--plain")
    rows = [line.split() for line in done.out.splitlines() if line.startswith("critical ")]
    assert [(row[1], row[2], row[-2:]) for row in rows] == [
        ("0:7", "accepted", ["accept", "-"]),
        ("0:8", "rejected", ["because", "2"]),
        ("0:9", "dropped", ["because", "1"]),
        ("0:10", "open", ["accept", "-"]),
    ], "in order of time, without what lies outside the episode"


def test_words_that_a_terminal_would_obey_are_harmless(ultra: Any, copy: Path) -> None:
    hostile = "one\x1b[31m\ntwo\u202e"
    case = CriticalState(
        3, hostile, 0.5, 1.0, hostile, (Attempt(PLAN, hostile, replace(READING, rationale=hostile)),), "dropped",
        "advise", hostile, hostile,
    )  # fmt: skip
    explained(copy, case)
    for form in ("--plain", "--json"):
        done = ultra("inspect", str(copy), form)
        assert done.code == 0, done.err
        assert "one[31m two" in done.out
        assert not set("\x1b\u202e") & set(done.out)
        assert "u001b" not in done.out
    view, source = RunFolderReader(copy).read()
    source.close()
    assert view.critical[0].state.rationale == "one[31m two"


def test_the_step_a_call_is_about_is_a_field_of_its_row() -> None:
    row = transcript_row("advisor", "0:0-60", 7, {"action": "RIGHT"})
    assert call_of(row).step == 7
    assert call_of(transcript_row("identifier", "0:0-60", None, {})).step is None
    del row["step"]
    assert call_of({**row, "messages": [["user", "Step 7: older rows do not say"]]}).step is None


def test_damaged_results_of_methods_are_told(ultra: Any, copy: Path) -> None:
    state = json.loads((copy / "state.json").read_text())
    del state["done"]["evaluate"]["value"][0]["before"]
    (copy / "state.json").write_text(json.dumps(state))
    done = ultra("inspect", str(copy), "--plain")
    assert done.code == 2
    assert "what the methods scored" in done.err


def test_a_run_that_goes_on_is_read_again_and_only_then(copy: Path) -> None:
    state = json.loads((copy / "state.json").read_text())
    earlier = {name: value for name, value in state["done"].items() if name in ("policy", "collect")}
    (copy / "state.json").write_text(json.dumps({**state, "done": earlier}))
    hidden = [one.rename(one.with_name(f".{one.name}")) for one in copy.glob("explain.sqlite*")]
    reader = RunFolderReader(copy)
    first, source = reader.read()
    source.read_policies()
    assert (first.critical, first.status) == ((), "stopped")
    assert not reader.changed()

    (copy / "state.json").write_text(json.dumps(state))
    for one in hidden:
        one.rename(one.with_name(one.name.removeprefix(".")))
    assert reader.changed()
    second, again = reader.read()
    assert second.critical
    assert second.status == "finished"
    assert not reader.changed()
    assert second.episodes[0].rewards is first.episodes[0].rewards, "episodes that did not change are not read again"
    assert again.step(0, 3).choices == source.step(0, 3).choices, "policies stay in sight"
    again.close()
