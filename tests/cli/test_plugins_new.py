"""`ultra plugins new`: what it writes installs and passes its own test; what it refuses it leaves alone."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli import installed
from ultra_agents.cli.plugins.new import _words, render

Done = subprocess.CompletedProcess[str]
KINDS = ("environment", "algorithm", "llm", "format", "method")


@dataclass(frozen=True)
class Installed:
    """One new plugin of every kind, side by side: how each was written, and what was said of each once installed.

    Attributes:
        files: Names of the files that were written, by kind.
        written: `ultra plugins new`, by kind.
        own: What pytest said of all their own tests, a line each.
        checked: `ultra plugins check`, by kind.
        listed: `ultra plugins list`.
    """

    files: dict[str, list[str]]
    written: dict[str, Done]
    own: Done
    checked: dict[str, Done]
    listed: Done


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    root = tmp_path_factory.mktemp("new")
    site, place = root / "site", ["--path", "somewhere/new"]
    written = installed.ultra(site, root, *(["plugins", "new", kind, f"boiler-{kind}", *place] for kind in KINDS))
    folders = [root / "somewhere" / "new" / f"ultra-agents-boiler-{kind}" for kind in KINDS]
    files = [sorted(path.name for path in folder.iterdir()) for folder in folders]  # building leaves some more there
    installed.pip_install(site, *folders)
    own = installed.python(site, root, "-m", "pytest", "-v", "-p", "no:cacheprovider", *map(str, folders))
    commands = [["plugins", "check", f"boiler-{kind}"] for kind in KINDS]
    checked = installed.ultra(site, root, *commands)
    listed = installed.python(site, root, "-m", "ultra_agents.cli.main", "plugins", "list")

    def by_kind(rows: list[Any]) -> dict[str, Any]:
        return dict(zip(KINDS, rows, strict=True))

    return Installed(by_kind(files), by_kind(written), own, by_kind(checked), listed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_installs_and_passes_at_once(made: Installed, kind: str) -> None:
    done = made.written[kind]
    assert done.returncode == 0, done.stderr
    assert made.files[kind] == [
        "README.md", "pyproject.toml", f"test_ultra_agents_boiler_{kind}.py", f"ultra_agents_boiler_{kind}.py",
    ]  # fmt: skip
    assert f"ultra plugins check boiler-{kind}" in done.stdout
    own = [line for line in made.own.stdout.splitlines() if f"test_ultra_agents_boiler_{kind}.py::" in line]
    assert own, made.own.stdout + made.own.stderr
    assert all(" PASSED" in line for line in own), made.own.stdout
    checked = made.checked[kind]
    assert checked.returncode == 0, checked.stdout
    assert "conforms" in checked.stdout
    assert f"boiler-{kind}" in made.listed.stdout
    assert f"ultra-agents-boiler-{kind}" in made.listed.stdout


def test_every_test_of_the_new_plugins_passed(made: Installed) -> None:
    assert made.own.returncode == 0, made.own.stdout


@pytest.mark.parametrize("kind", KINDS)
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


@pytest.mark.parametrize("kind", KINDS)
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
