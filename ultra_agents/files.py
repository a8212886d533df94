"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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


def write_whole(target: Path, content: str | bytes) -> None:
    """Write a file completely or not at all, text as UTF-8; its folder is made if needed.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    with whole_file(target) as file:
        file.write(content.encode() if isinstance(content, str) else content)
