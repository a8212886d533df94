"""What a run reads from elsewhere, and whether a configuration is the one a run began with.

Files count by what is in them, not by where they lie: a comparison goes on after its folder or the repository was
moved, and does not mix the results of two recordings, policies or files of rules that lay at one place, one after
the other.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultra_agents.runs.files import leaves

if TYPE_CHECKING:  # imports gymnasium: too slow for `ultra --help`
    from ultra_agents.config import Config

_SHOWN = 40
"""Characters of a value that are told."""


def with_absolute_paths(config: Config) -> Config:
    """The configuration as a run folder keeps it: its paths do not depend on the working directory."""
    from ultra_agents.config.load import PATHS

    for section, key in PATHS:
        settings = getattr(config, section)
        if isinstance(place := getattr(settings, key), Path):
            changed = settings.model_copy(update={key: place.absolute()})
            config = config.model_copy(update={section: changed})
    return config


def read_elsewhere(config: Config) -> dict[str, str]:
    """A digest of each file and folder that the settings name and that is there, by setting: `policy.path`, ...

    Options of models that name a `.jsonl` file (a cassette) are among them; what is larger, `.gguf`, is not.
    """
    return {key: found for key, path in _named(_deciding(config)) if (found := _digest_at(Path(path))) is not None}


def differences(kept: Config, began: Mapping[str, str], asked: Config, advised: bool = False) -> list[str]:
    """What sets a configuration apart from that of a run, a sentence each; none where the run may go on with it.

    What nothing in a run reads sets none apart: a model that no agent asks, and without a method that uses advice all
    that makes advice. So a comparison that is given another model keeps the cells that it has.

    Args:
        kept: The run's configuration.
        began: What `read_elsewhere` said when it began; of runs of earlier versions nothing.
        asked: What it shall go on with, its paths absolute.
        advised: The run has made advice, whether a method uses it or not.
    """
    before, now = _deciding(kept, advised), _deciding(asked, advised)
    places, others = dict(_named(before)), dict(_named(now))
    told = []
    for key in dict.fromkeys((*before, *now)):
        old, new = before.get(key), now.get(key)
        if key not in places or key not in others:
            if old != new:
                told.append(f"{key} is {_short(old)} there, {_short(new)} here")
            continue
        there, here = Path(places[key]), Path(others[key])
        held = began.get(key) or (None if there == here else _digest_at(there))
        holds = _digest_at(here)
        if there == here and (held is None or holds is None):
            continue  # who reads it says so where it is gone
        if held is None:
            told.append(f"{key} is {there} there, which is gone, {here} here")
        elif held != holds:
            told.append(f"{key} is not what it was: {here} holds something else")
    return told


def _named(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from ultra_agents.config.load import PATHS

    places = {".".join(path) for path in PATHS}
    for key, value in settings.items():
        option = key.startswith("llms.") and isinstance(value, str) and value.endswith(".jsonl")
        if option or (key in places and value is not None):
            yield key, value


def _deciding(config: Config, advised: bool = True) -> dict[str, Any]:
    """Every setting that a number may depend on, by its dotted name: not where answers are cached either."""
    from ultra_agents.config import unread

    without: dict[str, Any] = {**dict.fromkeys(config.APART, True), "gateway": {"cache"}, **unread(config, advised)}
    return leaves(config.model_dump(mode="json", exclude=without))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _digest_at(path: Path) -> str | None:
    """Of a file's bytes, or of the names and bytes of all in a folder; None where nothing is or can be read."""
    try:
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        if not files:
            return None
        whole = hashlib.sha256()
        for file in files:
            seen = file.stat()
            inner = "" if file == path else file.relative_to(path).as_posix()
            whole.update(f"{inner}\0{_digest_of(file, seen.st_size, seen.st_mtime_ns)}\n".encode())
        return whole.hexdigest()[:16]
    except OSError:
        return None


@functools.lru_cache(maxsize=4096)
def _digest_of(file: Path, size: int, changed_ns: int) -> str:
    """Read once for all cells of a comparison, as long as neither size nor time of change differ."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
