"""No file runs anything when it is read, whatever it holds and wherever."""

from __future__ import annotations

import base64
import io
import json
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from ultra_agents_plugins.formats._pickles import Call, Name, as_array, numpy_name, read_pickle
from ultra_agents_plugins.formats._torch_files import Members, read_tensors
from ultra_agents_plugins.formats.cleanrl import CleanRL
from ultra_agents_plugins.formats.sb3 import SB3

from tests.plugins.formats.conftest import Bomb, replaced, saved, torch_zip
from ultra_agents.errors import PolicyError

READER, CLEANRL = SB3(SB3.Options()), CleanRL(CleanRL.Options())
HERE = Path("file")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """An SB3 zip trained on normalised observations, its normaliser beside it."""
    env = VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]))
    model = sb3.PPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, device="cpu").learn(8)
    model.save(tmp_path / "model.zip")
    env.save(str(tmp_path / "vecnormalize.pkl"))
    return tmp_path / "model.zip"


def test_a_bomb_for_weights_is_refused_unopened(policy: Path, request_for: Any, bomb: Any) -> None:
    data, mark = bomb
    bad = policy.with_name("bad.zip")
    for content in (data, torch_zip(policy, data_pkl=data)):  # a bare pickle, and one in torch's layout
        replaced(policy, bad, policy_pth=content)
        with pytest.raises(PolicyError):
            READER.read(request_for(bad, "CartPole-v1", normalizer=policy.with_name("vecnormalize.pkl")))
        assert not mark.exists()
    with pytest.raises(PolicyError, match="would run code"):
        READER.read(request_for(bad, "CartPole-v1"))


def test_a_bomb_for_a_normaliser_is_refused_unopened(policy: Path, request_for: Any, bomb: Any) -> None:
    data, mark = bomb
    policy.with_name("vecnormalize.pkl").write_bytes(data)
    with pytest.raises(PolicyError, match="would run code") as caught:
        READER.read(request_for(policy, "CartPole-v1"))
    assert not mark.exists()
    assert "touch" in str(caught.value)
    assert "do not open it" in str(caught.value)


def test_a_bomb_inside_a_whole_normaliser_does_not_go_off(policy: Path, request_for: Any, tmp_path: Path) -> None:
    """Names of numpy and SB3 are allowed, but only written down: the bomb hides among real statistics."""
    mark = tmp_path / "exploded"
    real: Any = VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]))
    real.epsilon = Bomb(mark)
    data = pickle.dumps(real)
    pickle.loads(data)
    assert mark.exists()
    mark.unlink()
    policy.with_name("vecnormalize.pkl").write_bytes(data)
    with pytest.raises(PolicyError, match="would run code"):
        READER.read(request_for(policy, "CartPole-v1"))
    assert not mark.exists()


def test_bombs_among_the_serialized_data_are_not_looked_at(policy: Path, request_for: Any, bomb: Any) -> None:
    data, mark = bomb
    with zipfile.ZipFile(policy) as file:
        row = json.loads(file.read("data"))
    armed = [value for value in row.values() if isinstance(value, dict) and ":serialized:" in value]
    assert len(armed) > 5
    for value in armed:
        value[":serialized:"] = base64.b64encode(data).decode()
    bad = replaced(policy, policy.with_name("bad.zip"), data=json.dumps(row).encode())
    found = READER.read(request_for(bad, "CartPole-v1", normalizer=policy.with_name("vecnormalize.pkl")))
    assert found.fits[0].algorithm == "ppo"
    assert not mark.exists()
    with pytest.raises(Exception):  # noqa: B017, PT011 - SB3 itself opens them, and fails on what it finds
        sb3.PPO.load(bad, device="cpu")
    assert mark.exists(), "the same file goes off in Stable-Baselines3"


def test_a_bomb_in_a_cleanrl_model_is_refused_unopened(tmp_path: Path, request_for: Any) -> None:
    mark = tmp_path / "exploded"
    path = tmp_path / "agent.cleanrl_model"
    path.write_bytes(saved({"actor.0.weight": torch.zeros(2, 4), "x": Bomb(mark)}))
    torch.load(path, weights_only=False)
    assert mark.exists()
    mark.unlink()
    with pytest.raises(PolicyError, match="would run code"):
        CLEANRL.read(request_for(path, "CartPole-v1"))
    assert not mark.exists()


@pytest.mark.parametrize("module", ["os", "builtins", "nt", "subprocess", "torch.hub", "numpy.testing", "pathlib"])
def test_names_that_weights_have_no_use_for_are_refused(module: str) -> None:
    for data in (f"c{module}\nsystem\n(tR.".encode(), f"(i{module}\nsystem\n.".encode()):
        with pytest.raises(PolicyError, match="would run code"):
            read_pickle(data, numpy_name, HERE, "the weights")


def test_allowed_names_are_written_down_and_never_called() -> None:
    tree = read_pickle(b"cnumpy\ndtype\n(S'f4'\ntR.", numpy_name, HERE, "x")
    assert isinstance(tree, Call)
    assert tree.function == Name("numpy", "dtype")
    assert tree.args == ("f4",)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_read_as_pickle_reads_them(protocol: int) -> None:
    value = {"a": [1, -2, 2**70, 0.5, None, True], "b": ("x", b"yz", "\u20ac" * 300), "c": {"d": ()}, "e": [[]] * 2}
    if protocol < 3:
        value["b"] = ("x", "\u20ac" * 300)
    assert read_pickle(pickle.dumps(value, protocol), numpy_name, HERE, "x") == value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_are_read_as_numpy_pickles_them(protocol: int) -> None:
    arrays = [
        np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        np.array([True, False]), np.arange(3, dtype=">f4"), np.zeros((0, 2)), np.array(7, dtype=np.uint8),
    ]  # fmt: skip
    for array in arrays:
        found = as_array(read_pickle(pickle.dumps(array, protocol), numpy_name, HERE, "x"))
        np.testing.assert_array_equal(found, array)
        assert found.shape == array.shape
    scalar = as_array(read_pickle(pickle.dumps(np.float64(1.5), protocol), numpy_name, HERE, "x"))
    assert float(scalar) == 1.5


def test_no_cut_or_bent_pickle_gets_past(policy: Path) -> None:
    whole = policy.with_name("vecnormalize.pkl").read_bytes()
    rng = np.random.default_rng(0)
    for stop in rng.integers(0, len(whole), 40):
        with pytest.raises(PolicyError):
            read_pickle(whole[:stop], lambda _: True, HERE, "x")
    for place in rng.integers(0, len(whole), 300):  # a flipped byte is an error or another plain value
        bent = bytearray(whole)
        bent[place] ^= 0x41
        try:
            read_pickle(bytes(bent), lambda _: True, HERE, "x")
        except PolicyError as error:
            assert error.found  # noqa: PT017


def test_instructions_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultra_agents_plugins.formats._pickles.MAX_OPCODES", 100)
    with pytest.raises(PolicyError, match="cannot be read"):
        read_pickle(b"N0" * 200 + b"N.", numpy_name, HERE, "x")
    extension = bytes([ord(next(o for o in pickletools.opcodes if o.name == "EXT1").code), 1])
    with pytest.raises(PolicyError, match="cannot be read"):
        read_pickle(extension + b".", numpy_name, HERE, "x")


def test_tensors_are_read_as_torch_saves_them(tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = {
        "plain": base, "view": base[1:, 2:5], "turned": base.T, "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "half": torch.randn(3).half(), "bf16": torch.tensor([1.5, -2.0]).bfloat16(), "long": torch.arange(3),
        "bool": torch.tensor([True, False]), "parameter": torch.nn.Parameter(torch.ones(2)),
        "double": torch.ones(2, dtype=torch.float64),
    }  # fmt: skip
    found = read_tensors(tmp_path / "x", saved(tensors))
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        expected = tensor.detach().float() if name == "bf16" else tensor.detach()
        np.testing.assert_array_equal(found[name], expected.numpy())
    nested = read_tensors(tmp_path / "x", saved({"model_weights": {"w": base}, "args": {"lr": 0.1}}))
    np.testing.assert_array_equal(nested["w"], base.numpy())


def test_weights_cut_short_or_not_finite_are_refused(tmp_path: Path) -> None:
    whole = saved({"w": torch.ones(100)})
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        names = {name: file.read(name) for name in file.namelist()}
    storage = next(name for name in names if name.endswith("data/0"))
    cut = io.BytesIO()
    with zipfile.ZipFile(cut, "w") as file:
        for name, data in names.items():
            file.writestr(name, data[:120] if name == storage else data)
    with pytest.raises(PolicyError, match="cut short") as caught:
        read_tensors(tmp_path / "x", cut.getvalue())
    assert "120 bytes" in str(caught.value)
    assert "400 bytes" in str(caught.value)
    with pytest.raises(PolicyError, match="cannot be unpacked"):
        read_tensors(tmp_path / "x", whole[:-100])
    spoilt = bytearray(whole)
    spoilt[whole.index(names[storage]) + 7] ^= 0xFF
    with pytest.raises(PolicyError, match="cannot be unpacked"):
        read_tensors(tmp_path / "x", bytes(spoilt))
    for value in (float("nan"), float("inf")):
        with pytest.raises(PolicyError, match="not finite") as caught:
            read_tensors(tmp_path / "x", saved({"fine": torch.ones(2), "bad": torch.tensor([1.0, value])}))
        assert "in: bad" in str(caught.value)


def test_tensors_bigger_than_their_numbers_are_refused(tmp_path: Path) -> None:
    expanded = saved({"w": torch.ones(1).expand(1_000_000_000)})  # stride 0: a gigabyte out of four bytes
    with pytest.raises(PolicyError, match="do not describe tensors") as caught:
        read_tensors(tmp_path / "x", expanded)
    assert "does not lie within its 1 numbers" in str(caught.value)


def test_a_zip_that_unpacks_to_an_absurd_size_is_not_unpacked(
    tmp_path: Path, request_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("data", "{}")
        file.writestr("policy.pth", b"\0" * (8 << 20))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(PolicyError, match="absurd size"):
        READER.read(request_for(path, "CartPole-v1"))
    monkeypatch.setattr("ultra_agents_plugins.formats._torch_files.MAX_BYTES", 1000)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data", b"1" * 2000)
    with pytest.raises(PolicyError, match="absurd size"):
        Members(path)


def test_what_holds_no_tensors_says_so(tmp_path: Path) -> None:
    for value in ({"a": 1}, [torch.ones(2)], 3):
        with pytest.raises(PolicyError, match=r"no tensors|do not describe tensors"):
            read_tensors(tmp_path / "x", saved(value))
    old = io.BytesIO()
    torch.save({"w": torch.ones(2)}, old, _use_new_zipfile_serialization=False)
    with pytest.raises(PolicyError, match=r"torch before 1\.6"):
        read_tensors(tmp_path / "x", old.getvalue())
