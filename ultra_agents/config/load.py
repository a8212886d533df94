"""Reading a configuration: a YAML file, its relative paths, and `a.b=c` overrides of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ultra_agents.config.run import Config
from ultra_agents.errors import ConfigError
from ultra_agents.registry import options_error


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and apply `a.b=c` overrides (values are YAML).

    Relative paths in the file are taken from the file's folder.

    Raises:
        ConfigError: Missing or unreadable file, bad YAML, unknown key, unusable value.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the configuration {path}",
            found=str(error),
            expected="a YAML file",
            hint="examples/pong.yaml is a complete one",
        ) from error
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML", found=" ".join(str(error).split())) from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds no mapping of settings", found=type(data).__name__)
    for override in overrides:
        _apply(data, override)
    return parse_config(data, str(path), base=path.parent)


def parse_config(data: dict[str, Any], whose: str, base: Path | None = None) -> Config:
    """Validate a mapping; `whose` names it in error messages."""
    data = data if base is None else _from_folder(data, base)
    try:
        return Config(**data)
    except ValidationError as error:
        raise options_error(whose, error, Config) from error
    except TypeError as error:
        raise ConfigError(f"{whose} has a key that is not a word", found=str(error)) from error


def _from_folder(data: dict[str, Any], base: Path) -> dict[str, Any]:
    """The settings with their relative paths taken from the folder `base`.

    Those are `policy.path`, `gateway.cache`, and options of models that name a .gguf or .jsonl file there.
    """
    data = dict(data)
    for section, key in (("policy", "path"), ("gateway", "cache")):
        settings = data.get(section)
        if isinstance(settings, dict) and isinstance(settings.get(key), str):
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
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError("--set takes key=value", found=override, expected="for example refine.steps=50000")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key} has an unreadable value", found=value) from error
    node: Any = data
    *parents, last = key.split(".")
    for part in parents:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ConfigError(f"--set {key}: {part!r} is not a section", found=repr(node))
    node[last] = parsed
