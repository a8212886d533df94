"""Tools that agents may call while they think: `agents.tools`."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from ultra_agents.config.models import Section

ToolName: TypeAlias = Literal["data", "effect", "try_moves", "try_rule"]
TOOLS: tuple[ToolName, ...] = ("data", "effect", "try_moves", "try_rule")


class ToolsConfig(Section):
    """What models that call tools may look up and try out before they answer."""

    use: tuple[ToolName, ...] = Field(
        TOOLS,
        min_length=1,
        description="data: numbers over the collected episodes; effect: what an action does, try_moves and try_rule: "
        "short paired tests, all three in the simulator",
    )
    roles: tuple[Literal["identifier", "advisor"], ...] = Field(
        ("identifier", "advisor"), min_length=1, description="agents that may call them; a panel never may"
    )
    rounds: int = Field(4, gt=0, le=20, description="turns with calls before a question must be answered, at most")
    calls: int = Field(400, ge=0, description="calls of a run, at most, shared out evenly among its conversations")
    steps: int = Field(
        40_000,
        ge=0,
        description="environment steps of a run's calls, at most, shared out evenly; a third of refine.steps if less",
    )
    pairs: int = Field(4, gt=0, le=32, description="paired replays of try_moves")
    states: int = Field(8, gt=1, le=64, description="stored states that try_rule and effect begin at, at most")
    window: int = Field(64, gt=0, description="environment steps of each such try of a rule, value at the cut")
