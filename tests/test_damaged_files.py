"""Damaged, cut, packed and swapped files: each is one clear error, told before anything is unpacked or believed."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import sys
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter
from ultra_agents_plugins.formats._normalizer import read_statistics

from ultra_agents.agents.checkpoint import open_checkpoint
from ultra_agents.config import Config
from ultra_agents.contracts.formats import Request
from ultra_agents.errors import LLMError, PolicyError, RunError
from ultra_agents.llm.cache import AnswerCache
from ultra_agents.llm.transcript import usage_of_row
from ultra_agents.pipeline import _Run
from ultra_agents.policies import describe_policy_file, read_safetensors, write_safetensors
from ultra_agents.rollout.store import load_trajectories
from ultra_agents.runs import RunFolder
from ultra_agents.stages.findings import Restoring
from ultra_agents.stages.keeping import AsJSON

SETTINGS: dict[str, Any] = {
    "name": "one",
    "environment": {"name": "corridor"},
    "policy": {"train_steps": 100},
    "llms": {"default": {"provider": "scripted"}},
    "gateway": {"budget": {"calls": 7}},
}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, Config.model_validate(SETTINGS))


@pytest.mark.parametrize("kept", [{"exact": "perhaps"}, "x", None, {"env_steps": 10**400}], ids=str)
def test_the_value_of_a_stage_that_cannot_be_read(folder: RunFolder, kept: Any) -> None:
    folder.mark_done("probe", {"seconds": 1.0, "value": kept})
    run = _Run(RunFolder.open(folder.path), lambda event: None)
    with pytest.raises(RunError, match="the value of the stage 'probe' cannot be read"):
        run.once("probe", "", lambda: pytest.fail("it was done again"), AsJSON[Restoring](Restoring))


def test_half_a_configuration_is_told(folder: RunFolder) -> None:
    text = folder.config_path.read_text()
    folder.config_path.write_text(text[: text.index("gateway:")])
    with pytest.raises(RunError, match="settings of the run are missing") as caught:
        RunFolder.open(folder.path)
    assert "nothing of gateway, gateway." in str(caught.value.found)
    folder.config_path.write_text(text.replace("calls: 7", "calls: 9"))
    assert RunFolder.open(folder.path).config.gateway.budget.calls == 9


def test_a_flipped_bit_in_a_weights_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_safetensors(path, {"w": np.arange(8, dtype=np.float32)}, {"note": "mine"})
    metadata, arrays = read_safetensors(path)
    assert metadata == {"note": "mine"}
    assert arrays["w"].tolist() == list(range(8))
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    with pytest.raises(PolicyError, match="does not match its checksum"):
        read_safetensors(path)


def test_a_file_without_a_checksum_is_read(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"w": np.ones(3, np.float32)}, tmp_path / "w.safetensors", metadata={"note": "other"})
    assert read_safetensors(tmp_path / "w.safetensors")[0] == {"note": "other"}


def test_tensors_that_numpy_does_not_know(tmp_path: Path) -> None:
    head = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"\0\0")
    with pytest.raises(PolicyError, match="cannot be read as safetensors"):
        read_safetensors(path)


def test_a_score_no_float_can_hold() -> None:
    from ultra_agents.policies import _whole_number

    score = json.loads(f'{{"mean": 1{"0" * 400}}}', parse_int=_whole_number)
    about = {"algorithm": "a", "env_id": "e", "environment": "n", "score": score}
    assert describe_policy_file(about)[-1] == "recorded score inf over ? episodes"


def test_a_line_of_the_transcript_without_a_field() -> None:
    row = {"charged": True, "prompt_tokens": 3, "completion_tokens": 1, "seconds": 0.1}
    with pytest.raises(RunError, match="what its call cost is not known"):
        usage_of_row(row)
    with pytest.raises(RunError, match="what its call cost is not known"):
        usage_of_row({**row, "cost": 10**400})


@pytest.mark.parametrize("change", [{"text": 5}, {"prompt_tokens": "many"}, {"seconds": None}], ids=str)
def test_a_cassette_with_wrong_types(tmp_path: Path, change: dict[str, Any]) -> None:
    row = {"key": "k", "text": "t", "prompt_tokens": 1, "completion_tokens": 1, "seconds": 0.1, "cut": False}
    (tmp_path / "c.jsonl").write_text(json.dumps({**row, **change}) + "\n")
    with pytest.raises(LLMError, match="cannot read the cassette"):
        AnswerCache(tmp_path / "cache.sqlite").load(tmp_path / "c.jsonl")


def test_a_cassette_is_taken_in_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultra_agents.llm.cache.BATCH", 2)
    rows = [{"key": f"k{index}", "text": f"t{index}\u2028", "prompt_tokens": 1, "completion_tokens": 1,
             "seconds": 0.1, "cut": False, "question": "q"} for index in range(5)]  # fmt: skip
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    cache, cassette = AnswerCache(tmp_path / "cache.sqlite"), tmp_path / "c.jsonl"
    cassette.write_text("\n".join([*lines, '{"key": 7}']), encoding="utf-8")
    with pytest.raises(LLMError, match="cannot read the cassette") as caught:
        cache.load(cassette)
    assert "after 5 good lines" in str(caught.value.found)
    assert len(cache) == 0
    cassette.write_text("\n".join(lines), encoding="utf-8")
    assert cache.load(cassette) == (5, 5)
    assert len(cache) == 5
    found = cache.get("k3")
    assert found is not None
    assert found.text == "t3\u2028"
    assert cache.export(tmp_path / "d.jsonl") == 5
    assert json.loads((tmp_path / "d.jsonl").read_text().splitlines()[0])["question"] == "q"
    cache.close()


def test_a_comparison_where_nothing_can_be_written(tmp_path: Path) -> None:
    from ultra_agents.experiments.drive import drive

    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        drive([], tmp_path / "file" / "runs", Any, lambda: False, lambda states: None)  # type: ignore[arg-type]


def test_a_full_disk_while_explaining_can_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written") as caught, open_checkpoint(tmp_path / "explain.sqlite"):
        raise sqlite3.OperationalError("database or disk is full")
    assert caught.value.exit_code == 2
    assert "ultra resume" in str(caught.value.hint)
    assert "kept" in str(caught.value.hint)
    assert "delete" not in str(caught.value)


def test_a_checkpoint_that_finds_no_room_is_not_told_to_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **named: Any) -> Any:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("ultra_agents.agents.checkpoint.sqlite3.connect", full)
    with pytest.raises(RunError, match="cannot be written") as caught, open_checkpoint(tmp_path / "explain.sqlite"):
        pytest.fail("it was opened")
    assert str(caught.value.hint).startswith("make room, then: ultra resume")


def test_what_a_run_raises_is_told_though_its_output_finds_no_room() -> None:
    from ultra_agents.cli.plugin_output import plugins_print_to

    def said_and_failed() -> None:
        with plugins_print_to(Path("/dev/full")):
            sys.stdout.write("said by a plugin")
            raise RunError("the real cause")

    with pytest.raises(RunError, match="the real cause"):
        said_and_failed()


def packed(array: np.ndarray[Any, Any]) -> bytes:
    """An .npz whose one array `mean` is packed."""
    entry, whole = io.BytesIO(), io.BytesIO()
    np.save(entry, array)
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("mean.npy", entry.getvalue())
    return whole.getvalue()


def _request(path: Path) -> Request:
    box = gymnasium.spaces.Box(-1, 1, (4,), np.float32)
    return Request(path=path, observation_space=box, action_space=gymnasium.spaces.Discrete(2))


def test_a_normaliser_that_unpacks_to_more_than_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.npz"
    path.write_bytes(packed(np.zeros(4_000_000)))
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(PolicyError, match="is not a normaliser") as caught:
        read_statistics(path, _request(path))
    assert "it unpacks to 32,000,128 bytes" in str(caught.value.found)


def test_nested_lists_in_a_normaliser_are_told_short(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl"
    # every list holds the one before twice
    level = b"]\x94" + b"".join(b"](h" + bytes([n]) + b"h" + bytes([n]) + b"e\x94" for n in range(60))
    path.write_bytes(b"\x80\x04" + level + b".")
    with pytest.raises(PolicyError, match="is not a normaliser") as caught:
        read_statistics(path, _request(path))
    assert len(str(caught.value.found)) <= 80


def test_a_trajectory_that_is_packed_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "episode-000000.npz").write_bytes(packed(np.zeros(4_000_000)))
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(RunError, match="is damaged"):
        load_trajectories(tmp_path)


def test_states_that_unpack_to_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    from ultra_agents.rollout import store

    monkeypatch.setattr(store, "MOST_BYTES", 1000)
    assert store._inflated(store._deflated(b"x" * 999)) == b"x" * 999
    with pytest.raises(ValueError, match="unpacks to more than 1,000 bytes"):
        store._inflated(store._deflated(b"x" * 2000))


def test_half_a_line_of_an_event_in_the_report(folder: RunFolder) -> None:
    from ultra_agents.stages.report import _warnings

    folder.events.write_text('{"event": "Warned", "text": "one"}\n{"event": "Warned", "te')
    assert _warnings(folder) == ["one"]


def test_half_an_emoji_is_written_as_a_replacement(folder: RunFolder) -> None:
    folder.append_event({"event": "Warned", "text": "\ud83d"})
    folder.write_text("note.txt", "\ud83d")
    assert json.loads(folder.events.read_text())["text"] == "\ufffd"
    assert (folder.path / "note.txt").read_text() == "\ufffd"


def test_state_json_is_still_plain(folder: RunFolder) -> None:
    state = json.loads((folder.path / "state.json").read_text())
    keys = TypeAdapter(list[str]).validate_python(state["config_keys"])
    assert set(yaml.safe_load(folder.config_path.read_text())) <= set(keys)


NOBODY = 4_194_999
"""No process has this number: above Linux' highest."""


def test_what_killed_writers_left_is_swept_when_the_folder_is_run(folder: RunFolder) -> None:
    above, living = folder.path.parent, os.getppid()
    left = [
        folder.path / f".state.json.{NOBODY}-456.tmp",
        folder.checkpoints / f".a.safetensors.{NOBODY}-9.tmp",
        folder.checkpoints / f".b.safetensors.{os.getpid()}-9.tmp",
        above / f".one-{NOBODY}-abcd_123",
    ]
    kept = [
        folder.path / ".mine.tmp",
        folder.path / f".state.json.{living}-456.tmp",
        above / f".one-{living}-abcd_123",
        above / f".one-2-{NOBODY}-abcd1234",
        above / f".two-{NOBODY}-abcd1234",
        above / ".one-abcd1234",
    ]
    for path in (*left, *kept):
        path.mkdir() if path.parent == above else path.write_text("")
    with folder.lock():
        assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


def test_two_runs_of_one_name_begun_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, first = Config.model_validate(SETTINGS), []
    real = RunFolder.write_json

    def other_process_is_first(made: RunFolder, name: str, value: Any) -> Path:
        if not first:
            first.append(name)
            RunFolder.create(tmp_path, config)
        return real(made, name, value)

    monkeypatch.setattr(RunFolder, "write_json", other_process_is_first)
    with pytest.raises(RunError, match=r"the run .*one exists already") as caught:
        RunFolder.create(tmp_path, config)
    assert "--name one-2" in str(caught.value.hint)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


LINKED = ["output.log", "explain.sqlite", "explain.sqlite-wal", "llm-cache.sqlite", "metrics.jsonl", "calls.jsonl",
          "checkpoints", "trajectories", "tensorboard", "checkpoints/a.safetensors", "state.json"]  # fmt: skip


@pytest.mark.parametrize("name", LINKED)
def test_a_run_is_not_taken_up_where_it_would_write_through_a_link(
    folder: RunFolder, tmp_path: Path, name: str
) -> None:
    outside, place = tmp_path / "outside", folder.path / name
    outside.mkdir()
    if place.is_dir():
        place.rmdir()
    place.unlink(missing_ok=True)
    place.symlink_to(outside)
    with pytest.raises(RunError, match="is a symbolic link, which a run would write through") as caught, folder.lock():
        pytest.fail("it was taken up")
    assert str(outside) in str(caught.value.found)
    assert list(outside.iterdir()) == []


def test_links_that_no_run_writes_to_are_nobodys_business(folder: RunFolder, tmp_path: Path) -> None:
    (folder.path / "notes").symlink_to(tmp_path)
    (folder.path / "wandb").symlink_to(tmp_path)
    with folder.lock():
        pass


def test_output_of_plugins_does_not_go_through_a_link(tmp_path: Path) -> None:
    from ultra_agents.cli.plugin_output import plugins_print_to

    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    (tmp_path / "output.log").symlink_to(outside)
    with pytest.raises(RunError, match=r"cannot write .*output\.log"), plugins_print_to(tmp_path / "output.log"):
        pytest.fail("it was opened")
    assert outside.read_text() == "mine"


def test_a_link_in_a_run_folder_is_not_written_through(folder: RunFolder, tmp_path: Path) -> None:
    from ultra_agents.llm.transcript import append_line

    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    for name in ("events.jsonl", "transcript.jsonl", "advice.jsonl", ".lock"):
        (folder.path / name).symlink_to(outside)
    with pytest.raises(OSError, match="symbolic links"):
        folder.append_event({"event": "Warned"})
    with pytest.raises(RunError, match="cannot write"):
        append_line(folder.transcript, {})
    with pytest.raises(RunError, match="cannot lock"), folder.lock():
        pass
    folder.write_text("advice.jsonl", "")
    assert not folder.advice.is_symlink()
    assert outside.read_text() == "mine"


def test_a_brief_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from ultra_agents.errors import EnvironmentFault
    from ultra_agents.plugin_calls import check_words
    from ultra_agents.testing.corridor import Corridor, CorridorOptions

    corridor = Corridor(CorridorOptions())
    check_words(corridor)
    long = replace(corridor.brief, dynamics="x" * 1_000_000)
    monkeypatch.setattr(Corridor, "brief", long)
    with pytest.raises(EnvironmentFault, match="has a brief too long"):
        check_words(corridor)
