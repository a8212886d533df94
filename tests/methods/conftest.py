from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.methods.chain import SMALL, settings
from ultra_agents.config import Config
from ultra_agents.contracts import Setting
from ultra_agents.methods import EngineServices, terms_of
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams


@pytest.fixture
def setting(tmp_path: Path) -> Callable[..., Setting]:
    """A `Setting` over the corridor, or whatever is changed in it."""

    def make(config: Config | None = None, **changes: Any) -> Setting:
        config = config or settings()
        environment = changes.pop("environment", None) or create_environment("corridor", config.environment.options)
        algorithm = create_algorithm("ppo", SMALL)
        start = algorithm.create_policy(environment.observation_space, environment.action_space, 1)
        start, streams = changes.pop("start", start), Streams(3)
        services = EngineServices(
            config, environment, start, streams, lambda count: make_simulators(environment, count), tmp_path
        )
        made = Setting(terms_of(config, environment, algorithm), start, streams, (), services)
        return dataclasses.replace(made, **changes)

    return make
