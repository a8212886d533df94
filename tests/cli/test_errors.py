"""Every mistake a person can make at the command line: what was found, what to do, no traceback, the exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.runs import FORMAT


def told(done: Any, code: int = 2) -> str:
    """The error's text, without the line breaks its frame may add."""
    assert done.code == code
    assert "Traceback" not in done.out + done.err
    return " ".join(done.err.split())


def test_a_missing_configuration(ultra: Any) -> None:
    text = told(ultra("run", "nowhere.yaml"))
    assert "cannot read the configuration nowhere.yaml" in text
    assert "do: examples/pong.yaml" in text


def test_an_unknown_key_has_a_suggestion(ultra: Any, config: Path) -> None:
    config.write_text(config.read_text() + "refine: {stepps: 5}\n")
    text = told(ultra("run", str(config)))
    assert "has no key 'refine.stepps'" in text
    assert "do: did you mean 'steps'?" in text
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("refine.steps", "--set takes key=value"),
        ("refine.steps=many", "refine.steps is not usable"),
        ("name=a/b", "name is not usable"),
        ("environment.name=pongg", "did you mean 'pong'?"),
        ("refine.algorithm.name=dqn9", "unknown algorithm 'dqn9'"),
        ("llms.default.provider=opnai", "did you mean 'openai'?"),
        ("environment.options.lenght=3", "did you mean 'length'?"),
        ("policy.train_steps=null", "give exactly one of path, shipped, train_steps"),
    ],
)
def test_a_bad_setting_leaves_no_run_folder(ultra: Any, config: Path, setting: str, said: str) -> None:
    assert said in told(ultra("run", str(config), "--set", setting))
    assert not Path("runs").exists()


def test_a_policy_that_is_not_there(ultra: Any, config: Path) -> None:
    config.write_text(config.read_text().replace("train_steps: 1000", "path: gone.safetensors"))
    assert "there is no policy file" in told(ultra("run", str(config)))
    config.write_text(config.read_text().replace("path: gone.safetensors", "shipped: best"))
    assert "ships no policy 'best'" in told(ultra("run", str(config)))
    assert not Path("runs").exists()


def test_a_name_that_exists(ultra: Any, config: Path) -> None:
    Path("runs/one").mkdir(parents=True)
    text = told(ultra("run", str(config)))
    assert "the run runs/one exists already" in text
    assert "ultra resume runs/one" in text
    assert "--name one-2" in text


def test_a_place_that_cannot_be_written(ultra: Any, config: Path) -> None:
    Path("file").write_text("")
    text = told(ultra("run", str(config), "--runs", "file/runs"))
    assert "cannot make the run folder file/runs/one" in text
    assert "do: make room, or choose another place with --runs DIR" in text


def test_resuming_what_is_no_run(ultra: Any, tmp_path: Path) -> None:
    Path("empty").mkdir()
    assert "empty is not a run folder" in told(ultra("resume", "empty"))
    text = told(ultra("resume", "gone"))
    assert "there is no run folder gone" in text
    assert "ultra run CONFIG.yaml" in text


def test_resuming_a_folder_of_a_newer_version(ultra: Any) -> None:
    Path("new").mkdir()
    Path("new/state.json").write_text(f'{{"format": {FORMAT + 1}, "done": {{}}}}')
    text = told(ultra("resume", "new"))
    assert "made by a newer ultra-agents" in text
    assert "pip install --upgrade ultra-agents" in text


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["run", "c.yaml", "--colour"], ["nonsense"], ["resume"], ["run", "c.yaml", "--plain", "--json"]],
)
def test_a_misused_command_line_ends_with_2(ultra: Any, arguments: list[str]) -> None:
    done = ultra(*arguments)
    assert done.code == 2
    assert "Usage: ultra" in done.err
    assert "Traceback" not in done.err


def test_an_error_on_a_terminal_is_a_panel(
    ultra: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    done = ultra("run", "[bold]nowhere.yaml")
    assert done.code == 2
    assert "╭─" in done.err
    assert "[bold]nowhere.yaml" in done.err, "a file's name is not markup"


def test_a_defect_asks_for_a_report_and_keeps_its_traceback(
    ultra: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr("ultra_agents.config.load_config", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = ultra("run", "c.yaml")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "ZeroDivisionError: inside - please report it with the traceback in" in done.err
    (crash,) = tmp_path.glob("crash-*.txt")
    assert str(crash) in done.err
    assert "Traceback (most recent call last)" in crash.read_text()


def test_a_reader_that_leaves_is_no_error() -> None:
    code = (
        "import sys; from ultra_agents.cli.main import main; sys.argv = ['ultra', 'plugins', 'list', '--json']; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        said = run.stderr.read()
    assert said == ""
    assert run.returncode == 141
