"""Ultra Agents: LLM agents explain where a policy's episodes were decided; what holds refines the policy.

The flow is in `ultra_agents.pipeline`; what a plugin offers is in `ultra_agents.contracts`.
Method: ULTRA (arXiv 2505.20671).
"""

from ultra_agents.version import __version__

__all__ = ["__version__"]
