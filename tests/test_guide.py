"""`examples/write_an_environment_plugin.md`, executed from the first command to the finished run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from ultra_agents.config import parse_config

GUIDE = Path(__file__).parent.parent / "examples" / "write_an_environment_plugin.md"

SHELL = """set -e
ultra() { "$PYTHON" -m ultra_agents.cli.main "$@"; }
python() { "$PYTHON" "$@"; }
pip() {  # `pip install -e FOLDER`, offline: metadata in a folder of its own, the code stays where it is
  test "$1 $2" = "install -e"
  cp -r "$3" "$SITE.source"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \\
    --target "$SITE" "$SITE.source"
  rm "$SITE"/*.py
}
"""


class Block(NamedTuple):
    """A fenced block: its language, what follows it, its text."""

    language: str
    rest: str
    text: str


def blocks() -> list[Block]:
    found = re.findall(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(*part) for part in found]


def test_every_block_is_one_this_test_executes() -> None:
    kinds = {(block.language, block.rest.rpartition(".")[2]) for block in blocks()}
    assert kinds == {("sh", ""), ("sh", "fails"), ("python", "py"), ("yaml", "yaml"), ("yaml", "")}
    assert GUIDE.read_text().count("```") == 2 * len(blocks())


def test_the_guide_works(tmp_path: Path) -> None:
    project = tmp_path / "ultra-agents-crossing"
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "SITE": str(tmp_path / "site"),
        "PYTHONPATH": os.pathsep.join([str(project), str(tmp_path / "site")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    begun: set[str] = set()
    said: list[str] = []
    for block in blocks():
        if block.language == "sh":
            command = ["bash", "-c", SHELL + block.text]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == (2 if block.rest == "fails" else 0), block.text + done.stdout + done.stderr
            said.append(" ".join(done.stdout.split()))
        elif block.language == "python":
            path = project / block.rest
            before = path.read_text() + "\n\n" if block.rest in begun else ""
            path.write_text(before + block.text)
            begun.add(block.rest)
        elif block.rest:
            (tmp_path / block.rest).write_text(block.text)
    start, complete, broken, _, tests, run = said
    assert "Crossing-100-draught0.3-v0: conforms" in start, "the template's own world"
    assert "Crossing-150-traffic0.35-v0: conforms" in complete
    assert "restored elsewhere after 0 steps: observations differ" in broken
    assert "1 check failed" in broken
    assert "2 passed" in tests
    assert "report: runs/crossing/report.html" in run
    report = json.loads((tmp_path / "runs" / "crossing" / "report.json").read_text())
    assert report["advice"]["proposed"] > 0
    assert (tmp_path / "runs" / "crossing" / "report.html").is_file()


def test_the_configurations_are_valid() -> None:
    whole = yaml.safe_load(next(block.text for block in blocks() if block.rest == "crossing.yaml"))
    assert parse_config(whole, "the guide").environment.name == "crossing"
    (part,) = [yaml.safe_load(block.text) for block in blocks() if block.language == "yaml" and not block.rest]
    assert parse_config({**whole, **part}, "the guide").llms["default"].provider == "openai"


def test_the_guides_figures_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "\n\n".join(block.text for block in blocks() if block.rest == "ultra_agents_crossing.py")
    (tmp_path / "ultra_agents_crossing.py").write_text(code)
    program = (
        "import numpy as np\nimport ultra_agents_crossing as guide\n"
        "environment = guide.CrossingPlugin(guide.CrossingOptions())\n"
        "rng = np.random.default_rng(1)\n"
        "for act in (lambda rows: rng.integers(0, 2, len(rows)), guide.patient):\n"
        "    envs, total = environment.make(300), 0.0\n"
        "    observations, _ = envs.reset(seed=list(range(5000, 5300)))\n"
        "    for _ in range(150):\n"
        "        observations, rewards, *_ = envs.step(act(observations))\n"
        "        total += rewards.mean()\n"
        "    print(total)\n"
        "print(guide.RANDOM)\nprint(guide.PATIENT)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    random, patient, said_random, said_patient = map(float, done.stdout.split())
    assert said_random == pytest.approx(random, abs=20)
    assert said_patient == pytest.approx(patient, abs=5)
