"""The example of somebody else's plugin: installed by pip on its own, checked, and run through the whole flow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.installed import pip_install, python, ultra

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "third_party_plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the example, as a wheel would be; nothing is downloaded."""
    folder = tmp_path_factory.mktemp("third-party")
    shutil.copytree(EXAMPLE, folder / "source")  # building leaves files beside the source
    pip_install(folder / "site", folder / "source")
    return folder / "site"


def output(site: Path, folder: Path, *arguments: str) -> str:
    """What `python -m ...` says."""
    done = python(site, folder, "-m", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def told(site: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What `ultra plugins list` and `ultra plugins check` say of it."""
    commands = ["plugins", "list", "--json"], ["plugins", "check", "restock"]
    done = ultra(site, tmp_path_factory.mktemp("told"), *commands)
    assert [one.returncode for one in done] == [0, 0], done
    return [one.stdout for one in done]


def test_it_is_a_distribution_of_its_own(site: Path, told: list[str]) -> None:
    assert sorted(path.name for path in site.iterdir() if path.name != "__pycache__") == [
        "ultra_restock", "ultra_restock-1.0.0.dist-info",
    ]  # fmt: skip
    (row,) = [row for row in json.loads(told[0]) if row["name"] == "restock"]
    assert (row["kind"], row["distribution"], row["version"]) == ("environment", "ultra-restock", "1.0.0")
    assert row["capabilities"] == ["expert", "quantities", "reference_returns", "render", "snapshot"]


def test_its_own_tests_pass(site: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    assert "5 passed" in output(site, tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "tests")


def test_the_kit_finds_it_like_a_builtin(site: Path, told: list[str]) -> None:
    assert "Restock-8weeks-spoil0.08-v1: conforms" in told[1]
    ours = str(ROOT / "tests" / "testing" / "test_environment_kit.py")
    ran = output(site, ROOT, "pytest", "-q", "-p", "no:cacheprovider", ours, "-k", "every_registered and restock")
    assert "1 passed" in ran, "the suite's parametrisation covers what is installed"


def test_it_runs_through_the_whole_flow(site: Path, tmp_path: Path) -> None:
    small = [
        "policy.train_steps=2000", "collect.episodes=2", "narration.segments_per_episode=1", "refine.steps=4000",
        "refine.evaluate_every=2000", "refine.curve_episodes=4", "evaluate.episodes=8",
        "verification.confidence=0.6", "verification.max_pairs=4", "verification.min_pairs=2",
        "refine.algorithm.name=ppo", "refine.algorithm.options.clone_steps=300",
    ]  # fmt: skip
    changes = [part for one in small for part in ("--set", one)]
    output(site, tmp_path, "ultra_agents.cli.main", "run", str(EXAMPLE / "run.yaml"), "--plain", *changes)
    folder = tmp_path / "runs" / "restock"
    report = json.loads((folder / "report.json").read_text())
    assert set(report["methods"]) == {"ultra-ra", "continue"}
    assert report["advice"]["proposed"] > 0
    advice = [json.loads(line) for line in (folder / "advice.jsonl").read_text().splitlines()]
    assert advice, "the rule of shopkeeping helps a beginner somewhere"
    assert all(row["plan"]["moves"][0][0].startswith("ORDER_") and row["test"]["passed"] for row in advice)
    updates = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {row["method"] for row in updates} == {"ultra-ra", "continue"}
    assert json.loads((folder / "versions.json").read_text())["ultra-restock"] == "1.0.0"
    assert "</html>" in (folder / "report.html").read_text()
