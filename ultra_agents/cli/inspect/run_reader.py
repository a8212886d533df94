"""A run folder read for `ultra inspect`: once, and again when its files have changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ultra_agents.cli.inspect.source import RunSource
    from ultra_agents.records import Trajectory
    from ultra_agents.runs import RunFolder
    from ultra_agents.ui.inspect.run_view import RunView

FileStats: TypeAlias = dict[str, tuple[int, int]]
"""Size and modification time of files, by their path below the run folder."""


class RunFolderReader:
    """Reads a run folder, and knows whether it has changed since.

    Args:
        path: The run folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stats: FileStats = {}
        self._episodes: tuple[FileStats, Sequence[Trajectory]] | None = None
        self._source: RunSource | None = None

    def changed(self) -> bool:
        """Whether a file that is shown, or the run's status, differs from when it was last read."""
        return self._file_stats() != self._stats

    def read(self) -> tuple[RunView, RunSource]:
        """Everything `ultra inspect` shows of a run.

        Raises:
            UltraError: No episodes yet, something damaged, or an environment that is not the run's.
        """
        from ultra_agents.cli.inspect.read import read_conversation, read_run
        from ultra_agents.cli.inspect.rules import read_view
        from ultra_agents.cli.inspect.source import RunSource, check_fit
        from ultra_agents.errors import RunError
        from ultra_agents.registry import create_environment
        from ultra_agents.runs import RunFolder

        stats = self._file_stats()  # before reading: what is written meanwhile is read the next time
        folder = RunFolder.open(self._path)
        environment = create_environment(folder.config.environment.name, folder.config.environment.options)
        if not any(folder.trajectories.glob("episode-*.npz")):
            raise RunError(
                f"{folder.path} has no episodes yet",
                found=f"finished stages: {', '.join(folder.done) or 'none'}",
                hint=f"go on with it: ultra resume {folder.path}",
            )
        trajectories = self._trajectories(folder, stats)
        check_fit(folder, environment, trajectories)
        conversation, damage = read_conversation(folder.transcript)
        rules, bound, more = read_view(folder, environment, trajectories)
        run = read_run(folder, trajectories, [*damage, *more], rules)
        self._source = RunSource(folder, environment, trajectories, conversation, self._source, bound)
        self._stats = stats
        return run, self._source

    def _trajectories(self, folder: RunFolder, stats: FileStats) -> Sequence[Trajectory]:
        """The episodes; read again only where their files changed."""
        from ultra_agents.rollout.store import load_trajectories

        below = folder.trajectories.name
        mine = {name: stat for name, stat in stats.items() if name.startswith(f"{below}/")}
        if self._episodes is None or self._episodes[0] != mine:
            self._episodes = mine, load_trajectories(folder.trajectories)
        return self._episodes[1]

    def _file_stats(self) -> FileStats:
        from ultra_agents.cli.inspect.read import status_of
        from ultra_agents.runs import RunFolder
        from ultra_agents.runs.notes import NOTES

        folder = RunFolder.open(self._path)
        shown = [folder.explain, folder.path / f"{folder.explain.name}-wal", folder.transcript]
        shown += sorted(folder.trajectories.glob("episode-*.npz"))
        shown += sorted(folder.checkpoints.glob("*-best.safetensors"))
        shown += [folder.path / "state.json", folder.path / NOTES]
        found: FileStats = {"": (len(folder.done), hash(status_of(folder)))}
        for path in shown:
            try:
                status = path.stat()
            except OSError:
                continue
            found[str(path.relative_to(folder.path))] = status.st_size, status.st_mtime_ns
        return found
