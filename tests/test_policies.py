import json

import gymnasium
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ultra_agents import policies
from ultra_agents.errors import PluginError, PolicyError
from ultra_agents.policies import describe_space, load_policy, save_policy
from ultra_agents.registry import create_algorithm, create_environment

SCORE = {"mean": 0.5, "stderr": 0.1, "episodes": 8, "seed": 3}


@pytest.fixture(scope="module")
def environment():
    return create_environment("corridor")


@pytest.fixture(scope="module")
def policy(environment):
    algorithm = create_algorithm("ppo", {"hidden": [8, 8]})
    return algorithm.create_policy(environment.observation_space, environment.action_space, 5)


@pytest.fixture
def path(tmp_path, policy, environment):
    path = tmp_path / "deep" / "policy.safetensors"
    write(path, policy, environment)
    return path


def write(path, policy, environment, algorithm="ppo"):
    save_policy(
        path,
        policy,
        algorithm=algorithm,
        environment_name="corridor",
        environment=environment,
        provenance={"command": "ultra run", "seed": 5, "steps": 10},
        score=SCORE,
    )


def rewrite(path, change_metadata=None, change_arrays=None):
    header, arrays = policies.read_safetensors(path)
    metadata = json.loads(header["ultra_agents"])
    if change_metadata:
        change_metadata(metadata)
    if change_arrays:
        change_arrays(arrays)
    save_file(arrays, path, metadata={"ultra_agents": json.dumps(metadata)})


def refused(path, environment):
    with pytest.raises(PolicyError) as caught:
        load_policy(path, "corridor", environment)
    error = caught.value
    assert error.found, error
    assert error.expected, error
    assert error.hint, error
    assert str(path) in error.problem
    return error


def test_a_policy_comes_back_as_it_was(path, policy, environment):
    loaded = load_policy(path, "corridor", environment)
    obs = np.linspace(-1, 1, 7, dtype=np.float32)[:, None]
    uniforms = np.random.default_rng(0).random((7, 1))
    assert np.array_equal(loaded.policy.value(obs), policy.value(obs))
    assert np.array_equal(loaded.policy.act_with_uniforms(obs, uniforms), policy.act_with_uniforms(obs, uniforms))
    assert loaded.algorithm == "ppo"
    assert loaded.metadata["score"] == SCORE
    assert loaded.metadata["provenance"]["steps"] == 10
    assert loaded.metadata["env_id"] == environment.env_id
    assert "numpy" in loaded.metadata["versions"]
    assert loaded.metadata["architecture"]["hidden"] == [8, 8]


def test_the_file_is_plain_safetensors_with_the_normaliser_inside(path):
    assert {"actor.0.weight", "critic.4.bias", "normalizer.mean", "normalizer.var"} <= set(load_file(path))


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(path, policy, environment, monkeypatch):
    before = path.read_bytes()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(PolicyError, match="cannot be written") as caught:
        write(path, policy, environment)
    assert caught.value.found == "disk full"
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_missing_file(tmp_path, environment):
    assert "no policy file" in refused(tmp_path / "nothing.safetensors", environment).problem
    (tmp_path / "folder.safetensors").mkdir()
    assert refused(tmp_path / "folder.safetensors", environment).found == "a folder"


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x80\x04K\x01.", b"\xff" * 64], ids=["empty", "text", "pickle", "ff"]
)
def test_not_safetensors(tmp_path, environment, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    assert "cannot be read" in refused(path, environment).problem


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated(path, environment, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "cut short" in refused(path, environment).problem


@pytest.mark.parametrize("suffix", [".pt", ".pkl", ".zip", ".PTH"])
def test_pickles_are_never_opened(tmp_path, environment, suffix):
    path = tmp_path / f"policy{suffix}"
    path.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    error = refused(path, environment)
    assert "can run code" in error.problem
    assert "safetensors" in error.expected


def test_safetensors_of_something_else(tmp_path, environment):
    path = tmp_path / "other.safetensors"
    for metadata in (None, {"format": "pt"}, {"ultra_agents": "{"}, {"ultra_agents": "[]"}):
        save_file({"weight": np.zeros(3)}, path, metadata=metadata)
        assert "not a policy" in refused(path, environment).problem


def test_newer_format(path, environment):
    rewrite(path, lambda m: m.update(format=99))
    error = refused(path, environment)
    assert "newer format" in error.problem
    assert "upgrade" in error.hint


def test_incomplete_description(path, environment):
    rewrite(path, lambda m: m.pop("algorithm"))
    assert "incomplete" in refused(path, environment).problem


def test_other_environment(path):
    error = refused(path, create_environment("mountain-car"))
    assert "another environment" in error.problem
    assert "corridor" in error.found


@pytest.mark.parametrize("which", ["observation_space", "action_space"])
def test_other_spaces(path, environment, which):
    rewrite(path, lambda m: m.update({which: describe_space(gymnasium.spaces.Discrete(7))}))
    error = refused(path, environment)
    assert which.replace("_", " ") in error.problem
    assert '"n": 7' in error.found


def test_missing_arrays(path, environment):
    rewrite(path, change_arrays=lambda a: a.pop("actor.2.weight"))
    assert "actor.2.weight" in refused(path, environment).found


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(path, environment, bad):
    rewrite(path, change_arrays=lambda a: a["actor.0.bias"].__setitem__(0, bad))
    assert "actor.0.bias" in refused(path, environment).found


def test_a_policy_that_is_not_finite_is_not_written(tmp_path, policy, environment):
    broken = policy.copy()
    broken.mean = broken.mean * np.nan
    with pytest.raises(PolicyError, match="not finite"):
        write(tmp_path / "bad.safetensors", broken, environment)
    assert not list(tmp_path.iterdir())


def test_other_suffixes_are_not_written(tmp_path, policy, environment):
    with pytest.raises(PolicyError, match=r"policy\.pt"):
        write(tmp_path / "policy.pt", policy, environment)


def test_a_strange_architecture_is_a_policy_error(path, environment):
    rewrite(path, lambda m: m["architecture"].update(hidden="many"))
    assert "cannot be rebuilt" in refused(path, environment).problem


def test_an_unknown_algorithm_is_named(path, environment):
    rewrite(path, lambda m: m.update(algorithm="pqo"))
    with pytest.raises(PluginError, match="pqo"):
        load_policy(path, "corridor", environment)


def test_spaces_are_described_by_all_that_matters():
    box, discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete
    alike = [describe_space(box(-1, np.inf, (2, 2), np.float32)) for _ in range(2)]
    assert alike[0] == alike[1] == json.loads(json.dumps(alike[0]))
    several = [
        alike[0],
        describe_space(box(-2, np.inf, (2, 2), np.float32)),
        describe_space(box(-1, np.inf, (4,), np.float32)),
        describe_space(box(-1, np.inf, (2, 2), np.float64)),
        describe_space(discrete(2)),
        describe_space(discrete(2, start=1)),
        describe_space(gymnasium.spaces.MultiBinary(2)),
    ]
    assert all(several[i] != several[j] for i in range(7) for j in range(i))
