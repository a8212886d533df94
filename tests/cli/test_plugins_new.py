"""`ultra plugins new`: what it writes installs and passes its own test; what it refuses it leaves alone."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.cli import installed
from tests.cli.installed import pip_install, python
from ultra_agents.cli.plugins.new import _words, render


@pytest.mark.parametrize("kind", ["environment", "algorithm", "llm", "format", "method"])
def test_a_new_plugin_installs_and_passes_at_once(ultra: Any, tmp_path: Path, kind: str) -> None:
    done = ultra("plugins", "new", kind, "boiler-room", "--path", "somewhere/new")
    assert done.code == 0, done.err
    folder = tmp_path / "somewhere" / "new" / "ultra-agents-boiler-room"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "pyproject.toml", "test_ultra_agents_boiler_room.py", "ultra_agents_boiler_room.py",
    ]  # fmt: skip
    assert "ultra plugins check boiler-room" in done.out
    pip_install(folder, tmp_path / "site")
    own = python(tmp_path / "site", folder, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert own.returncode == 0, own.stdout
    commands = ["plugins", "check", "boiler-room"], ["plugins", "list"]
    checked, listed = installed.ultra(tmp_path / "site", tmp_path, *commands)
    assert checked.returncode == 0, checked.stdout
    assert "conforms" in checked.stdout
    assert "boiler-room" in listed.stdout
    assert "ultra-agents-boiler-room" in listed.stdout


@pytest.mark.parametrize("kind", ["environment", "algorithm", "llm", "format", "method"])
@pytest.mark.parametrize("name", ["a", "x1-2-y", "environment", "none", "options", "plugin", "q" * 40])
def test_any_good_name_gives_a_module_that_compiles(kind: Any, name: str) -> None:
    for file, text in render(kind, _words(name)).items():
        assert "{{" not in text.replace("{{default", ""), file
        if file.endswith(".py"):
            compile(text, file, "exec")
            assert "CHANGE" in text


def test_the_templates_are_part_of_the_distribution() -> None:
    root = Path(__file__).parent.parent.parent
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    package = root / "ultra_agents" / "testing"
    shipped = {path for pattern in settings["ultra_agents.testing"] for path in package.glob(pattern)}
    assert shipped == {path for path in (package / "templates").rglob("*") if path.is_file()}
    assert len(shipped) == 20


@pytest.mark.parametrize("kind", ["environment", "algorithm", "llm", "format", "method"])
def test_what_is_written_is_tidy(kind: Any, tmp_path: Path) -> None:
    for file, text in render(kind, _words("boiler-room")).items():
        (tmp_path / file).write_text(text)
    for command in (["check", "--select", "E,F,W,UP,B,SIM,RUF,PT"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "119", str(tmp_path)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My Env", "for example 'my-env'"),
        ("BoilerRoom", "for example 'boiler-room'"),
        ("../up", "for example 'up'"),
        ("9lives", "for example 'lives'"),
        ("a--b", "for example 'a-b'"),
        ("übung", "cannot be the name"),
        ("q" * 41, "at most 40 characters"),
        ("", "cannot be the name"),
        ("pong", "is taken"),
    ],
)
def test_a_name_that_cannot_be_is_refused(ultra: Any, tmp_path: Path, name: str, said: str) -> None:
    done = ultra("plugins", "new", "environment", name, "--path", "new")
    assert done.code == 2
    assert said in done.err
    assert list(tmp_path.iterdir()) == []


def test_names_are_taken_per_kind(ultra: Any) -> None:
    assert ultra("plugins", "new", "llm", "pong").code == 0
    assert "ultra-agents 0" in ultra("plugins", "new", "algorithm", "ppo").err


def test_nothing_is_overwritten(ultra: Any, tmp_path: Path) -> None:
    (tmp_path / "ultra-agents-mine").mkdir()
    (tmp_path / "ultra-agents-mine" / "notes.txt").write_text("work of weeks")
    done = ultra("plugins", "new", "environment", "mine")
    assert done.code == 2
    assert "exists already; nothing was written" in done.err
    assert [path.name for path in (tmp_path / "ultra-agents-mine").iterdir()] == ["notes.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["ultra-agents-mine"]


def test_a_place_that_cannot_be_written_is_left_as_it_was(
    ultra: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    done = ultra("plugins", "new", "environment", "mine", "--path", "file/new")
    assert done.code == 2
    assert "cannot write file/new/ultra-agents-mine" in done.err

    def full(self: Path, *_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    done = ultra("plugins", "new", "environment", "mine")
    assert done.code == 2
    assert "No space left on device" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
