"""Help and version, and what they do not import."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from ultra_agents.version import __version__

HEAVY = {"torch", "langgraph", "langchain_core", "gymnasium", "numpy", "ale_py", "matplotlib", "scipy", "rich.live"}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["run", "--help"], ["doctor", "--help"], ["llm", "log", "-h"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from ultra_agents.cli.main import invoke\n"
        f"status = invoke({arguments!r})\n"
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)), status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY [] 0"


def test_the_check_above_sees_heavy_imports() -> None:
    code = f"import sys; import ultra_agents.config; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "gymnasium" in done.stdout


def test_version(ultra: Any) -> None:
    assert ultra("--version").out == f"ultra-agents {__version__}\n"


def test_every_command_is_in_the_help(ultra: Any) -> None:
    shown = ultra("--help").out
    assert all(word in shown for word in ("run", "resume", "doctor", "plugins", "llm"))
    assert all(word in ultra("plugins", "--help").out for word in ("list", "check"))
    assert all(word in ultra("llm", "--help").out for word in ("list", "log"))
