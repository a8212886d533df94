"""A comparison goes on after its folder or its files were moved, and never with other files than it began with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.experiments.conftest import COMMON, TASK
from ultra_agents.config import parse_config
from ultra_agents.errors import RunError
from ultra_agents.experiments.cells import cells_folder, result_of, run_cell
from ultra_agents.experiments.sharing import found_again, take_up
from ultra_agents.methods import EngineServices
from ultra_agents.runs import RunFolder, read_lines


def test_a_moved_comparison_is_read_and_gone_on_with(small: Any, tmp_path: Path) -> None:
    _, (none, going), root = small(seeds=1, methods=["none", "continue"])
    assert run_cell(none, root).status == "finished"
    RunFolder.create(cells_folder(root), going.config)
    _, (moved, other), place = small(seeds=1, methods=["none", "continue"], name="moved")
    shutil.move(root, place)
    before = (cells_folder(place) / none.name / "config.yaml").read_bytes()
    assert result_of(moved, place) is not None
    assert (cells_folder(place) / none.name / "config.yaml").read_bytes() == before, "reading changes nothing"
    assert run_cell(other, place).status == "finished"
    kept = RunFolder.open(cells_folder(place) / other.name)
    assert kept.config.gateway.cache == place / "answers-corridor-0.sqlite"
    assert not kept.config_changed
    (began,) = [row for row in read_lines(kept.events) if row["event"] == "RunStarted"]
    assert not began["resumed"], "it took over the episodes of another cell, and did nothing before"
    assert not root.exists()


def asking(folder: Path, **changes: Any) -> Any:
    """A configuration that reads a policy, episodes, a file of rules and a cassette in `folder`."""
    row = {
        **COMMON, **TASK, "name": "one", "methods": ["ultra-ra"], "proposer": "file",
        "policy": {"path": "start.safetensors"},
        "collect": {"episodes": 2, "folder": "episodes"},
        "advice": {"file": "rules.yaml"},
        "llms": {"default": {"provider": "replay", "options": {"cassette": "answers.jsonl"}}},
        **changes,
    }  # fmt: skip
    return parse_config(row, "a test", folder)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "inputs"
    (folder / "episodes").mkdir(parents=True)
    for name in ("start.safetensors", "rules.yaml", "answers.jsonl", "episodes/0.npz"):
        (folder / name).write_text(name)
    return folder


def test_files_count_by_what_is_in_them(inputs: Path, tmp_path: Path) -> None:
    take_up(tmp_path, asking(inputs), "again")
    shutil.move(inputs, tmp_path / "elsewhere")
    moved = asking(tmp_path / "elsewhere")
    assert take_up(tmp_path, moved, "again").config.policy.path == tmp_path / "elsewhere" / "start.safetensors"
    assert found_again(tmp_path / "one", moved, "again").differs_from(moved) == []


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("start.safetensors", "policy.path"),
        ("rules.yaml", "advice.file"),
        ("answers.jsonl", "llms.default.options.cassette"),
        ("episodes/0.npz", "collect.folder"),
        ("episodes/1.npz", "collect.folder"),
    ],
)
def test_another_file_in_the_same_place_is_refused(name: str, key: str, inputs: Path, tmp_path: Path) -> None:
    take_up(tmp_path, asking(inputs), "again")
    (inputs / name).write_text("something else")
    with pytest.raises(RunError, match="another configuration") as raised:
        take_up(tmp_path, asking(inputs), "again")
    place = inputs / name.partition("/")[0]
    assert raised.value.found == f"{key} is not what it was: {place} holds something else"


def test_what_differs_is_told_three_at_a_time(inputs: Path, tmp_path: Path) -> None:
    take_up(tmp_path, asking(inputs), "again")
    refine = {**COMMON["refine"], "steps": 2048, "num_envs": 4}
    with pytest.raises(RunError) as raised:
        take_up(tmp_path, asking(inputs, refine=refine), "again")
    assert raised.value.found == "refine.steps is 1024 there, 2048 here; refine.num_envs is 2 there, 4 here"
    with pytest.raises(RunError) as raised:
        take_up(tmp_path, asking(inputs, refine=refine, seed=4, collect={"episodes": 3}), "again")
    assert raised.value.found.startswith("seed is 0 there, 4 here; ")
    assert raised.value.found.endswith("; and 2 more")


def test_a_run_of_an_earlier_version_has_its_files_compared_as_long_as_they_are_there(
    inputs: Path, tmp_path: Path
) -> None:
    folder = take_up(tmp_path, asking(inputs), "again")
    del folder._state["inputs"]
    shutil.copytree(inputs, tmp_path / "copy")
    assert folder.differs_from(asking(inputs)) == []
    assert folder.differs_from(asking(tmp_path / "copy")) == []
    (tmp_path / "copy" / "rules.yaml").write_text("others")
    (told,) = folder.differs_from(asking(tmp_path / "copy"))
    assert told.startswith("advice.file is not what it was")
    (inputs / "rules.yaml").unlink()
    assert folder.differs_from(asking(inputs)) == [], "who reads a file says that it is gone"
    shutil.rmtree(inputs)
    assert len(folder.differs_from(asking(tmp_path / "copy"))) == 4, "nothing to hold them against"


def test_neither_engine_nor_trackers_nor_cache_set_runs_apart(inputs: Path, tmp_path: Path) -> None:
    folder = take_up(tmp_path, asking(inputs), "again")
    other = asking(inputs, trackers=[], gateway={"cache": "other.sqlite"}, engine={"kind": "ray"})
    assert folder.differs_from(other) == []


TWO = {"default": {"provider": "replay", "options": {"cassette": "answers.jsonl"}}, "larger": {"provider": "openai"}}


def test_another_model_that_nobody_asks_sets_no_run_apart(inputs: Path, tmp_path: Path) -> None:
    folder = take_up(tmp_path, asking(inputs), "again")
    assert folder.differs_from(asking(inputs, llms=TWO)) == []
    told = folder.differs_from(asking(inputs, llms=TWO, agents={"critic": {"llm": "larger"}}))
    assert any(one.startswith("llms.larger.provider is null there") for one in told)
    assert any(one.startswith("agents.critic.llm is null there") for one in told)


ADVISING = {
    "llms": {"larger": {"provider": "openai"}},
    "agents": {"max_critical": 1},
    "narration": {"token_budget": 300},
    "gateway": {"missing": "drop"},
}


@pytest.mark.parametrize("section", ADVISING)
def test_how_advice_is_made_sets_only_runs_apart_that_make_any(section: str, inputs: Path, tmp_path: Path) -> None:
    changed = {section: ADVISING[section]}
    control = {"methods": ["continue"], "proposer": "llm", "advice": {}}
    folder = take_up(tmp_path, asking(inputs, **control), "again")
    assert folder.differs_from(asking(inputs, **control | changed)) == []
    assert folder.differs_from(asking(inputs, **control | {"seed": 4}))
    folder.mark_done("narrate", {})
    assert folder.differs_from(asking(inputs, **control | changed)), "`ultra explain` made advice of it"
    advised = take_up(tmp_path / "advised", asking(inputs), "again")
    assert advised.differs_from(asking(inputs, **changed))


def test_a_run_whose_unread_settings_changed_can_be_opened_again(inputs: Path, tmp_path: Path) -> None:
    control = {"methods": ["continue"], "proposer": "llm", "advice": {}}
    take_up(tmp_path, asking(inputs, **control), "again")
    renamed = {"llms": {"other": {"provider": "openai"}}}
    assert take_up(tmp_path, asking(inputs, **control | renamed), "again").config.llms.keys() == {"other"}
    assert RunFolder.open(tmp_path / "one").config.llms.keys() == {"other"}


def test_a_crash_while_the_configuration_is_rewritten_leaves_a_run_that_opens(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = {"methods": ["continue"], "proposer": "llm", "advice": {}}
    folder = take_up(tmp_path, asking(inputs, **control), "again")
    write = RunFolder.write_text

    def dying(self: RunFolder, path: Any, text: str) -> None:
        if path == dies_at:
            raise KeyboardInterrupt
        write(self, path, text)

    for dies_at in ("config.yaml", "state.json"):
        monkeypatch.setattr(RunFolder, "write_text", dying)
        with pytest.raises(KeyboardInterrupt):
            folder.go_on_with(asking(inputs, **control, llms={f"named-after-{dies_at}": {"provider": "openai"}}))
        monkeypatch.setattr(RunFolder, "write_text", write)
        folder = RunFolder.open(tmp_path / "one")


def test_what_a_method_kept_is_found_again_after_its_policy_was_moved(inputs: Path, tmp_path: Path) -> None:
    control = {"methods": ["rice"], "proposer": "llm", "advice": {}, "collect": {"episodes": 2}}

    def services(folder: RunFolder) -> EngineServices:
        unused: Any = None
        return EngineServices(folder.config, unused, unused, unused, unused, folder.checkpoints)

    services(take_up(tmp_path, asking(inputs, **control), "again")).save("mask", {"x": np.zeros(1)}, {"n": 1}, {})
    shutil.move(inputs, tmp_path / "elsewhere")
    moved = take_up(tmp_path, asking(tmp_path / "elsewhere", **control), "again")
    assert services(moved).load("mask", {}, lambda arrays, rest: rest) == {"n": 1}
    with pytest.raises(RunError, match="under other settings"):
        services(moved).load("mask", {"alpha": 1}, lambda arrays, rest: rest)
