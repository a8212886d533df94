"""`ultra explain`: the measures on the terminal and as JSON, comparisons on shared episodes, bad input."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from ultra_agents.cli.main import invoke

SCRIPT = "ultra_agents.testing.corridor_script"
SMALL: dict[str, Any] = {
    "name": "one",
    "environment": {"name": "corridor", "options": {"length": 15, "max_steps": 30}},
    "policy": {"train_steps": 512},
    "llms": {
        "good": {"provider": "scripted", "options": {"callable": f"{SCRIPT}:good"}},
        "bad": {"provider": "scripted", "options": {"callable": f"{SCRIPT}:bad"}},
    },
    "collect": {"episodes": 2},
    "verification": {"mode": "both", "max_pairs": 4, "horizon": 30, "decide": "single"},
    "refine": {
        "steps": 600, "num_envs": 2, "workers": 0, "evaluate_every": 300, "curve_episodes": 2,
        "algorithm": {"name": "ppo", "options": {"clone_steps": 50, "clone_steps_max": 50}},
    },
    "evaluate": {"episodes": 2},
}  # fmt: skip


@pytest.fixture
def small(config: Path) -> Any:
    """Writes a small configuration, with changes."""

    def write(**changes: Any) -> str:
        config.write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False))
        return str(config)

    return write


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, str]]:
    """Where `ultra explain` with these arguments left its run, made once, and what it said on standard output."""

    @cache
    def made(*arguments: str) -> tuple[Path, str]:
        folder, out = tmp_path_factory.mktemp("explained"), io.StringIO()
        (folder / "config.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
        with contextlib.chdir(folder), contextlib.redirect_stdout(out):
            assert invoke(("explain", "config.yaml", *arguments)) == 0
        return folder, out.getvalue()

    return made


@pytest.fixture
def after(ultra: Any, explained: Any, tmp_path: Path) -> Callable[..., str]:
    """Brings such a run into the working directory; what was said on standard output."""

    def bring(*arguments: str) -> str:
        folder, out = explained(*arguments)
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        return str(out)

    return bring


def events(folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "events.jsonl").read_text().splitlines()]


def stages(folder: str) -> list[str]:
    return [row["stage"] for row in events(folder) if row["event"] == "StageStarted"]


def test_it_stops_before_refining_prints_the_measures_and_keeps_them(ultra: Any, small: Any) -> None:
    done = ultra("explain", small(), "--plain")
    assert done.code == 0, done.err
    for word in ("advice precision", "gain of a suggestion", "environment steps", "tokens", "Intervals at 95%"):
        assert word in done.out
    assert stages("runs/one") == ["policy", "collect", "probe", "narrate", "explain", "tabulate", "measure"]
    kept = json.loads(Path("runs/one/measures.json").read_text())
    assert kept["proposed"] > 0
    assert kept["cost"]["tokens"] > 0
    assert not Path("runs/one/report.html").exists()


def test_json_is_all_there_is_on_standard_output(ultra: Any, small: Any) -> None:
    done = ultra("explain", small(), "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert list(found) == ["good"]
    assert {"precision", "gain", "touched", "rank", "cost", "per_accepted", "fidelity", "trials"} <= set(found["good"])
    assert "stage   explain" in done.err


def test_a_run_that_was_explained_is_only_printed(ultra: Any, after: Any) -> None:
    first = after("--json")
    count = len(events("runs/one"))
    for target in ("config.yaml", "one", "runs/one"):
        again = ultra("explain", target, "--json")
        assert (again.code, again.out) == (0, first)
    assert len(events("runs/one")) == count


def test_a_resumed_run_goes_on_to_refining_without_asking_again(ultra: Any, after: Any) -> None:
    after("--json")
    asked = Path("runs/one/transcript.jsonl").read_text()
    done = ultra("resume", "one", "--plain")
    assert done.code == 0, done.err
    assert Path("runs/one/transcript.jsonl").read_text() == asked
    report = json.loads(Path("runs/one/report.json").read_text())
    assert report["measures"] == json.loads(Path("runs/one/measures.json").read_text())
    page = Path("runs/one/report.html").read_text()
    assert "What the advice is worth" in page
    assert "Advice precision" in page


def test_a_comparison_is_side_by_side_on_the_same_episodes(ultra: Any, small: Any) -> None:
    done = ultra("explain", small(evaluate={"episodes": 2, "fidelity": 2}), "--compare", "good,bad,random", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert list(found) == ["good", "bad", "random"]
    assert [found[name]["proposer"] for name in found] == ["good", "bad", "random"]
    assert found["random"]["cost"]["tokens"] == 0
    assert found["good"]["fidelity"]["scores"]
    root = Path("runs/one-compare")
    assert sorted(path.name for path in root.iterdir()) == ["bad", "good", "random"]
    first, *others = [sorted((root / name / "trajectories").iterdir()) for name in found]
    for other in others:
        assert [path.read_bytes() for path in other] == [path.read_bytes() for path in first]
    assert any(row["event"] == "StageProgress" and row["stage"] == "collect" for row in events(str(root / "good")))
    assert not any(row["event"] == "StageProgress" and row["stage"] == "collect" for row in events(str(root / "bad")))


def test_a_comparison_on_a_runs_own_episodes(ultra: Any, after: Any) -> None:
    after("--json")
    done = ultra("explain", "one", "--compare", "value,oracle", "--plain")
    assert done.code == 0, done.err
    copied = sorted(Path("runs/one-compare/oracle/trajectories").iterdir())
    assert [p.read_bytes() for p in copied] == [
        p.read_bytes() for p in sorted(Path("runs/one/trajectories").iterdir())
    ]


@pytest.mark.parametrize("width", ["80", "120"])
def test_tables_fit_the_terminal(ultra: Any, after: Any, monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    after("--compare", "good,bad,random,value,oracle", "--plain")
    monkeypatch.setenv("COLUMNS", width)
    done = ultra("explain", "config.yaml", "--compare", "good,bad,random,value,oracle", "--plain")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= int(width)
    assert "…" not in done.out
    assert done.out.count("advice precision") == (2 if width == "80" else 1)


@pytest.mark.parametrize(
    ("arguments", "problem", "hint"),
    [
        (["nowhere"], "there is neither a configuration nor a run nowhere", "examples/pong.yaml"),
        (["CONFIG", "--compare", "goood"], "nobody is called 'goood'", "did you mean 'good'?"),
        (["CONFIG", "--compare", "good,good"], "names 'good' twice", ""),
        (["CONFIG", "--compare", " , "], "--compare names nobody", ""),
        (["CONFIG", "--compare", "scripted"], "several models of this configuration", "good, bad"),
        (["CONFIG", "--compare", "good,a/b"], "nobody is called 'a/b'", ""),
        (["CONFIG", "--set", "proposer=nobody"], "proposer is not usable", ""),
    ],
)
def test_bad_input_is_one_clear_error_and_leaves_nothing(
    ultra: Any, small: Any, arguments: list[str], problem: str, hint: str
) -> None:
    path = small()
    done = ultra("explain", *(path if word == "CONFIG" else word for word in arguments))
    assert done.code == 2
    assert problem in done.err
    assert hint in done.err
    assert "Traceback" not in done.err
    assert not Path("runs").exists()


def test_an_oracle_without_an_expert_is_refused_before_anybody_is_asked(
    ultra: Any, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultra_agents.contracts import Environment
    from ultra_agents.testing.corridor import Corridor

    monkeypatch.setattr(Corridor, "expert", Environment.expert)
    done = ultra("explain", small(), "--compare", "good,oracle")
    assert done.code == 2
    assert "has no expert, so there is no oracle" in done.err
    assert not Path("runs").exists()


def test_a_run_keeps_the_configuration_it_began_with(ultra: Any, after: Any) -> None:
    after("--json")
    changed = ultra("explain", "config.yaml", "--set", "seed=9")
    assert changed.code == 2
    assert "exists already, with another configuration" in changed.err
    assert "--name one-2" in changed.err
    told = ultra("explain", "one", "--set", "seed=9")
    assert told.code == 2
    assert "its configuration is what it began with" in told.err


def test_a_spending_cap_stops_resumably(ultra: Any, small: Any) -> None:
    path = small(gateway={"budget": {"calls": 2}})
    done = ultra("explain", path, "--plain")
    assert done.code == 3
    assert "ultra resume runs/one --set gateway.budget.calls=MORE" in done.err
    assert ultra("resume", "one", "--plain", "--set", "gateway.budget.calls=500").code == 0


RULES = """\
constants: {at: [0, 0, 20]}
rules:
  - {when: cell > at, do: RIGHT, why: the goal is there}
"""


def test_proposers_of_rules_are_compared_on_the_same_episodes(ultra: Any, small: Any, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    ruled = {
        "proposer": "file", "advice": {"file": "rules.yaml", "candidates": 3},
        "verification": {"rules": {"horizon": 30}}, "refine": {**SMALL["refine"], "steps": 9_000},
    }  # fmt: skip
    done = ultra("explain", small(**ruled), "--compare", "file,random,constants", "--plain")
    assert done.code == 0, done.err
    for words in ("rules: verdict", "gain per episode", "sets of rules", "steps of their test", "paired episodes"):
        assert words in done.out, done.out
    assert "advice precision" not in done.out
    names = ("file", "random", "constants")
    kept = {name: json.loads(Path(f"runs/one-compare/{name}/measures.json").read_text()) for name in names}
    assert {name: one["rules"]["sets"] for name, one in kept.items()} == {"file": 1, "random": 3, "constants": 3}
    assert kept["file"]["rules"]["verdict"] == "accepted"
    assert all(0 < one["rules"]["env_steps"] <= 3_000 for one in kept.values())
    episodes = {
        name: sorted(path.read_bytes() for path in Path(f"runs/one-compare/{name}/trajectories").iterdir())
        for name in names
    }
    assert episodes["file"] == episodes["random"] == episodes["constants"]


@pytest.mark.parametrize(
    ("changes", "names", "told"),
    [
        ({}, "random,constants", "names none"),
        ({}, "file", "names none"),
        ({"proposer": "file", "advice": {"file": "rules.yaml"}}, "file,oracle", "proposes moves only"),
        ({"proposer": "file", "advice": {"file": "gone.yaml"}}, "file,random", "gone.yaml"),
    ],
)
def test_a_comparison_of_rules_that_cannot_be_is_refused(
    ultra: Any, small: Any, tmp_path: Path, changes: dict[str, Any], names: str, told: str
) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    done = ultra("explain", small(**changes), "--compare", names, "--plain")
    assert done.code == 2
    assert told in done.err
    assert "Traceback" not in done.err
    assert not Path("runs").exists()
