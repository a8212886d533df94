from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.methods.chain import CELLS, DECISIVE, SMALL, Chain, Right, settings
from ultra_agents.contracts import Setting
from ultra_agents.methods import method_of

CHAIN = Chain(Chain.Options())


def test_every_episode_starts_at_a_critical_state_and_all_is_charged(setting: Callable[..., Setting]) -> None:
    mask = {"steps": 8000, "algorithm": {"name": "ppo", "options": SMALL}}
    config = settings(statemask={"episodes": 5, "mask": mask}, refine={"steps": 20_000, "num_envs": 8})
    made = method_of(config, "statemask-r").prepare(setting(config=config, environment=CHAIN, start=Right()))
    assert made.spent == {"statemask-r episodes": 5 * CELLS, "statemask-r mask": 8000}
    assert made.modulation is None
    assert made.restarts is not None
    with setting(environment=CHAIN).services.simulators(4) as simulators:
        envs = made.restarts(simulators)
        firsts = [envs.reset(seed=[1, 2, 3, 4])[0]]
        for _ in range(20):
            seen, _, terminated, _, _ = envs.step(np.ones(4, np.int64))
            firsts.append(seen[terminated])
        starts = np.concatenate(firsts)
    assert len(starts) == 4 * (1 + 20 // (CELLS - DECISIVE))
    assert (starts.argmax(axis=1) == DECISIVE).all()
