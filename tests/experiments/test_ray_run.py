"""One run whose tests are played on a Ray cluster: everything comes out as on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.config import Config, parse_config
from ultra_agents.errors import ConfigError, Interrupted, RunError
from ultra_agents.pipeline import run_pipeline
from ultra_agents.runs import RunFolder
from ultra_agents.verification import ray_pool
from ultra_agents.verification.ray_pool import RayPool

from .conftest import COMMON, TASK

RAY = {"kind": "ray", "cpus": 0.5, "workers": 1}


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A cluster of two cores on this machine."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    yield ray
    ray.shutdown()


def config(**changes: Any) -> Config:
    return parse_config({**TASK, **COMMON, "methods": ["ultra-ra"], "name": "one", **changes}, "test")


def explained(root: Path, stop: Any = lambda: False, **changes: Any) -> tuple[Any, bytes, list[Any]]:
    """What was found of the advice, the advice, and the words of everybody in it, in order by segment."""
    settings, events = config(**changes), list[Any]()
    folder = RunFolder.open(root / "one") if (root / "one").exists() else RunFolder.create(root, settings)
    run_pipeline(folder, settings, events.append, stop, "measure")
    done = folder.stage_done("explain")
    assert done is not None
    told = sorted(
        repr(event) for event in events if type(event).__name__ in ("AdviceDecided", "Dropped", "StepsSpent")
    )
    return done["value"], folder.advice.read_bytes(), told


@pytest.mark.parametrize("proposer", ["llm", "random"])
def test_suggestions_tested_on_a_cluster_give_the_same_advice(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proposer: str
) -> None:
    here = explained(tmp_path / "here", proposer=proposer)
    made: list[RayPool] = []
    monkeypatch.setattr(ray_pool, "RayPool", lambda *arguments: made.append(RayPool(*arguments)) or made[-1])
    there = explained(tmp_path / "there", proposer=proposer, engine=RAY)
    assert here == there
    assert len(made) == 1, "the tests were played there"
    attempts = [one for made in here[0]["explanations"] for state in made["states"] for one in state["attempts"]]
    assert any(one["test"] for one in attempts), "something was tested"
    assert here[2]


def test_an_interrupted_explanation_goes_on_and_ends_the_same(ray: Any, tmp_path: Path) -> None:
    whole = explained(tmp_path / "here", agents={"concurrency": 1})
    checks = iter([*[False] * 6])

    def stop() -> bool:
        narrated = '"narrate"' in (tmp_path / "there" / "one" / "state.json").read_text()
        return narrated and next(checks, True)

    with pytest.raises(Interrupted):
        explained(tmp_path / "there", stop, agents={"concurrency": 1}, engine=RAY)
    assert RunFolder.open(tmp_path / "there" / "one").done[-1] == "narrate", "stopped while explaining"
    assert explained(tmp_path / "there", agents={"concurrency": 1}, engine=RAY)[:2] == whole[:2]


def test_the_engine_is_no_part_of_what_a_run_is() -> None:
    assert config().hash() == config(engine="ray").hash()
    assert config(engine="ray").engine.kind == "ray"


def test_an_experiment_spreads_cells_not_what_is_in_them(small: Any) -> None:
    with pytest.raises((ConfigError, RunError), match="the engine of single runs"):
        small(common={**COMMON, "engine": "ray"})
