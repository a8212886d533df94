"""The conformance kit for plugins that read other tools' policies."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gymnasium.spaces import Box, Discrete

from ultra_agents.contracts import PolicyFormat, Request
from ultra_agents.errors import PolicyError
from ultra_agents.testing._format_sample import Sample, check_cut, check_reads, check_spaces, check_write
from ultra_agents.testing._report import Report, require, run_check

__all__ = ["Sample", "check_format"]
_SPACES = Box(-1.0, 1.0, (3,), np.float32), Discrete(2)
_DO = "see ultra_agents/contracts/formats.py"


def check_format(plugin: PolicyFormat, sample: Sample | None = None) -> Report:
    """Check a plugin against the contract.

    Files that are none must be refused in one sentence, whatever they hold. The rest needs a file of the format and
    what the tool itself says of it, which only its author has.

    Args:
        plugin: What is checked.
        sample: A file with what the policy in it does; without one `reads`, `cut` and `spaces` are skipped.
    """
    with tempfile.TemporaryDirectory(prefix="ultra-format-") as name:
        folder = Path(name)
        rubbish = _rubbish(folder, plugin.suffixes[0] if plugin.suffixes else ".bin")
        checks: tuple[tuple[str, Callable[[], str]], ...] = (
            ("suffixes", lambda: _suffixes(plugin)),
            ("recognises", lambda: _recognises(plugin, rubbish)),
            ("refuses", lambda: _refuses(plugin, rubbish)),
            ("reads", lambda: check_reads(plugin, sample)),
            ("cut", lambda: check_cut(plugin, sample, folder)),
            ("spaces", lambda: check_spaces(plugin, sample)),
            ("write", lambda: check_write(plugin, sample, folder)),
        )
        rows = tuple(run_check(name, check, _DO) for name, check in checks)
    return Report(type(plugin).__name__, rows)


def _rubbish(folder: Path, suffix: str) -> list[Path]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("data", "{}")
    whole = packed.getvalue()
    contents = {"empty": b"", "noise": bytes(range(256)) * 8, "zip": whole, "cut": whole[: len(whole) // 2]}
    paths = []
    for name, content in contents.items():
        path = folder / f"{name}{suffix}"
        path.write_bytes(content)
        paths.append(path)
    return paths


def _suffixes(plugin: PolicyFormat) -> str:
    require(
        plugin.suffixes and all(suffix.startswith(".") for suffix in plugin.suffixes),
        f"suffixes is {plugin.suffixes!r}, not endings with their dots",
    )
    return ", ".join(plugin.suffixes)


def _recognises(plugin: PolicyFormat, rubbish: list[Path]) -> str:
    for path in rubbish:
        found = plugin.recognises(path)
        require(isinstance(found, bool), f"recognises({path.name}) gives {found!r}, not True or False")
    return f"answers for {len(rubbish)} files that hold nothing"


def _refuses(plugin: PolicyFormat, rubbish: list[Path]) -> str:
    for path in rubbish:
        try:
            plugin.read(Request(path, *_SPACES))
        except PolicyError as error:
            require(error.found or error.hint, f"reading {path.name} says neither what was found nor what to do")
            continue
        require(False, f"read({path.name}) takes a file that holds nothing")
    return f"PolicyError for {len(rubbish)} files that hold nothing"
