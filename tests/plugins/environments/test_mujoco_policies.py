"""The policies that ship with the MuJoCo tasks: as strong as their files say, offered where they were scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ultra_agents_plugins.environments import _mlp

from ultra_agents.contracts import capabilities
from ultra_agents.errors import PolicyError
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.policies import load_policy
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams

TASKS = ("hopper", "walker2d", "half-cheetah", "reacher")
POLICIES = {
    "hopper": ((300.0, 1700.0), 2500.0),
    "walker2d": ((300.0, 1500.0), 2800.0),
    "half-cheetah": ((500.0, 1200.0), 1700.0),
    "reacher": ((-24.0, -10.0), -9.0),
}
"""Mean returns between which the sub-optimal policies lie, and above which the experts do."""


@pytest.mark.parametrize("name", POLICIES)
def test_the_shipped_policies_are_as_weak_and_as_strong_as_their_files_say(name: str) -> None:
    environment, streams, means = create_environment(name), Streams(78), {}
    (low, high), strong = POLICIES[name]
    with make_simulators(environment, 4) as simulators:
        for which, path in environment.policies().items():
            loaded = load_policy(path, name, environment)
            seeds = streams.integers(4, "reset")
            means[which] = evaluate_returns(loaded.policy, environment, simulators, seeds, streams).mean
            means[f"{which}, as its file says"] = loaded.metadata["score"]["mean"]
    assert low < means["suboptimal"] < high
    assert low < means["suboptimal, as its file says"] < high
    assert "expert" in capabilities(environment)
    assert means["expert"] > strong > high
    assert means["expert, as its file says"] > strong
    random, good = environment.reference_returns.random, environment.reference_returns.reference
    assert random + 0.1 * (good - random) < means["suboptimal"] < random + 0.9 * (good - random)


@pytest.mark.parametrize("name", POLICIES)
def test_an_expert_earns_more_than_the_sub_optimal_policy_where_that_one_led(name: str) -> None:
    environment, streams = create_environment(name), Streams(79)
    weak = load_policy(environment.policies()["suboptimal"], name, environment).policy
    expert, earned = environment.expert(), {}
    with make_simulators(environment, 8) as simulators:
        played = collect(weak, environment, simulators, streams.integers(8, "reset"), streams, 1000)
        states = [episode.snapshots[len(episode) // 2] for episode in played if episode.snapshots is not None]
        for which in ("weak", "expert"):
            simulators.reset(seed=list(range(8)))
            observations = np.array(simulators.restore(range(8), states))
            going, rng = np.ones(8), np.random.default_rng(0)
            earned[which] = np.zeros(8)
            for _ in range(300):
                actions = weak.act(observations, rng) if which == "weak" else expert(observations)
                observations, rewards, terminated, truncated, _ = simulators.step(actions)
                earned[which] += going * rewards
                going *= ~(terminated | truncated)
    assert earned["expert"].mean() > earned["weak"].mean()


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("reward", ["dense", "sparse"])
def test_policies_are_offered_for_the_task_they_were_scored_on(name: str, reward: str) -> None:
    environment = create_environment(name, {"reward": reward})
    assert set(environment.policies()) == {"suboptimal", "expert"}
    assert create_environment(name, {"reward": reward, "max_steps": 40}).policies() == {}
    for which, path in environment.policies().items():
        metadata = load_policy(path, name, environment).metadata
        assert metadata["env_id"] == environment.env_id
        assert path.stat().st_size < 200_000
        assert metadata["score"]["episodes"] == 32
        made = metadata["provenance"]["command"]
        assert made.startswith(f"python benchmarks/train_mujoco_policies.py --task {name} --which {which}")
        assert f"--seed {metadata['provenance']['seed']}" in made or made.endswith("--sparse")


def test_a_sparse_task_of_another_radius_ships_no_policy() -> None:
    assert create_environment("reacher", {"reward": "sparse", "radius": 0.05}).policies() == {}


@pytest.mark.parametrize("name", POLICIES)
def test_the_expert_is_the_mean_action_of_its_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = create_environment(name)
    policy = load_policy(environment.policies()["expert"], name, environment).policy
    envs = environment.make(8)
    observations, _ = envs.reset(seed=list(range(8)))
    for _ in range(10):
        mine, theirs = environment.expert()(observations), policy.act(observations, deterministic=True)
        assert mine == pytest.approx(theirs, abs=1e-5)
        assert create_environment(name, {"reward": "sparse"}).expert()(observations) == pytest.approx(mine, abs=1e-6)
        observations = envs.step(mine)[0]
    monkeypatch.setattr(_mlp, "POLICIES", tmp_path)
    with pytest.raises(PolicyError, match=f"{type(environment).__name__}'s expert policy is not installed"):
        environment.expert()
