"""What a run does not read of its configuration: another value there makes no other result."""

from __future__ import annotations

from typing import Any

from ultra_agents.config.capacity import asked_models
from ultra_agents.config.methods import variant_of
from ultra_agents.config.run import Config

ADVISING = ("proposer", "llms", "gateway", "narration", "agents")
"""Sections that only the making of advice reads."""


def uses_advice(config: Config) -> bool:
    """Whether any of its methods does."""
    return any(map(variant_of, config.methods))


def unread(config: Config, advised: bool = False) -> dict[str, Any]:
    """Sections, and models, that nothing in a run reads, as `exclude` of `model_dump` takes them.

    Args:
        config: The run's.
        advised: Advice is made whether a method uses it or not, as `ultra explain` does.
    """
    if not advised and not uses_advice(config):
        return dict.fromkeys(ADVISING, True)
    return {"llms": set(config.llms) - set(asked_models(config))}
