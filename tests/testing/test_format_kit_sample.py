"""The kit for formats, given a file: Stable-Baselines3's passes, each fault of a broken reader or writer is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import stable_baselines3 as sb3
from gymnasium.spaces import Box, Discrete

from ultra_agents.contracts import Foreign, Options, Outgoing, Policy, PolicyFormat, Request, Weights
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array
from ultra_agents.registry import create_algorithm, create_format
from ultra_agents.testing.format_kit import Sample, check_format

SPACES = Box(-1.0, 1.0, (2,), np.float32), Discrete(3)
OBSERVATIONS = np.array([[0.9, 0.1], [0.1, 0.9], [-0.5, -0.5]], np.float32)


class Rows(PolicyFormat):
    """A linear policy in JSON: the action is the largest of `rows @ observation`."""

    suffixes: ClassVar[tuple[str, ...]] = (".rows",)

    def recognises(self, path: Path) -> bool:
        return path.read_bytes().startswith(b"[[")

    def read(self, request: Request) -> Foreign:
        try:
            rows = np.asarray(json.loads(request.path.read_bytes()), np.float64)
        except ValueError as error:
            raise PolicyError("not rows", found=str(error)) from error
        assert isinstance(request.action_space, Discrete)
        if rows.shape != (request.action_space.n, *(request.observation_space.shape or ())):
            raise PolicyError("other spaces", found=rows.shape)
        return Foreign((Weights("linear", {"rows": rows}, {}),), lambda seen: (seen @ rows.T).argmax(axis=1))

    def write(self, outgoing: Outgoing) -> list[Path]:
        outgoing.path.write_text(json.dumps(outgoing.weights.arrays["rows"].tolist()))
        return [outgoing.path]


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    path = tmp_path / "good.rows"
    path.write_text("[[1, 0], [0, 1], [0, 0]]")
    return Sample(Request(path, *SPACES), OBSERVATIONS, np.array([0, 1, 2]))


def test_a_good_format_passes_every_check(sample: Sample) -> None:
    report = check_format(Rows(Options()), sample)
    assert {row.check: row.status for row in report.rows} == dict.fromkeys(
        ("suffixes", "recognises", "refuses", "reads", "cut", "spaces", "write"), "pass"
    )


def test_without_a_file_the_kit_says_what_it_needs(sample: Sample) -> None:
    rows = {row.check: row for row in check_format(Rows(Options())).rows}
    assert all(
        rows[name].status == "skipped" and "check_format" in rows[name].do for name in ("reads", "cut", "spaces")
    )


class Blind(Rows):
    def recognises(self, path: Path) -> bool:
        return False


class Otherwise(Rows):
    def read(self, request: Request) -> Foreign:
        foreign = super().read(request)
        assert foreign.act is not None
        return replace(foreign, act=lambda seen, act=foreign.act: (act(seen) + 1) % 3)


class Flat(Rows):
    def read(self, request: Request) -> Foreign:
        foreign = super().read(request)
        assert foreign.act is not None
        return replace(foreign, act=lambda seen, act=foreign.act: act(seen)[:, None])


class Nothing(Rows):
    def read(self, request: Request) -> Foreign:
        return replace(super().read(request), fits=(), act=None)


class Untellable(Rows):
    def read(self, request: Request) -> Foreign:
        return replace(super().read(request), told={"rows": np.zeros(3)})


class Verbose(Rows):
    def read(self, request: Request) -> Foreign:
        return replace(super().read(request), notes=("two\nlines",))


class Halves(Rows):
    def read(self, request: Request) -> Foreign:
        text = request.path.read_text(errors="replace")
        if text.startswith("[[") and not text.endswith("]]"):
            return Foreign(act=lambda seen: np.zeros(len(seen), np.int64))
        return super().read(request)


class AnySpaces(Rows):
    def read(self, request: Request) -> Foreign:
        return super().read(replace(request, observation_space=SPACES[0], action_space=SPACES[1]))


class WritesOtherwise(Rows):
    def write(self, outgoing: Outgoing) -> list[Path]:
        outgoing.path.write_text(json.dumps(outgoing.weights.arrays["rows"][::-1].tolist()))
        return [outgoing.path]


class WritesNothing(Rows):
    def write(self, outgoing: Outgoing) -> list[Path]:
        return [outgoing.path]


@pytest.mark.parametrize(
    ("broken", "failed", "said"),
    [
        (Blind, "reads", "does not recognise good.rows"),
        (Otherwise, "reads", "act does otherwise than the tool in 3 of 3"),
        (Flat, "reads", "shape (3, 1), not (3,)"), (Nothing, "reads", "nor anything to ask"),
        (Untellable, "reads", "what JSON cannot say"), (Verbose, "reads", "not lines of text"),
        (Halves, "cut", "reads half of the file"),
        (AnySpaces, "spaces", "reads for the observations Box(-1.0, 1.0, (3,)"),
        (WritesOtherwise, "write", "act does otherwise"), (WritesNothing, "write", "files that are not there"),
    ],
)  # fmt: skip
def test_each_fault_is_found(sample: Sample, broken: type[PolicyFormat], failed: str, said: str) -> None:
    rows = {row.check: row.detail for row in check_format(broken(Options()), sample).failed}
    assert failed in rows
    assert said in rows[failed]
    # whoever reads wrongly cannot pass as a writer either, but nothing else is blamed
    assert set(rows) <= {failed, "write"}


class Linear(Policy):
    """`Weights("linear", ...)` rebuilt, with an error of its own if asked for one."""

    def __init__(self, weights: Weights, shift: int) -> None:
        self.rows, self.shift = weights.arrays["rows"], shift

    def act(self, observations: Array, rng: Any = None, deterministic: bool = False) -> Array:
        return np.asarray(((observations @ self.rows.T).argmax(axis=1) + self.shift) % 3)

    act_with_uniforms: Any = None
    value: Any = None
    state: Any = None


@pytest.mark.parametrize(("shift", "ok"), [(0, True), (1, False)])
def test_weights_are_rebuilt_and_asked_as_well(sample: Sample, shift: int, ok: bool) -> None:
    report = check_format(Rows(Options()), replace(sample, rebuild=lambda weights: Linear(weights, shift)))
    row = next(row for row in report.rows if row.check == "reads")
    assert (row.status == "pass") is ok
    assert ("act, linear" if ok else "linear does otherwise") in row.detail


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_stable_baselines3_passes_with_a_file_of_its_own(algorithm: str, tmp_path: Path) -> None:
    env = gymnasium.make("CartPole-v1")
    model: Any = getattr(sb3, algorithm)("MlpPolicy", env, seed=0, device="cpu")
    model.save(tmp_path / "cart.zip")
    seen = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    spaces = env.observation_space, env.action_space

    def rebuild(weights: Weights) -> Policy:
        return create_algorithm(weights.algorithm).load_policy(weights.arrays, weights.description, *spaces)

    sample = Sample(Request(tmp_path / "cart.zip", *spaces), seen, model.predict(seen, deterministic=True)[0], rebuild)
    report = check_format(create_format("sb3"), sample)
    assert {row.check: row.status for row in report.rows if row.status != "pass"} == {}, str(report)
