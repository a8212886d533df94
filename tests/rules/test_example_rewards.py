"""`examples/rewards/*.yaml` fit the sparse task they are named after, and nothing met there refutes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ultra_agents.errors import UltraError
from ultra_agents.records import Trajectory
from ultra_agents.registry import create_environment
from ultra_agents.rules import interface_of, load_rules, parse_rules
from ultra_agents.verification.reward import REFUSED, hold_against

EXAMPLES = sorted(Path("examples/rewards").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_of_its_task_and_varies_there(path: Path) -> None:
    environment = create_environment(path.stem.replace("_", "-"), {"reward": "sparse", "max_steps": 50})
    rules = load_rules(path, interface_of(environment))
    assert rules.document.rules == ()
    envs, shape = environment.make(6), environment.action_space.shape or ()
    rng = np.random.default_rng(0)
    observations, rewards = [envs.reset(seed=list(range(6)))[0]], []
    for _ in range(8):  # nobody falls so soon
        seen, paid, *_ = envs.step(rng.uniform(-1, 1, (6, *shape)).astype(np.float32))
        observations.append(seen)
        rewards.append(paid)
    episodes = [
        Trajectory(
            one, one, np.stack([each[one] for each in observations[:-1]]), np.zeros(8), np.stack(rewards)[:, one],
            np.zeros(8), tuple({} for _ in range(8)), terminated=False, truncated=True,
        )
        for one in range(6)
    ]  # fmt: skip
    found = hold_against(rules, environment, episodes, 0.9)
    assert found is not None
    assert found.agreement not in REFUSED
    assert (found.undefined, found.missing, found.clipped) == (0, 0, 0.0)


def test_there_is_one_for_each_sparse_task() -> None:
    assert [path.stem for path in EXAMPLES] == ["half_cheetah", "hopper", "reacher", "walker2d"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("reward: next.speed / 5\n", "speed"),
        ("potential: next.vx / 5\n", "next"),
        ("reward: own.hip\n", "own"),
        ("reward: vx +\n", "reward"),
        ("reward: vx\npotential: vx\n", "not both"),
    ],
)
def test_what_cannot_be_a_reward_is_one_message(text: str, problem: str) -> None:
    with pytest.raises(UltraError) as found:
        parse_rules(text, interface_of(create_environment("hopper")), "mine.yaml")
    told = str(found.value)
    assert problem in told
    assert "mine.yaml" in told
