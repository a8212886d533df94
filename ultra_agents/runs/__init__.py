"""The run folder: layout and stages (`folder`), its files (`files`), what it reads (`inputs`), forks (`lineage`)."""

from ultra_agents.runs.files import made_with, read_lines, versions
from ultra_agents.runs.folder import FORMAT, RunFolder
from ultra_agents.runs.inputs import with_absolute_paths

__all__ = ["FORMAT", "RunFolder", "made_with", "read_lines", "versions", "with_absolute_paths"]
