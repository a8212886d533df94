"""Trajectories on disk: one `.npz` per episode, complete or not there at all, never a pickle.

Simulator states are kept as one deflated block with their lengths beside it; information as JSON.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ultra_agents.errors import RunError
from ultra_agents.files import what_is_at, whole_file
from ultra_agents.records import Array, Trajectory
from ultra_agents.text import parsed_json

_VERSION = 1
_NAME = re.compile(r"episode-(\d{6})\.npz")
MOST_BYTES = 1 << 30
"""Bytes that the packed information, or the packed states, of one episode may unpack to."""


def save_trajectories(folder: Path, trajectories: Sequence[Trajectory]) -> None:
    """Write one file per episode into `folder`, which is made if needed; files of other episodes go.

    Raises:
        RunError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for trajectory in trajectories:
            _write(folder / f"episode-{trajectory.episode:06d}.npz", _pack(trajectory))
        kept = {trajectory.episode for trajectory in trajectories}
        for path, episode in _files(folder):
            if episode not in kept:
                path.unlink()
    except OSError as error:
        raise RunError(
            f"cannot write trajectories to {folder}",
            found=str(error),
            hint="make room, or make the folder writable, and run the same command again",
        ) from error


def load_trajectories(folder: Path) -> list[Trajectory]:
    """Read what `save_trajectories` wrote, in order of the episodes.

    Raises:
        RunError: No trajectories there, or a file is damaged or of another version.
    """
    files = sorted(_files(folder), key=lambda found: found[1]) if folder.is_dir() else []
    if not files:
        below = sorted(folder.iterdir()) if folder.is_dir() else []
        inside = next((path for path in below if path.is_dir() and _files(path)), None)
        raise RunError(
            f"no trajectories in {folder}",
            found="other files" if below else "an empty folder" if folder.is_dir() else what_is_at(folder),
            expected="files episode-000000.npz, ...",
            hint=f"did you mean {inside}?" if inside else "name the folder trajectories/ of a run that has collected",
        )
    return [_read(path) for path, _ in files]


def _files(folder: Path) -> list[tuple[Path, int]]:
    matches = [(path, _NAME.fullmatch(path.name)) for path in folder.iterdir()]
    return [(path, int(match[1])) for path, match in matches if match]


def _write(path: Path, arrays: dict[str, Array]) -> None:
    with whole_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes a name for `allow_pickle`


def _pack(trajectory: Trajectory) -> dict[str, Array]:
    head = {
        "version": _VERSION,
        "episode": trajectory.episode,
        "seed": trajectory.seed,
        "terminated": trajectory.terminated,
        "truncated": trajectory.truncated,
        "infos": trajectory.infos,
    }
    arrays = {
        "head": _deflated(json.dumps(head).encode()),
        "observations": trajectory.observations,
        "actions": trajectory.actions,
        "rewards": trajectory.rewards,
        "values": trajectory.values,
    }
    if trajectory.snapshots is not None:
        arrays["snapshot_lengths"] = np.array([len(state) for state in trajectory.snapshots], np.int64)
        arrays["snapshots"] = _deflated(b"".join(trajectory.snapshots))
    return arrays


def _read(path: Path) -> Trajectory:
    try:
        with zipfile.ZipFile(path) as packed:  # written unpacked: nothing in it is larger than in the file
            if any(entry.file_size > entry.compress_size for entry in packed.infolist()):
                raise ValueError("its arrays are packed, which ultra-agents never does")
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Array] = dict(file)
        head: dict[str, Any] = dict(parsed_json(_inflated(arrays["head"])))
        if head["version"] != _VERSION:
            raise RunError(
                f"the trajectory {path} was written by another version of ultra-agents",
                found=f"format {head['version']}",
                expected=f"format {_VERSION}",
                hint="collect again",
            )
        states: tuple[bytes, ...] | None = None
        if "snapshots" in arrays:
            block = _inflated(arrays["snapshots"])
            ends = np.cumsum(arrays["snapshot_lengths"]).tolist()
            states = tuple(block[start:end] for start, end in zip([0, *ends], ends, strict=False))
        parts = [arrays[key] for key in ("observations", "actions", "rewards", "values")]
        lengths = [len(part) for part in (*parts, head["infos"], *(() if states is None else (states,)))]
        if len(set(lengths)) != 1:
            raise ValueError(f"lengths {lengths}")
        return Trajectory(
            episode=head["episode"],
            seed=head["seed"],
            observations=arrays["observations"],
            actions=arrays["actions"],
            rewards=arrays["rewards"],
            values=arrays["values"],
            infos=tuple(head["infos"]),
            terminated=head["terminated"],
            truncated=head["truncated"],
            snapshots=states,
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise RunError(
            f"the trajectory {path} is damaged", found=f"{type(error).__name__}: {error}", hint="collect again"
        ) from error


def _deflated(data: bytes) -> Array:
    return np.frombuffer(zlib.compress(data, 1), np.uint8)


def _inflated(packed: Array) -> bytes:
    """What `_deflated` packed; raises `ValueError` for more than `MOST_BYTES`."""
    machine = zlib.decompressobj()
    data = machine.decompress(packed.tobytes(), MOST_BYTES)
    if not machine.eof:
        raise ValueError(f"a part of it is cut, or unpacks to more than {MOST_BYTES:,} bytes")
    return data
