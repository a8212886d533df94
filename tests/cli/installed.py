"""Distributions installed by pip into a folder, and processes that see what is in there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ULTRA = """
import contextlib, io, json, sys
from ultra_agents.cli.main import invoke
rows = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = invoke(arguments)
    rows.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(rows))
"""


def pip_install(target: Path, *sources: Path) -> None:
    """As a wheel would be; nothing is downloaded."""
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps",
        "--no-build-isolation", "--target", str(target), *map(str, sources),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def python(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python ...` in `folder`, with what is installed in `site`."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def ultra(site: Path, folder: Path, *commands: list[str]) -> list[subprocess.CompletedProcess[str]]:
    """Several `ultra ...` one after another in one process: starting takes longer than most of them."""
    done = python(site, folder, "-c", ULTRA, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    rows = zip(commands, json.loads(done.stdout), strict=True)
    return [subprocess.CompletedProcess(command, *row) for command, row in rows]
