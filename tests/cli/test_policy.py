"""`ultra policy import`, `score` and `export`: policies of other tools, in, scored, and out again."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import onnx
import pytest
import stable_baselines3 as sb3
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from ultra_agents.cli.new_file import require_new
from ultra_agents.config import parse_config
from ultra_agents.errors import ConfigError
from ultra_agents.policies import read_policy_file, save_policy
from ultra_agents.registry import create_algorithm, create_environment

CART = ("-e", "gymnasium:CartPole-v1")


def balancing(model: Any) -> None:
    """Weights that push the cart the way the pole falls: about 200 steps, where random actions last 22."""
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.zero_()
        net = model.policy.mlp_extractor.policy_net
        net[0].weight[0] = torch.tensor([0.0, 0.1, 1.0, 0.5])
        net[2].weight[0, 0] = 1.0
        model.policy.action_net.weight[1, 0] = 20.0


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a zip trained without, and one trained with a normaliser."""
    folder = tmp_path_factory.mktemp("sb3")
    for name in ("bare", "normalised"):
        env: Any = DummyVecEnv([lambda: gymnasium.make("CartPole-v1")])
        if name == "normalised":
            env = VecNormalize(env)
        model = sb3.PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu").learn(16)
        balancing(model)
        (folder / name).mkdir()
        model.save(folder / name / "cart.zip")
    env.obs_rms.mean[:], env.obs_rms.var[:] = 0.0, 1.0
    env.save(str(folder / "normalised" / "vecnormalize.pkl"))
    return folder


def test_in_scored_and_out_again(ultra: Any, source: Path) -> None:
    done = ultra(
        "policy", "import", str(source / "normalised" / "cart.zip"), *CART, "--expect", "150", "--episodes", "4"
    )
    assert done.code == 0, done.err
    assert "normaliser of" in done.out
    assert "acts exactly as in the file, as ppo" in done.out
    metadata, _ = read_policy_file(Path("cart.safetensors"))
    assert metadata["provenance"]["tool"] == "stable-baselines3"
    assert metadata["score"]["episodes"] == 4
    assert metadata["score"]["deterministic"]["mean"] > 100
    scored = ultra("policy", "score", "cart.safetensors", "--episodes", "4", "--json")
    assert scored.code == 0, scored.err
    row = json.loads(scored.out)
    assert row["score"] == row["recorded"]  # same seeds, same policy, to the last bit
    done = ultra("policy", "export", "cart.safetensors", "-o", "back/cart.zip")
    assert done.code == 0, done.err
    assert Path("back/cart_vecnormalize.pkl").exists()
    again = ultra("policy", "import", "back/cart.zip", *CART, "-o", "again.safetensors", "--episodes", "4", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["score"] == row["score"]
    model = sb3.PPO.load("back/cart.zip", device="cpu")
    assert model.predict(np.array([0, 0, 0.2, 0.5], np.float32), deterministic=True)[0] == 1


def test_a_score_far_below_what_is_stated_stops_and_writes_nothing(ultra: Any, source: Path) -> None:
    arguments = ("policy", "import", str(source / "bare" / "cart.zip"), *CART, "--expect", "3500", "--episodes", "4")
    done = ultra(*arguments)
    assert done.code == 2
    assert "scores far below what --expect says" in done.err
    assert "normaliser" in done.err
    assert "version" in done.err
    assert "3,500.0" in done.err
    assert list(Path().iterdir()) == []
    done = ultra(*arguments, "--keep")
    assert done.code == 0
    assert "kept all the same" in done.out
    assert done.err.startswith("warning: "), "what exits with 0 is no error"
    assert "error: " not in done.err
    assert Path("cart.safetensors").exists()


def test_a_policy_of_ours_is_held_to_its_own_record(ultra: Any, source: Path) -> None:
    assert ultra("policy", "import", str(source / "bare" / "cart.zip"), *CART, "--episodes", "4").code == 0
    from safetensors.numpy import save_file

    metadata, arrays = read_policy_file(Path("cart.safetensors"))
    metadata["score"]["mean"] = 5000.0
    save_file(arrays, "boast.safetensors", metadata={"ultra_agents": json.dumps(metadata)})
    for command in (("import", "boast.safetensors", *CART, "-o", "new.safetensors"), ("score", "boast.safetensors")):
        done = ultra("policy", *command, "--episodes", "4")
        assert done.code == 2, done.out
        assert "far below what its own record says" in done.err
    assert not Path("new.safetensors").exists()
    done = ultra("policy", "import", "cart.safetensors", *CART, "--episodes", "4")
    assert done.code == 0, done.err
    assert Path("cart_imported.safetensors").exists()


def network(path: Path) -> Path:
    """The balancing rule as an ONNX file."""
    weight = np.array([[0, 0], [0, 0.1], [0, 1.0], [0, 0.5]], np.float32)
    shape = helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["n", 4])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    nodes = [helper.make_node("MatMul", ["obs", "w"], ["out"])]
    graph = helper.make_graph(nodes, "policy", [shape], [out], [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize("kind", ["weights", "onnx"])
def test_a_policy_comes_in_as_its_students_where_it_must(
    kind: str, ultra: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultra_agents.exchange.distil.ROUNDS", 1)
    file = [str(network(Path("p.onnx")))] if kind == "onnx" else [str(source / "bare" / "cart.zip"), "--distil"]
    done = ultra("policy", "import", *file, *CART, "--distil-steps", "3000", "--episodes", "4", "--json")
    assert done.code == 0, done.err
    row = json.loads(done.out)
    assert row["algorithm"] == "ppo"
    assert row["distilled"]["agreement"] > 0.9
    assert 2500 < row["distilled"]["steps"] <= 3000
    assert row["env_steps"] > row["distilled"]["steps"], "scoring is charged, too"
    assert row["distilled"]["teacher"]["mean"] > 100
    assert "lesson 1" in done.err
    metadata, _ = read_policy_file(Path(row["policy"]))
    assert metadata["provenance"]["distilled_from"] == ("onnx" if kind == "onnx" else "ppo")


def test_a_student_unlike_its_teacher_needs_a_yes(ultra: Any, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultra_agents.exchange.distil.ROUNDS", 1)
    monkeypatch.setattr("ultra_agents.exchange.distil.agreed", lambda *_: 0.52)  # as of a network that draws
    arguments = ("policy", "import", str(source / "bare" / "cart.zip"), *CART, "--distil", "--distil-steps", "64")
    done = ultra(*arguments, "--episodes", "2")
    assert done.code == 2
    assert "does not act like it" in done.err
    assert "52.0% of the actions" in done.err
    assert "--keep" in done.err
    assert not Path("cart.safetensors").exists()
    kept = ultra(*arguments, "--episodes", "2", "--keep")
    assert kept.code == 0, kept.err
    assert "kept all the same" in kept.out
    assert Path("cart.safetensors").exists()


def test_an_existing_file_is_left_alone(ultra: Any, source: Path) -> None:
    Path("cart.safetensors").write_text("mine")
    arguments = ("policy", "import", str(source / "bare" / "cart.zip"), *CART, "--episodes", "2")
    done = ultra(*arguments)
    assert (done.code, Path("cart.safetensors").read_text()) == (2, "mine")
    assert "--overwrite" in done.err
    assert ultra(*arguments, "--overwrite").code == 0


class Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("exploded"),))


def test_bad_files_are_one_message_each(ultra: Any, source: Path) -> None:
    bomb = pickle.dumps(Bomb())
    pickle.loads(bomb)
    assert Path("exploded").exists()
    Path("exploded").unlink()
    good = (source / "bare" / "cart.zip").read_bytes()
    Path("bare.cleanrl_model").write_bytes(bomb)
    Path("cut.zip").write_bytes(good[:5000])
    with zipfile.ZipFile(source / "bare" / "cart.zip") as file:  # cut behind the torch file within
        weights = file.getinfo("policy.pth")
        Path("later.zip").write_bytes(good[: weights.header_offset + weights.file_size + 200])
    Path("empty.zip").write_bytes(b"")
    torch.save({"actor.0.weight": torch.full((2, 4), torch.nan)}, "nan.cleanrl_model")
    torch.save({"a": Bomb()}, "bomb.cleanrl_model")
    with zipfile.ZipFile(source / "bare" / "cart.zip") as file, zipfile.ZipFile("armed.zip", "w") as bad:
        for name in file.namelist():
            bad.writestr(name, bomb if name == "policy.pth" else file.read(name))
    Path("vecnormalize.pkl").write_bytes(bomb)
    Path("whole.zip").write_bytes(good)
    cases = {
        ("nowhere.zip",): "there is no policy file",
        ("bare.cleanrl_model",): "a bare pickle, which could run code",
        ("cut.zip",): "no format that is known",
        ("later.zip",): "cut short before a zip within it",
        ("empty.zip",): "no format that is known",
        ("cut.zip", "--format", "sb3"): "cannot be unpacked",
        ("nan.cleanrl_model",): "not finite",
        ("bomb.cleanrl_model",): "would run code",
        ("armed.zip",): "cannot be unpacked",
        ("whole.zip",): "would run code",
        ("whole.zip", "--no-normalizer", "--episodes", "0"): "a score needs episodes",
        ("whole.zip", "--no-normalizer", "--normalizer", "x"): "exclude each other",
        ("whole.zip", "--no-normalizer", "--algorithm", "nothing"): "unknown algorithm",
        ("whole.zip", "--no-normalizer", "--format", "nothing"): "unknown format",
        ("whole.zip", "--no-normalizer", "--distil", "--distil-steps", "0"): "too few steps",
        ("whole.zip", "--no-normalizer", "-o", "x.zip"): "a name in .safetensors",
    }
    before = sorted(Path().iterdir())
    for arguments, words in cases.items():
        done = ultra("policy", "import", *arguments, *CART)
        told = " ".join(done.err.split())
        assert done.code == 2, (arguments, done)
        assert words in told, arguments
        assert "Traceback" not in told
        assert told.count("error:") == 1
    assert sorted(Path().iterdir()) == before, "nothing was written, nothing went off"


@pytest.mark.parametrize("name", ["gymnasium:Pendulum-v1", "gymnasium:Acrobot-v1"])
def test_another_environment_is_one_message(name: str, ultra: Any, source: Path) -> None:
    done = ultra("policy", "import", str(source / "bare" / "cart.zip"), "-e", name)
    assert done.code == 2
    assert "made for other observations" in done.err
    assert list(Path().iterdir()) == []


def test_what_is_not_written_says_what_is(ultra: Any, source: Path) -> None:
    assert ultra("policy", "import", str(source / "bare" / "cart.zip"), *CART, "--episodes", "2").code == 0
    done = ultra("policy", "export", "cart.safetensors", "--format", "onnx")
    assert done.code == 2
    assert "cleanrl, sb3" in done.err
    done = ultra("policy", "export", "cart.safetensors", "--format", "cleanrl")
    assert done.code == 0, done.err
    assert Path("cart.cleanrl_model").exists()
    done = ultra("policy", "export", str(source / "bare" / "cart.zip"))
    assert done.code == 2
    assert "ultra policy import" in done.err


def test_what_to_write_into_a_configuration_is_told_in_yaml(ultra: Any, tmp_path: Path) -> None:
    sb3.PPO("MlpPolicy", gymnasium.make("CartPole-v1"), gamma=0.9, max_grad_norm=1e-5, device="cpu").save("new.zip")
    done = ultra("policy", "import", "new.zip", *CART, "--episodes", "1")
    assert done.code == 0, done.err
    lines = [line.strip() for line in done.out.splitlines() if line.startswith("  ") and ": {" in line]
    told = [yaml.safe_load(line) for line in lines]
    assert told[:3] == [
        {"environment": {"name": "gymnasium:CartPole-v1"}}, {"policy": {"path": "new.safetensors"}},
        {"refine": {"algorithm": {"name": "ppo"}}},
    ]  # fmt: skip
    options = told[3]["refine"]["algorithm"]["options"]
    assert (options["gamma"], options["max_grad_norm"]) == (0.9, 1e-5)
    training = read_policy_file(Path("new.safetensors"))[0]["training"]
    assert training["algorithm"] == "ppo"
    assert options.items() <= training["options"].items(), "and those that are the defaults"
    assert training["options"]["vf_coef"] == 1.0
    shown = " ".join(ultra("policy", "show", "new.safetensors").out.split())
    assert "trained with ppo: " in shown
    assert "gamma 0.9" in shown
    assert "not used" not in shown
    again = ultra("policy", "import", "new.safetensors", *CART, "--episodes", "1", "-o", "again.safetensors")
    assert again.code == 0, again.err
    assert read_policy_file(Path("again.safetensors"))[0]["training"] == training
    parse_config(
        {"policy": told[1]["policy"], "environment": told[0]["environment"], "refine": told[3]["refine"]}, "it"
    )
    assert read_policy_file(Path("new.safetensors"))[0]["provenance"]["trained_with"]["gamma"] == 0.9


def test_show_says_which_settings_of_a_file_cannot_be_used_here(ultra: Any, tmp_path: Path) -> None:
    environment = create_environment("corridor")
    policy = create_algorithm("ppo").create_policy(environment.observation_space, environment.action_space, 0)
    save_policy(
        tmp_path / "odd.safetensors", policy, algorithm="ppo", environment_name="corridor", environment=environment,
        provenance={}, score=None,
        training={"algorithm": "ppo", "options": {"gamma": "high", "x\x1b[2J": [1], "ent_coef": 0.003}},
    )  # fmt: skip
    done = ultra("policy", "show", "odd.safetensors")
    assert done.code == 0, done.err
    shown = " ".join(done.out.split())
    assert "ent_coef 0.003" in shown
    assert 'cannot use here, and they are not used: gamma = "high" (a number)' in shown
    assert "\x1b" not in shown
    assert "gamma" in json.loads(ultra("policy", "show", "odd.safetensors", "--json").out)["unused"]


def test_what_is_there_is_not_replaced_by_an_export(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "mine.zip").write_text("mine")
    for name, says in (("folder", "is a folder"), ("mine.zip", "exists already")):
        with pytest.raises(ConfigError, match=says):
            require_new(tmp_path / name, overwrite=False)
    with pytest.raises(ConfigError, match="is a folder"):
        require_new(tmp_path / "folder", overwrite=True)
    require_new(tmp_path / "mine.zip", overwrite=True)
    require_new(tmp_path / "new.zip", overwrite=False)


def test_an_export_writes_what_was_named_and_leaves_nothing_of_another_policy_beside_it(
    ultra: Any, source: Path
) -> None:
    for name in ("bare", "normalised"):
        file = str(source / name / "cart.zip")
        done = ultra("policy", "import", file, *CART, "-o", f"{name}.safetensors", "--episodes", "2")
        assert done.code == 0, done.err
    Path("named.zip").write_text("mine")
    done = ultra("policy", "export", "normalised.safetensors", "-o", "named")
    assert done.code == 0, done.err
    assert Path("named").stat().st_size > 1000
    assert Path("named.zip").read_text() == "mine", "the ending is not added behind one's back"
    assert Path("named_vecnormalize.pkl").exists()
    refused = ultra("policy", "export", "normalised.safetensors", "-o", "named.zip", "--overwrite")
    assert refused.code == 0, refused.err
    Path("other_vecnormalize.pkl").write_text("mine")
    refused = ultra("policy", "export", "normalised.safetensors", "-o", "other.zip")
    assert refused.code == 2
    assert "other_vecnormalize.pkl exists already" in refused.err
    assert not Path("other.zip").exists()
    done = ultra("policy", "export", "bare.safetensors", "-o", "named.zip", "--overwrite")
    assert done.code == 0, done.err
    assert not Path("named_vecnormalize.pkl").exists(), "an import would take it for this policy's"


@pytest.mark.parametrize("option", [["--distil"], ["--no-normalizer"], ["--normalizer", "nowhere.pkl"]])
def test_options_that_a_policy_of_ours_cannot_heed_are_refused(ultra: Any, source: Path, option: list[str]) -> None:
    done = ultra(
        "policy", "import", str(source / "bare" / "cart.zip"), *CART, "-o", "mine.safetensors", "--episodes", "2"
    )
    assert done.code == 0, done.err
    refused = ultra("policy", "import", "mine.safetensors", *CART, "-o", "again.safetensors", *option)
    assert refused.code == 2
    assert "brings its own normaliser" in refused.err
    assert not Path("again.safetensors").exists()


def test_a_negative_seed_is_refused(ultra: Any, source: Path) -> None:
    done = ultra("policy", "import", str(source / "bare" / "cart.zip"), *CART, "--seed", "-5")
    assert done.code == 2
    assert "--seed" in done.err
