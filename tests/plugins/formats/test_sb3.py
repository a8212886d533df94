"""Policies of Stable-Baselines3 act here as they act there, and go out again."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from ultra_agents_plugins.formats.sb3 import SB3

from tests.plugins.formats.conftest import SCREEN, Screens
from ultra_agents.contracts import Outgoing, Request, Weights
from ultra_agents.errors import PolicyError
from ultra_agents.registry import create_algorithm

FORMAT = SB3(SB3.Options())
ROWS = 300


def made(kind: str, env_id: str, normalize: dict[str, Any] | None = None, **options: Any) -> tuple[Any, Any]:
    """A model of SB3 with weights big enough to tell actions apart, and its normaliser."""
    env: Any = DummyVecEnv([lambda: gymnasium.make(env_id)])
    if normalize is not None:
        env = VecNormalize(env, **normalize)
    if kind in ("PPO", "A2C"):
        options = {"n_steps": 32, **({"batch_size": 32, "n_epochs": 1} if kind == "PPO" else {}), **options}
    else:
        options = {"buffer_size": 100, "learning_starts": 8, **options}
    model = getattr(sb3, kind)("MlpPolicy", env, seed=1, device="cpu", **options)
    model.learn(32)
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return model, env if normalize is not None else None


def imported(request: Request, algorithm: str | None = None) -> tuple[Any, Weights]:
    found = FORMAT.read(request)
    weights = next(one for one in found.fits if algorithm in (None, one.algorithm))
    spaces = request.observation_space, request.action_space
    return create_algorithm(weights.algorithm).load_policy(weights.arrays, weights.description, *spaces), weights


def theirs(model: Any, normalizer: Any, observations: Any) -> Any:
    inputs = observations if normalizer is None else normalizer.normalize_obs(observations)
    return model.predict(inputs, deterministic=True)[0]


def observations_for(space: Any) -> Any:
    """Half of them ordinary, half far outside +-10, where clipping shows."""
    rows = np.random.default_rng(5).normal(size=(ROWS, *space.shape))
    rows[ROWS // 2 :] *= 30.0
    return rows.astype(np.float32)


CASES = {
    "ppo-discrete": ("PPO", "CartPole-v1", {}, {}, "ppo"),
    "ppo-bare": ("PPO", "CartPole-v1", None, {}, "ppo"),
    "ppo-continuous": ("PPO", "Pendulum-v1", {"clip_obs": 3.0, "epsilon": 1e-4}, {}, "ppo"),
    "ppo-no-layers": ("PPO", "Pendulum-v1", None, {"policy_kwargs": {"net_arch": []}}, "ppo"),
    "a2c": ("A2C", "CartPole-v1", {}, {}, "ppo"),
    "ppo-relu": ("PPO", "Pendulum-v1", {}, {"policy_kwargs": {"activation_fn": torch.nn.ReLU}}, "sb3-ppo"),
    "ppo-unequal": ("PPO", "CartPole-v1", None, {"policy_kwargs": {"net_arch": {"pi": [8], "vf": [9]}}}, "sb3-ppo"),
    "sac": ("SAC", "Pendulum-v1", None, {"policy_kwargs": {"net_arch": [16, 16]}}, "sac"),
    "sac-normalised": ("SAC", "Pendulum-v1", {"epsilon": 1e-4}, {"policy_kwargs": {"net_arch": [16]}}, "sac"),
    "sac-tanh": (
        "SAC", "Pendulum-v1", None, {"policy_kwargs": {"net_arch": [16], "activation_fn": torch.nn.Tanh}}, "sb3-sac",
    ),
    "td3": ("TD3", "Pendulum-v1", {}, {"policy_kwargs": {"net_arch": [16]}}, "sb3-td3"),
    "dqn": ("DQN", "CartPole-v1", None, {}, "sb3-dqn"),
}  # fmt: skip


def scale_of(normalizer: Any) -> float:
    """What the rewards of a training were divided by."""
    if normalizer is None or not normalizer.norm_reward:
        return 1.0
    return float(np.sqrt(normalizer.ret_rms.var + normalizer.epsilon))


@pytest.mark.parametrize("name", CASES)
def test_an_imported_policy_acts_like_sb3_itself_and_goes_out_again(
    name: str, tmp_path: Path, request_for: Any
) -> None:
    kind, env_id, normalize, options, algorithm = CASES[name]
    model, normalizer = made(kind, env_id, normalize, **options)
    path = tmp_path / "model.zip"
    model.save(path)
    if normalizer is not None:
        normalizer.save(str(tmp_path / "vecnormalize.pkl"))
    request = request_for(path, env_id)
    policy, weights = imported(request)
    assert weights.algorithm == algorithm
    observations = observations_for(request.observation_space)
    actions = theirs(model, normalizer, observations)
    assert actions.std() > 0, "actions that are all alike would prove nothing"
    np.testing.assert_allclose(policy.act(observations, deterministic=True), actions, atol=1e-5, rtol=1e-5)
    if kind in ("PPO", "A2C"):
        inputs = observations if normalizer is None else normalizer.normalize_obs(observations)
        values = model.policy.predict_values(torch.as_tensor(inputs)).detach().numpy()[:, 0] * scale_of(normalizer)
        np.testing.assert_allclose(policy.value(observations), values, atol=1e-4, rtol=1e-4)

    out = tmp_path / "again" / "out.zip"
    outgoing = Outgoing(
        out, Weights(weights.algorithm, *policy.state()), request.observation_space, request.action_space, env_id
    )
    written = FORMAT.write(outgoing)
    assert [file.name for file in written][1:] == ([] if normalizer is None else ["out_vecnormalize.pkl"])
    loaded = getattr(sb3, "PPO" if kind == "A2C" and algorithm == "ppo" else kind).load(out, device="cpu")
    statistics = None
    if normalizer is not None:
        statistics = VecNormalize.load(str(written[1]), DummyVecEnv([lambda: gymnasium.make(env_id)]))
    np.testing.assert_allclose(theirs(loaded, statistics, observations), actions, atol=1e-5, rtol=1e-5)
    again, _ = imported(request_for(out, env_id))
    np.testing.assert_array_equal(
        again.act(observations, deterministic=True), policy.act(observations, deterministic=True)
    )


@pytest.mark.parametrize("algorithm", ["ppo", "sb3-ppo"])
def test_pictures_act_alike_whichever_axis_holds_the_channels(algorithm: str, tmp_path: Path) -> None:
    model = sb3.PPO("CnnPolicy", DummyVecEnv([Screens]), n_steps=8, batch_size=8, seed=0, device="cpu")
    with torch.no_grad():
        model.policy.action_net.weight.add_(
            torch.randn(model.policy.action_net.weight.shape, generator=torch.Generator().manual_seed(0))
        )
    model.save(tmp_path / "model.zip")
    request = Request(tmp_path / "model.zip", SCREEN, Screens.action_space)
    policy, _ = imported(request, algorithm)
    screens = np.random.default_rng(0).integers(0, 256, (24, *SCREEN.shape), dtype=np.uint8)
    actions = np.concatenate([model.predict(one[None], deterministic=True)[0] for one in screens])
    assert len(set(actions.tolist())) > 1
    np.testing.assert_array_equal(policy.act(screens, deterministic=True), actions)
    out = Outgoing(tmp_path / "out.zip", Weights(algorithm, *policy.state()), SCREEN, Screens.action_space, "Screens")
    assert FORMAT.write(out) == [tmp_path / "out.zip"]
    loaded = sb3.PPO.load(tmp_path / "out.zip", device="cpu")
    np.testing.assert_array_equal(loaded.predict(screens, deterministic=True)[0], actions)


def test_a_policy_trained_on_normalised_observations_needs_its_normaliser(tmp_path: Path, request_for: Any) -> None:
    model, normalizer = made("PPO", "CartPole-v1", {})
    path = tmp_path / "model.zip"
    model.save(path)
    with pytest.raises(PolicyError, match="statistics are missing") as caught:
        FORMAT.read(request_for(path, "CartPole-v1"))
    assert "--normalizer FILE" in str(caught.value)
    bare = FORMAT.read(request_for(path, "CartPole-v1", normalize=False))
    assert bare.fits[0].arrays["normalizer.count"][0] == 0
    normalizer.save(str(tmp_path / "elsewhere.bin"))
    named = FORMAT.read(request_for(path, "CartPole-v1", normalizer=tmp_path / "elsewhere.bin"))
    np.testing.assert_array_equal(named.fits[0].arrays["normalizer.mean"], normalizer.obs_rms.mean)


def test_the_layout_of_the_zoo_is_known(tmp_path: Path, request_for: Any) -> None:
    model, normalizer = made("SAC", "Pendulum-v1", {}, policy_kwargs={"net_arch": [8]})
    path, folder = tmp_path / "Pendulum-v1.zip", tmp_path / "Pendulum-v1"
    model.save(path)
    folder.mkdir()
    (folder / "config.yml").write_text(
        "!!python/object/apply:collections.OrderedDict\n- - - batch_size\n    - 64\n  - - normalize\n    - true\n"
    )
    with pytest.raises(PolicyError, match="statistics are missing") as caught:
        FORMAT.read(request_for(path, "Pendulum-v1"))
    assert "config.yml" in str(caught.value)
    normalizer.save(str(folder / "vecnormalize.pkl"))
    found = FORMAT.read(request_for(path, "Pendulum-v1"))
    assert str(folder / "vecnormalize.pkl") in found.notes[1]


def test_rewards_alone_normalised_need_no_statistics(tmp_path: Path, request_for: Any) -> None:
    model, normalizer = made("PPO", "CartPole-v1", {"norm_obs": False})
    model.save(tmp_path / "model.zip")
    normalizer.save(str(tmp_path / "vecnormalize.pkl"))
    found = FORMAT.read(request_for(tmp_path / "model.zip", "CartPole-v1"))
    assert found.fits[0].arrays["normalizer.count"][0] == 0
    assert found.fits[1].description["reward_scale"] == pytest.approx(scale_of(normalizer))


def test_another_environment_is_named(tmp_path: Path, request_for: Any) -> None:
    model, _ = made("PPO", "CartPole-v1")
    path = tmp_path / "model.zip"
    model.save(path)
    with pytest.raises(PolicyError, match="other observations") as caught:
        FORMAT.read(request_for(path, "Pendulum-v1"))
    assert "(4,)" in str(caught.value)
    assert "(3,)" in str(caught.value)
    cart = gymnasium.make("CartPole-v1").observation_space
    for space, word in (
        (gymnasium.spaces.Discrete(3), "Discrete(2)"),
        (gymnasium.spaces.Box(-1, 1, (2,), np.float32), "Discrete(2)"),
    ):
        with pytest.raises(PolicyError, match="other actions") as caught:
            FORMAT.read(Request(path, cart, space))
        assert word in str(caught.value)


def test_other_bounds_of_actions_are_another_action_space(tmp_path: Path, request_for: Any) -> None:
    model, _ = made("SAC", "Pendulum-v1", policy_kwargs={"net_arch": [8]})
    model.save(tmp_path / "model.zip")
    space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    with pytest.raises(PolicyError, match="other actions"):
        FORMAT.read(Request(tmp_path / "model.zip", gymnasium.make("Pendulum-v1").observation_space, space))


def test_gsde_and_code_of_its_own_are_refused_and_imitated_when_trusted(tmp_path: Path, request_for: Any) -> None:
    model, _ = made("PPO", "Pendulum-v1", use_sde=True)
    path = tmp_path / "model.zip"
    model.save(path)
    with pytest.raises(PolicyError, match="no algorithm here has") as caught:
        FORMAT.read(request_for(path, "Pendulum-v1"))
    assert "--trust" in str(caught.value)
    trusted = FORMAT.read(request_for(path, "Pendulum-v1", trust=True))
    assert trusted.act is not None
    assert trusted.fits == ()
    observations = observations_for(gymnasium.make("Pendulum-v1").observation_space)
    np.testing.assert_allclose(trusted.act(observations), theirs(model, None, observations), atol=1e-6)


def rewritten(path: Path, out: Path, change: Any) -> Path:
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "data":
                row = json.loads(data)
                change(row)
                data = json.dumps(row).encode()
            target.writestr(name, data)
    return out


def test_a_policy_class_of_somebodys_own_is_code(tmp_path: Path, request_for: Any) -> None:
    model, _ = made("PPO", "CartPole-v1")
    model.save(tmp_path / "model.zip")
    for change, word in (
        (lambda row: row["policy_class"].update(__module__="mine"), "mine"),
        (lambda row: row.update(policy_kwargs={"activation_fn": "<class 'mine.Sine'>"}), "Sine"),
        (lambda row: row.update(policy_kwargs={"features_extractor_class": "<class 'mine.Eyes'>"}), "Eyes"),
    ):
        path = rewritten(tmp_path / "model.zip", tmp_path / "changed.zip", change)
        with pytest.raises(PolicyError, match="Python code of its own") as caught:
            FORMAT.read(request_for(path, "CartPole-v1"))
        assert word in str(caught.value)


def test_a_damaged_zip_is_one_message(tmp_path: Path, request_for: Any) -> None:
    model, _ = made("PPO", "CartPole-v1")
    path = tmp_path / "model.zip"
    model.save(path)
    whole = path.read_bytes()
    assert FORMAT.recognises(path)
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    assert not FORMAT.recognises(tmp_path / "cut.zip")
    changes: list[Any] = [
        lambda row: row.pop("observation_space"),
        lambda row: row.update(observation_space=7),
        lambda row: row["action_space"].update(n="many"),
        lambda row: row["observation_space"].update(_shape="?"),
    ]
    files = [rewritten(path, tmp_path / f"{i}.zip", change) for i, change in enumerate(changes)]
    for file in [tmp_path / "cut.zip", *files]:
        with pytest.raises(PolicyError) as caught:
            FORMAT.read(request_for(file, "CartPole-v1"))
        assert caught.value.found
    shutil.copy(path, tmp_path / "deep.zip")
    deep = rewritten(path, tmp_path / "deep.zip", lambda row: None)
    with zipfile.ZipFile(deep, "w") as target:
        target.writestr("data", "[" * 200_000)
        target.writestr("policy.pth", b"")
    with pytest.raises(PolicyError, match="not a complete"):
        FORMAT.read(request_for(deep, "CartPole-v1"))


def test_without_stable_baselines3_a_policy_comes_in_but_does_not_go_out(
    tmp_path: Path, request_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = made("PPO", "CartPole-v1")
    path = tmp_path / "model.zip"
    model.save(path)
    monkeypatch.setitem(__import__("sys").modules, "stable_baselines3", None)
    policy, weights = imported(request_for(path, "CartPole-v1"))
    spaces = gymnasium.make("CartPole-v1").observation_space, gymnasium.make("CartPole-v1").action_space
    with pytest.raises(PolicyError, match="not installed") as caught:
        FORMAT.write(Outgoing(tmp_path / "out.zip", Weights("ppo", *policy.state()), *spaces, "CartPole-v1"))
    assert "ultra-agents[sb3]" in str(caught.value)
    assert weights.algorithm == "ppo"
