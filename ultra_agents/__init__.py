"""Ultra Agents: LLM agents explain where a policy's episodes were decided; what holds refines the policy.

The flow is in `ultra_agents.pipeline`; what a plugin offers is in `ultra_agents.contracts`.
Method: ULTRA (arXiv 2505.20671).

    policy = ultra_agents.load_policy("policy.safetensors")
    actions = policy.act(observations)
"""

from typing import TYPE_CHECKING

from ultra_agents.version import __version__

if TYPE_CHECKING:
    from ultra_agents.policies import open_policy as load_policy

__all__ = ["__version__", "load_policy"]


def __getattr__(name: str) -> object:
    """`load_policy`, imported when it is first asked for: `ultra --help` has no use for it."""
    if name != "load_policy":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ultra_agents.policies import open_policy

    return open_policy
