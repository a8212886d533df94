"""Forks: runs that share finished stages with another (`fork`, `sharing`); which stage reads what (`settings`)."""

from ultra_agents.forks.fork import fork_config, make_fork, shared_stages
from ultra_agents.forks.settings import Change, changes
from ultra_agents.forks.sharing import Counts

__all__ = ["Change", "Counts", "changes", "fork_config", "make_fork", "shared_stages"]
