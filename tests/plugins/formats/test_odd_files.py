"""Files as people have them: other spaces, other algorithms, old layouts, what torch.compile puts before names."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from torch import nn
from ultra_agents_plugins.formats.cleanrl import CleanRL
from ultra_agents_plugins.formats.sb3 import SB3

from tests.plugins.formats.conftest import replaced
from ultra_agents.contracts import Request
from ultra_agents.contracts.spaces import flat, flat_space
from ultra_agents.errors import PolicyError
from ultra_agents.exchange.distil import Distilled
from ultra_agents.registry import create_algorithm

ZIPS, AGENTS = SB3(SB3.Options()), CleanRL(CleanRL.Options())


class World(gymnasium.Env[Any, Any]):
    """Random observations of a space."""

    action_space = Discrete(3)

    def __init__(self, space: gymnasium.Space[Any], actions: gymnasium.Space[Any] | None = None) -> None:
        self.observation_space = space
        self.action_space = actions or self.action_space  # type: ignore[assignment]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), float(np.random.random()), False, False, {}


SPACES = {
    "Discrete": Discrete(7),
    "MultiDiscrete": MultiDiscrete([3, 4]),
    "Dict": Dict({"b": Box(-1, 1, (2, 2), np.float32), "a": Discrete(3), "c": MultiDiscrete([2, 2])}),
}


def saved(path: Path, space: gymnasium.Space[Any], actions: gymnasium.Space[Any] | None = None) -> Any:
    policy = "MultiInputPolicy" if isinstance(space, Dict) else "MlpPolicy"
    model = sb3.PPO(policy, World(space, actions), n_steps=16, batch_size=16, device="cpu", seed=0)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=noise))
    model.save(path)
    return model


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("name", SPACES)
def test_observations_are_compared_and_taken_after_flattening(name: str, trust: bool, tmp_path: Path) -> None:
    space, path = SPACES[name], tmp_path / "model.zip"
    model = saved(path, space)
    space.seed(0)
    rows = [space.sample() for _ in range(100)]
    theirs = np.array([model.predict(row, deterministic=True)[0] for row in rows]).ravel()
    assert len(set(theirs.tolist())) > 1
    inputs = np.stack([flat(space, row) for row in rows])
    request = Request(path, flat_space(space), Discrete(3), trust=trust)
    if trust:
        from ultra_agents_plugins.formats.sb3.format import _by_sb3

        act = _by_sb3(request).act
        assert act is not None
        assert act(inputs).tolist() == theirs.tolist()
        return
    weights = ZIPS.read(request).fits[0]
    assert weights.algorithm == "ppo"
    policy = create_algorithm("ppo").load_policy(
        weights.arrays, weights.description, request.observation_space, request.action_space
    )
    assert policy.act(inputs, deterministic=True).tolist() == theirs.tolist()


def test_another_number_of_parts_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "model.zip", Discrete(7))
    with pytest.raises(PolicyError, match="made for other observations") as caught:
        ZIPS.read(Request(tmp_path / "model.zip", flat_space(Discrete(8)), Discrete(3)))
    assert "7 numbers" in str(caught.value.found)


def test_actions_of_two_dimensions_are_taken_flat(tmp_path: Path) -> None:
    space, wide = Box(-1, 1, (3,), np.float32), Box(-1, 1, (2, 2), np.float32)
    model = saved(tmp_path / "model.zip", space, wide)
    request = Request(tmp_path / "model.zip", space, Box(-1, 1, (4,), np.float32))
    weights = ZIPS.read(request).fits[0]
    policy = create_algorithm(weights.algorithm).load_policy(
        weights.arrays, weights.description, request.observation_space, request.action_space
    )
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    theirs = model.predict(rows, deterministic=True)[0].reshape(20, 4)
    np.testing.assert_allclose(policy.act(rows, deterministic=True), theirs, atol=1e-5)


def with_data(path: Path, out: Path, **changes: Any) -> Path:
    data = json.loads(zipfile.ZipFile(path).read("data"))
    for name, value in changes.items():
        if value is None:
            data.pop(name, None)
        else:
            data[name] = value
    return replaced(path, out, data=json.dumps(data).encode())


def test_trpo_is_named_and_goes_on_as_ppo(tmp_path: Path) -> None:
    saved(tmp_path / "ppo.zip", Box(-1, 1, (3,), np.float32))
    path = with_data(tmp_path / "ppo.zip", tmp_path / "trpo.zip", clip_range=None, cg_max_steps=15)
    found = ZIPS.read(Request(path, Box(-1, 1, (3,), np.float32), Discrete(3)))
    assert found.told["algorithm"] == "trpo"
    assert found.notes[0].startswith("TRPO of")
    assert [one.algorithm for one in found.fits] == ["ppo", "sb3-ppo"]


def test_what_sb3_contrib_made_is_named_with_the_package(tmp_path: Path) -> None:
    saved(tmp_path / "ppo.zip", Box(-1, 1, (3,), np.float32))
    policy_class = {"__module__": "sb3_contrib.qrdqn.policies"}
    path = with_data(tmp_path / "ppo.zip", tmp_path / "qrdqn.zip", policy_class=policy_class)
    for trust in (False, True):
        with pytest.raises(PolicyError) as caught:
            ZIPS.read(Request(path, Box(-1, 1, (3,), np.float32), Discrete(3), trust=trust))
        assert "pip install sb3-contrib" in (caught.value.hint or "")
    assert "QRDQN" in str(caught.value)


def test_a_module_that_the_zip_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "ppo.zip", Box(-1, 1, (3,), np.float32))
    path = with_data(tmp_path / "ppo.zip", tmp_path / "old.zip", use_sde=True)

    def load(*_: Any, **__: Any) -> Any:
        raise ModuleNotFoundError("No module named 'gym'", name="gym")

    for name in ("PPO", "SAC", "TD3", "DQN", "A2C"):
        monkeypatch.setattr(getattr(sb3, name), "load", load)
    with pytest.raises(PolicyError) as caught:
        ZIPS.read(Request(path, Box(-1, 1, (3,), np.float32), Discrete(3), trust=True))
    assert "needs the module 'gym'" in str(caught.value.found)
    assert "pip install gym==" in (caught.value.hint or "")


def test_an_old_torch_layout_is_told_from_damage(tmp_path: Path) -> None:
    model = saved(tmp_path / "ppo.zip", Box(-1, 1, (3,), np.float32))
    old, cut = tmp_path / "old.pth", tmp_path / "cut.pth"
    torch.save(model.policy.state_dict(), old, _use_new_zipfile_serialization=False)
    cut.write_bytes(b"nothing of the kind")
    told = {}
    for file in (old, cut):
        members = {"policy_pth": file.read_bytes()}
        path = replaced(tmp_path / "ppo.zip", tmp_path / f"{file.stem}.zip", **members)
        with pytest.raises(PolicyError) as caught:
            ZIPS.read(Request(path, Box(-1, 1, (3,), np.float32), Discrete(3)))
        told[file.stem] = str(caught.value)
    assert "torch before 1.6" in told["old"]
    assert "old, not damaged" in told["old"]
    assert "damaged" in told["cut"]
    assert "torch before" not in told["cut"]
    trusted = ZIPS.read(Request(tmp_path / "old.zip", Box(-1, 1, (3,), np.float32), Discrete(3), trust=True))
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    assert trusted.act is not None, "what the hint says works"
    assert trusted.act(rows).tolist() == model.predict(rows, deterministic=True)[0].tolist()


class Agent(nn.Module):
    """CleanRL's `ppo.py`."""

    def __init__(self) -> None:
        super().__init__()
        for name, outputs in (("critic", 1), ("actor", 2)):
            layers = nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, outputs)
            setattr(self, name, nn.Sequential(*layers))


def renamed(how: str, agent: nn.Module) -> Any:
    state = agent.state_dict()
    return {
        "compiled": {f"_orig_mod.{name}": value for name, value in state.items()},
        "parallel": {f"module.{name}": value for name, value in state.items()},
        "both": {f"module._orig_mod.{name}": value for name, value in state.items()},
        "parts compiled": {name.replace(".", "._orig_mod.", 1): value for name, value in state.items()},
        "checkpoint": {"agent_state_dict": state, "global_step": 7},
    }[how]


@pytest.mark.parametrize("how", ["compiled", "parallel", "both", "parts compiled", "checkpoint"])
def test_names_of_compiled_and_nested_agents_are_read(how: str, tmp_path: Path) -> None:
    agent = Agent()
    torch.save(renamed(how, agent), tmp_path / "agent.pt")
    request = Request(tmp_path / "agent.pt", Box(-9, 9, (4,), np.float32), Discrete(2))
    found = AGENTS.read(request)
    (weights,) = found.fits
    policy = create_algorithm("ppo").load_policy(
        weights.arrays, weights.description, request.observation_space, request.action_space
    )
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    theirs = agent.actor(torch.from_numpy(rows)).argmax(dim=1).tolist()  # type: ignore[operator]
    assert policy.act(rows, deterministic=True).tolist() == theirs
    assert any("tanh is assumed" in note for note in found.notes)


@pytest.mark.parametrize(("agreement", "fine"), [(0.52, False), (0.79, False), (0.8, True), (1.0, True)])
def test_a_student_that_acts_otherwise_needs_a_yes(agreement: float, fine: bool) -> None:
    student = Distilled(None, agreement, 3, 1000)  # type: ignore[arg-type]
    if fine:
        student.check("x.onnx")
        return
    with pytest.raises(PolicyError, match=r"student of x\.onnx does not act like it") as caught:
        student.check("x.onnx")
    assert "--keep" in (caught.value.hint or "")
    assert f"{agreement:.1%}" in str(caught.value.found)
