"""Reading a configuration: a YAML file, its relative paths, and `a.b=c` overrides of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ultra_agents.config.run import Config
from ultra_agents.errors import ConfigError
from ultra_agents.option_errors import options_error
from ultra_agents.postgres import is_address
from ultra_agents.yaml_text import read_setting, read_settings


def load_config(path: Path, overrides: Sequence[str] = (), base: Path | None = None) -> Config:
    """Read a configuration file and apply `a.b=c` overrides (values are YAML).

    Relative paths are taken from `base`, by default the file's folder.

    Raises:
        ConfigError: Missing or unreadable file, bad YAML, a key twice, unknown key, unusable value.
    """
    data = read_settings(path, "configuration", "examples/pong.yaml")
    for override in overrides:
        _apply(data, override)
    return parse_config(data, str(path), base=path.parent if base is None else base)


def parse_config(data: dict[str, Any], whose: str, base: Path | None = None) -> Config:
    """Validate a mapping; `whose` names it in error messages."""
    data = data if base is None else _from_folder(data, base)
    try:
        return Config(**data)
    except ValidationError as error:
        raise options_error(whose, error, Config) from error


PATHS = (("policy", "path"), ("collect", "folder"), ("gateway", "cache"), ("advice", "file"))
"""Settings that name a file or folder."""


def _from_folder(data: dict[str, Any], base: Path) -> dict[str, Any]:
    """The settings with their relative paths taken from the folder `base`.

    Those are `policy.path`, `collect.folder`, `gateway.cache`, `advice.file`, and options of models that name a .gguf
    or .jsonl file there.
    """
    data = dict(data)
    for section, key in PATHS:
        settings = data.get(section)
        if isinstance(settings, dict) and isinstance(settings.get(key), str) and not is_address(settings[key]):
            data[section] = {**settings, key: str(base / Path(settings[key]).expanduser())}
    if not isinstance(data.get("llms"), dict):
        return data
    llms = {}
    for name, entry in data["llms"].items():
        options = entry.get("options") if isinstance(entry, dict) else None
        if isinstance(options, dict):
            found = {key: str((base / value).absolute()) for key, value in options.items() if _is_file(base, value)}
            entry = {**entry, "options": {**options, **found}}
        llms[name] = entry
    return {**data, "llms": llms}


def _is_file(base: Path, value: object) -> bool:
    return isinstance(value, str) and value.endswith((".gguf", ".jsonl")) and (base / value).is_file()


def _apply(data: dict[str, Any], override: str) -> None:
    key, value = read_setting(override, "refine.steps=50000")
    node: Any = data
    *parents, last = key.split(".")
    for part in parents:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ConfigError(f"--set {key}: {part!r} is not a section", found=repr(node))
    node[last] = value
