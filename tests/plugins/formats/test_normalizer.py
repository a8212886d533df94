"""Statistics of observations: read as they were saved, and refused where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from ultra_agents_plugins.formats._normalizer import find_normalizer, read_statistics

from ultra_agents.errors import PolicyError


def statistics(env_id: str, path: Path, **options: Any) -> Any:
    env = VecNormalize(DummyVecEnv([lambda: gymnasium.make(env_id)]), **options)
    env.reset()
    for _ in range(20):
        env.step(np.array([env.action_space.sample()]))
    env.save(str(path))
    return env


def test_every_number_is_read(tmp_path: Path, request_for: Any) -> None:
    path = tmp_path / "vecnormalize.pkl"
    env = statistics("Pendulum-v1", path, clip_obs=4.0, epsilon=1e-3)
    found = read_statistics(path, request_for(tmp_path / "x.zip", "Pendulum-v1"))
    assert found is not None
    np.testing.assert_array_equal(found.mean, env.obs_rms.mean)
    np.testing.assert_array_equal(found.var, env.obs_rms.var)
    assert (found.count, found.clip, found.epsilon) == (env.obs_rms.count, 4.0, 1e-3)
    rows = np.random.default_rng(0).normal(size=(50, 3)) * 20
    np.testing.assert_array_equal(found.normalize(rows), env.normalize_obs(rows))


def test_statistics_of_other_observations_are_refused(tmp_path: Path, request_for: Any) -> None:
    path = tmp_path / "vecnormalize.pkl"
    statistics("Pendulum-v1", path)
    with pytest.raises(PolicyError, match="other observations") as caught:
        read_statistics(path, request_for(tmp_path / "x.zip", "CartPole-v1"))
    assert "(3,)" in str(caught.value)


def test_arrays_of_ones_own(tmp_path: Path, request_for: Any) -> None:
    request = request_for(tmp_path / "x.zip", "CartPole-v1")
    path = tmp_path / "normalizer.npz"
    np.savez(path, mean=np.arange(4), var=np.ones(4) * 4, count=9.0)
    found = read_statistics(path, request)
    assert found is not None
    assert (found.count, found.clip, found.mean.tolist()) == (9.0, 10.0, [0, 1, 2, 3])
    for wrong in ({"mean": np.ones(4)}, {"mean": np.array([None] * 4), "var": np.ones(4)}):
        np.savez(path, **wrong)
        with pytest.raises(PolicyError, match="not a normaliser"):
            read_statistics(path, request)
    for name, bad in (("var", -1.0), ("mean", np.nan), ("clip", 0.0)):
        np.savez(
            path,
            **{"mean": np.ones(4), "var": np.ones(4), "clip": 10.0, name: np.full(4 if name != "clip" else 1, bad)},
        )
        with pytest.raises(PolicyError):
            read_statistics(path, request)


def test_what_is_no_normaliser_is_said(tmp_path: Path, request_for: Any) -> None:
    import pickle

    request = request_for(tmp_path / "x.zip", "CartPole-v1")
    with pytest.raises(PolicyError, match="there is no normaliser"):
        read_statistics(tmp_path / "nowhere.pkl", request)
    for content in (pickle.dumps({"mean": 3}), pickle.dumps([1, 2])):
        (tmp_path / "vecnormalize.pkl").write_bytes(content)
        with pytest.raises(PolicyError, match="not a normaliser"):
            read_statistics(tmp_path / "vecnormalize.pkl", request)
    (tmp_path / "vecnormalize.pkl").write_bytes(b"hello")
    with pytest.raises(PolicyError, match="cannot be read"):
        read_statistics(tmp_path / "vecnormalize.pkl", request)


@pytest.mark.parametrize(
    ("policy", "beside"),
    [
        ("model.zip", "vecnormalize.pkl"),
        ("best_model.zip", "best_model.pkl"),
        ("model.zip", "model_vecnormalize.pkl"),
        ("rl_model_1000_steps.zip", "rl_model_vecnormalize_1000_steps.pkl"),
        ("Cart.zip", "Cart/vecnormalize.pkl"),
    ],
)
def test_where_training_scripts_leave_them(policy: str, beside: str, tmp_path: Path, request_for: Any) -> None:
    (tmp_path / beside).parent.mkdir(exist_ok=True)
    statistics("CartPole-v1", tmp_path / beside)
    found = find_normalizer(request_for(tmp_path / policy, "CartPole-v1"), None)
    assert found is not None
    assert found.source == tmp_path / beside


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("normalize: true", True),
        ("normalize: false", False),
        ("normalize: \"{'norm_obs': True, 'norm_reward': False}\"", True),
        ("normalize: \"{'norm_obs': False, 'norm_reward': True}\"", False),
        ("normalize_advantage: true", False),
        ("- - normalize\n  - false", False),
        ("- - normalize\n  - true", True),
    ],
)
def test_what_the_zoo_says_of_its_training(line: str, needed: bool, tmp_path: Path, request_for: Any) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.yml").write_text(f"batch_size: 64\n{line}\nseed: 1\n")
    request = request_for(tmp_path / "model.zip", "CartPole-v1")
    if needed:
        with pytest.raises(PolicyError, match="statistics are missing"):
            find_normalizer(request, None)
    else:
        assert find_normalizer(request, None) is None
