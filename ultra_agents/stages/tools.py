"""The tools of the agents, for stages that ask models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ultra_agents.agents.tools.toolbox import SIMULATED, Toolbox
from ultra_agents.llm.gateway import Gateway
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings
from ultra_agents.stages.narrate import restores

SHARE = 3
"""Tools may take one in so many of the environment steps that each method has: the rest is for refining."""


@contextmanager
def tools_of(context: RunContext, findings: Findings, gateway: Gateway) -> Iterator[Toolbox | None]:
    """The tools that `agents.tools` asks for; None where it asks for none.

    Their random numbers are not those of the tests, and those of recorded episodes do not depend on the run's seed:
    what tools say is part of what agents are shown.
    """
    config = context.config
    wanted = config.agents.tools
    if wanted is None:
        yield None
        return
    simulates = any(name in SIMULATED for name in wanted.use)
    exact = not simulates or restores(context, findings, "tools try nothing in the simulator")
    roles = [getattr(config.agents, role) for role in wanted.roles]
    conversations = len(findings.told) if config.of_moves else 0
    if config.of_rules:
        conversations += len({one.segment.episode for one in findings.narrations})
    with Toolbox(
        gateway=gateway,
        config=wanted,
        environment=context.environment,
        policy=context.policy,
        trajectories=findings.trajectories,
        streams=context.telling(findings.trajectories).child("tools"),
        agents=context.agents,
        verification=config.verification,
        conversations=conversations,
        most_steps=min(wanted.steps, config.refine.steps // SHARE),
        restores=exact,
    ) as box:
        if not box.share.calls:
            text = f"{wanted.calls} calls shared by {conversations} conversations leave none"
            context.note("tools", f"tools: skipped, {text}: raise agents.tools.calls")
        for role in roles:
            names = role.names or (next(iter(config.llms)),)
            if not gateway.calls_tools(names):
                context.note(f"tools of {names[0]}", f"tools: skipped, the model {names[0]!r} calls none")
        yield box
