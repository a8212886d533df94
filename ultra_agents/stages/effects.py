"""Between 1 and 2: what actions do, and what preceded events, measured before anybody is asked."""

from __future__ import annotations

from ultra_agents.config import Config, prompts_of
from ultra_agents.contracts import capabilities
from ultra_agents.effects import effects_text, events_table, measure_effects
from ultra_agents.events import StepsSpent
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings, MeasuredEffects
from ultra_agents.stages.narrate import restores

PARALLEL = 32
"""Simulators that play side by side; which action stands in which of them decides the last bits of its draws."""


def tells_effects(config: Config) -> bool:
    """Whether effects are measured: somebody who is asked reads them."""
    asked, wanted = config.proposer == "llm", config.narration.effects
    advisor = config.agents.advisor.llm or next(iter(config.llms))
    return asked and (prompts_of(config, advisor) == "full" if wanted is None else wanted)


def find_effects(context: RunContext, findings: Findings) -> MeasuredEffects:
    """Both tables, with the text agents are told; nothing where the environment names no quantities."""
    environment, terms = context.environment, context.config.narration
    if "quantities" not in capabilities(environment):
        return MeasuredEffects()
    effects = None
    if restores(context, findings, "what actions do is not measured"):
        with context.simulators(PARALLEL, workers=0) as simulators:
            effects = measure_effects(
                findings.trajectories,
                environment=environment,
                policy=context.policy,
                simulators=simulators,
                streams=context.telling(findings.trajectories).child("effects"),
                max_steps=terms.effects_max_steps,
                poll=context.check_stop,
            )
    spent = 0 if effects is None else effects.env_steps
    context.emit(StepsSpent("effects", spent, "actions"))
    events = events_table(findings.trajectories, environment)
    text = effects_text(effects, events, environment.legend, terms.effects_tokens)
    return MeasuredEffects(text, effects, events, spent)
