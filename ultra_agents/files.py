"""Files that appear complete or not at all, and lines that are added to files."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ultra_agents.text import valid_text

_TEMPORARY = re.compile(r"\..+\.(\d+)-\d+\.tmp")
"""Of `whole_file`, with the number of its process."""


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `target` when the block ends, and is removed when it raises.

    Its folder is made if needed. It is on disk before it replaces what was there.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def what_is_at(path: Path) -> str:
    """What there is instead of what was looked for, for messages."""
    return "a folder" if path.is_dir() else "a file" if path.exists() else "nothing of that name"


def write_whole(target: Path, content: str | bytes) -> None:
    """Write a file completely or not at all, text as UTF-8; its folder is made if needed.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    with whole_file(target) as file:
        file.write(valid_text(content).encode() if isinstance(content, str) else content)


def no_link(path: str, flags: int) -> int:
    """An `opener` for `open` that refuses a symbolic link, which would be written through; raises `OSError`."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def add_line(file: int, line: bytes, *, first: bool) -> None:
    """Add a line to an open file, unbuffered.

    Args:
        file: Descriptor, open for reading and for appending.
        line: With its end.
        first: The first since it was opened: a line that a crash or a full disk left unfinished is ended before it.

    Raises:
        OSError: Not all of it could be written; the next line shall be a first one.
    """
    end = os.lseek(file, 0, os.SEEK_END) if first else 0
    if end and os.pread(file, 1, end - 1) != b"\n":
        line = b"\n" + line
    while line:  # a disk that is nearly full takes a part, and refuses the rest
        line = line[os.write(file, line) :]


def sweep(folder: Path) -> None:
    """Remove what killed writers of whole files left in `folder` and below; those of living processes are kept."""
    for path in folder.rglob(".*.tmp"):
        if (named := _TEMPORARY.fullmatch(path.name)) and not lives(int(named[1])):
            path.unlink(missing_ok=True)


def lives(process: int) -> bool:
    """Whether another process of this machine has this number."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
