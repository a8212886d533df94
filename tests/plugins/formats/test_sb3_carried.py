"""What comes along with an SB3 policy beside its weights: the scale of its rewards, its temperature, its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import stable_baselines3 as sb3
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from ultra_agents.contracts import Outgoing
from ultra_agents.errors import PolicyError
from ultra_agents.exchange.importing import import_policy
from ultra_agents.registry import create_algorithm, create_environment, create_format

FORMAT = create_format("sb3")


def saved(
    folder: Path, kind: str, env_id: str, scale: float | None = None, norm_obs: bool = True, **options: Any
) -> tuple[Any, Path]:
    """An untrained model, and the zip it is saved in beside a normaliser whose rewards are divided by `scale`."""
    env: Any = DummyVecEnv([lambda: gymnasium.make(env_id)])
    if scale is not None:
        env = VecNormalize(env, norm_obs=norm_obs)
        env.ret_rms.var = np.asarray(scale**2 - env.epsilon)
        if norm_obs:
            env.obs_rms.count = 100.0
    buffer = {} if kind in ("PPO", "A2C") else {"buffer_size": 10}
    model = getattr(sb3, kind)("MlpPolicy", env, seed=1, device="cpu", **{**buffer, **options})
    model.save(folder / "model.zip")
    if scale is not None:
        env.save(str(folder / "vecnormalize.pkl"))
    return model, folder / "model.zip"


def fits(request: Any) -> dict[str, Any]:
    return {weights.algorithm: weights for weights in FORMAT.read(request).fits}


@pytest.mark.parametrize("norm_obs", [True, False])
def test_the_scale_of_rewards_goes_in_and_out_again(norm_obs: bool, tmp_path: Path, request_for: Any) -> None:
    _, path = saved(tmp_path, "PPO", "CartPole-v1", 12.5, norm_obs)
    request = request_for(path, "CartPole-v1")
    made = fits(request)
    assert made["sb3-ppo"].description["reward_scale"] == pytest.approx(12.5)
    spaces = request.observation_space, request.action_space
    rows = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    values = [
        create_algorithm(name).load_policy(one.arrays, one.description, *spaces).value(rows)
        for name, one in made.items()
    ]
    assert np.abs(values[0]).max() > 1.0, "values near 0 would prove nothing"
    np.testing.assert_allclose(values[0], values[1], rtol=1e-4, atol=1e-4)
    written = FORMAT.write(Outgoing(tmp_path / "out" / "again.zip", made["sb3-ppo"], *spaces, "CartPole-v1"))
    env: Any = VecNormalize.load(str(written[1]), DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]))
    assert env.norm_reward
    assert env.norm_obs is norm_obs
    assert np.sqrt(env.ret_rms.var + env.epsilon) == pytest.approx(12.5)
    again = fits(request_for(written[0], "CartPole-v1"))["sb3-ppo"]
    assert again.description == made["sb3-ppo"].description


def test_sac_s_critics_and_temperature_grow_with_the_rewards(tmp_path: Path, request_for: Any) -> None:
    model, path = saved(tmp_path, "SAC", "Pendulum-v1", 4.0, policy_kwargs={"net_arch": [8]}, ent_coef="auto_0.5")
    arrays = fits(request_for(path, "Pendulum-v1"))["sac"].arrays
    assert float(np.exp(arrays["log_alpha"])) == pytest.approx(0.5 * 4.0)
    theirs = model.policy.state_dict()
    for number in (0, 1):
        for part in ("weight", "bias"):
            first, last = (theirs[f"critic.qf{number}.{layer}.{part}"].numpy() for layer in (0, 2))
            np.testing.assert_array_equal(arrays[f"critics.{number}.0.{part}"], first)
            np.testing.assert_allclose(arrays[f"critics.{number}.2.{part}"], 4.0 * last, rtol=1e-6)
    kept = {"actor.0.weight": "actor.latent_pi.0.weight"}
    assert all(np.array_equal(arrays[ours], theirs[name].numpy()) for ours, name in kept.items())


def test_without_the_normaliser_file_nothing_is_scaled(tmp_path: Path, request_for: Any) -> None:
    _, path = saved(tmp_path, "PPO", "CartPole-v1")
    assert "reward_scale" not in fits(request_for(path, "CartPole-v1"))["sb3-ppo"].description
    (tmp_path / "scaled").mkdir()
    _, path = saved(tmp_path / "scaled", "PPO", "CartPole-v1", 3.0)
    unscaled = fits(request_for(path, "CartPole-v1", normalize=False))["sb3-ppo"].description
    assert "reward_scale" not in unscaled


@pytest.mark.parametrize("variance", [np.nan, -1.0, np.inf])
def test_a_scale_that_cannot_be_is_refused(variance: float, tmp_path: Path, request_for: Any) -> None:
    _, path = saved(tmp_path, "PPO", "CartPole-v1", 3.0)
    env: Any = VecNormalize.load(
        str(tmp_path / "vecnormalize.pkl"), DummyVecEnv([lambda: gymnasium.make("CartPole-v1")])
    )
    env.ret_rms.var = np.asarray(variance)
    env.save(str(tmp_path / "vecnormalize.pkl"))
    with pytest.raises(PolicyError, match="statistics of rewards that cannot be") as caught:
        FORMAT.read(request_for(path, "CartPole-v1"))
    assert caught.value.hint


def test_settings_become_options_of_both_algorithms(tmp_path: Path, request_for: Any) -> None:
    options = {
        "gamma": 0.98, "gae_lambda": 0.8, "n_steps": 64, "batch_size": 16, "n_epochs": 5, "vf_coef": 0.25,
        "ent_coef": 0.02, "target_kl": 0.01, "max_grad_norm": 0.7,
    }  # fmt: skip
    _, path = saved(
        tmp_path, "PPO", "CartPole-v1", learning_rate=LinearSchedule(1e-5, 0.0, 1.0), clip_range=0.1, **options
    )
    made = fits(request_for(path, "CartPole-v1"))
    assert made["sb3-ppo"].options == {
        **options, "learning_rate": "lin_1e-05", "clip_range": 0.1, "normalize_advantage": True,
    }  # fmt: skip
    assert made["ppo"].options == {
        "gamma": 0.98, "gae_lambda": 0.8, "num_steps": 64, "num_minibatches": 4, "update_epochs": 5, "vf_coef": 0.5,
        "ent_coef": 0.02, "max_grad_norm": 0.7, "learning_rate": 1e-5, "anneal_lr": True, "clip_coef": 0.1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "env_id", "given", "name", "wanted"),
    [
        ("SAC", "Pendulum-v1", {"tau": 0.01, "ent_coef": 0.2}, "sac", {"tau": 0.01, "tune_alpha": False}),
        ("SAC", "Pendulum-v1", {"ent_coef": "auto_0.2"}, "sb3-sac", {"ent_coef": "auto_0.2"}),
        ("TD3", "Pendulum-v1", {"policy_delay": 3}, "sb3-td3", {"policy_delay": 3}),
        ("DQN", "CartPole-v1", {"exploration_final_eps": 0.01}, "sb3-dqn", {"exploration_final_eps": 0.01}),
        ("A2C", "CartPole-v1", {"gamma": 0.9}, "ppo", {"gamma": 0.9, "gae_lambda": 1.0}),
    ],
)
def test_only_what_is_unusual_is_told(
    kind: str, env_id: str, given: dict[str, Any], name: str, wanted: dict[str, Any], tmp_path: Path, request_for: Any
) -> None:
    _, path = saved(tmp_path, kind, env_id, **given)
    taken = import_policy(
        request_for(path, env_id), "gymnasium", create_environment(f"gymnasium:{env_id}"), algorithm=name
    )
    told = {key: value for key, value in taken.options.items() if key not in ("buffer_size", "target_entropy")}
    assert told == wanted
    create_algorithm(name, taken.options)


def test_what_is_no_plain_number_stays_behind(tmp_path: Path, request_for: Any) -> None:
    rate: Any = lambda left: 1e-3 * left  # noqa: E731
    _, path = saved(tmp_path, "PPO", "CartPole-v1", learning_rate=rate, clip_range=rate)
    made = fits(request_for(path, "CartPole-v1"))
    for weights in made.values():
        assert not {"learning_rate", "anneal_lr", "clip_range", "clip_coef"} & set(weights.options)
    json.dumps(FORMAT.read(request_for(path, "CartPole-v1")).told, allow_nan=False)
