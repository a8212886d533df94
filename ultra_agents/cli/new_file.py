"""Files that commands write: new ones, unless a person says otherwise."""

from __future__ import annotations

from pathlib import Path

from ultra_agents.errors import ConfigError


def require_new(target: Path, overwrite: bool) -> None:
    """Refuse to write where a folder is, or with `overwrite` False any file.

    Raises:
        ConfigError: Something is there.
    """
    if target.is_dir():
        raise ConfigError(f"{target} is a folder; nothing was written", expected="a file", hint="--out FILE")
    if target.exists() and not overwrite:
        raise ConfigError(
            f"{target} exists already; nothing was written", expected="a new file",
            hint="--out OTHER, or --overwrite",
        )  # fmt: skip
