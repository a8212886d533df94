"""What goes by the model: how much is shown at once, how long reasons and plans may be.

Prompts for a model of 135 million parameters waste a capable one: it needs every step to see what acts, room to think,
and plans as long as what it plans for takes. An explicit value in the configuration wins. Where several models are
asked, whatever their roles, the smallest capacity wins: all read the same opening, and any may stand in for another.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ultra_agents.config.run import AgentsConfig, Config, NarrationConfig
from ultra_agents.contracts.llm import Prompts
from ultra_agents.registry import create_llm

NARRATION: dict[Prompts, dict[str, int]] = {
    "short": {"token_budget": 900, "stride": 3},
    "full": {"token_budget": 6000, "stride": 1},
}
AGENTS: dict[Prompts, dict[str, int | None]] = {
    "short": {"max_critical": 3, "max_hold": 8, "max_moves": 1, "plan_steps": None, "reasoning": 240},
    "full": {"max_critical": 4, "max_hold": 40, "max_moves": 8, "plan_steps": 40, "reasoning": 1500},
}
QUESTION = 2000
"""Tokens of brief and question beside narration and effects, more or less."""


class Settled(NamedTuple):
    """The configuration of what goes by the model, with a value everywhere.

    Attributes:
        prompts: The smallest capacity of the models that are asked.
        narration: Stage 2.
        agents: Stages 3-5.
    """

    prompts: Prompts
    narration: NarrationConfig
    agents: AgentsConfig


def asked_models(config: Config) -> tuple[str, ...]:
    """Every entry of `llms` that an agent may ask; the first one stands for those that name none."""
    agents, first = config.agents, tuple(config.llms)[:1]
    names = [name for role in (agents.identifier, agents.advisor, agents.critic) for name in role.names or first]
    return tuple(dict.fromkeys(names))


def models_of(config: Config) -> dict[str, dict[str, Any]]:
    """Provider and options of every model that an agent may ask, by its name: what its answers depend on."""
    return {
        name: config.llms[name].model_dump(mode="json", include={"provider", "options"})
        for name in asked_models(config)
    }


def prompts_of(config: Config, name: str) -> Prompts:
    """How the model `name` is asked, as far as it goes by that model alone.

    Raises:
        PluginError, ConfigError: It cannot be built.
    """
    entry = config.llms[name]
    return entry.prompts or create_llm(entry.provider, entry.options).prompts


def settled(config: Config) -> Settled:
    """What a run is explained with.

    Raises:
        PluginError, ConfigError: A model of the configuration cannot be built.
    """
    prompts, room = _capacity(config)
    narration, agents = config.narration.model_dump(), config.agents.model_dump()
    told = NarrationConfig.model_validate(_filled(narration, {**NARRATION[prompts], **room}))
    bounds: dict[str, Any] = dict(AGENTS[prompts])
    bounds["max_hold"] = max(bounds["max_hold"], agents["min_hold"])
    if bounds["plan_steps"] is not None:
        longest = min(bounds["plan_steps"], config.verification.longest_plan)  # what cannot be tested is not asked for
        bounds["plan_steps"] = max(longest, agents["max_hold"] or 1, agents["min_hold"])
        bounds["max_hold"] = min(bounds["max_hold"], agents["plan_steps"] or bounds["plan_steps"])
    return Settled(prompts, told, AgentsConfig.model_validate({**_filled(agents, bounds), "prompts": prompts}))


def _capacity(config: Config) -> tuple[Prompts, dict[str, int]]:
    """The smallest capacity, and what the smallest context leaves for a narration where that is less."""
    most = NARRATION["full"]["token_budget"]
    room = most
    for name in asked_models(config):
        entry = config.llms[name]
        llm = create_llm(entry.provider, entry.options)
        if (entry.prompts or llm.prompts) == "short":
            return "short", {}
        if (context := llm.context_tokens) is not None:
            left = context - (llm.options.max_tokens or 0) - config.narration.effects_tokens - QUESTION
            least = NARRATION["short"]["token_budget"]
            if left < least and entry.prompts is None:
                return "short", {}
            room = min(room, max(left, least))
    return "full", {} if room == most else {"token_budget": room}


def _filled(values: dict[str, Any], by_model: dict[str, Any]) -> dict[str, Any]:
    return {name: by_model.get(name) if value is None else value for name, value in values.items()}
