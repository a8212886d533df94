"""The run folder: its layout and stages (`folder`), the files it is made of (`files`), and forks (`lineage`)."""

from ultra_agents.runs.files import read_lines, versions
from ultra_agents.runs.folder import FORMAT, RunFolder, with_absolute_paths

__all__ = ["FORMAT", "RunFolder", "read_lines", "versions", "with_absolute_paths"]
