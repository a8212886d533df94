"""One run on a Ray cluster: its episodes are explained there, and everything comes out as on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultra_agents.agents.ray_segments import RaySegments
from ultra_agents.agents.state import Context
from ultra_agents.config import AgentsConfig, Config, NarrationConfig, VerificationConfig, parse_config
from ultra_agents.errors import ConfigError, Interrupted, RunError
from ultra_agents.narration import narrate
from ultra_agents.pipeline import run_pipeline
from ultra_agents.records import Segment, Trajectory
from ultra_agents.runs import RunFolder
from ultra_agents.testing.corridor import Corridor, CorridorOptions

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
def test_episodes_explained_on_a_cluster_give_the_same_advice(ray: Any, tmp_path: Path, proposer: str) -> None:
    here = explained(tmp_path / "here", proposer=proposer)
    there = explained(tmp_path / "there", proposer=proposer, engine=RAY)
    assert here == there
    assert any(one["trials"] for one in here[0]), "something was tested"
    assert here[2]


def test_an_interrupted_explanation_goes_on_and_ends_the_same(ray: Any, tmp_path: Path) -> None:
    whole = explained(tmp_path / "here", agents={"concurrency": 1})
    checks = iter([*[False] * 6])
    with pytest.raises(Interrupted):
        explained(tmp_path / "there", lambda: next(checks, True), agents={"concurrency": 1}, engine=RAY)
    assert explained(tmp_path / "there", agents={"concurrency": 1}, engine=RAY)[:2] == whole[:2]


class Gateway:
    """Counts the questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, *, agent: str, segment: str, models: Any, messages: Any, reply: Any) -> Any:
        self.asked.append(agent)
        case = {"case_analysis": "seen", "step": 2, "importance": 0.5}
        said = {"identifier": {"cases": [case]}, "advisor": {"reasoning": "go", "action": "RIGHT", "hold": 3}}
        judged = {"reasoning": "good", "reward": 0.5, "taken_reward": -0.5, "verdict": "accept"}
        return type("Answer", (), {"value": reply.model_validate(said.get(agent, judged))})


class DiesOnce:
    """The agents' own nodes, but the first worker that heard of the critical states is killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> Any:
        from ultra_agents.agents.advisor import advise
        from ultra_agents.agents.graph import Minds

        def then(state: Any, runtime: Any) -> Any:
            (self.folder / str(os.getpid())).touch()
            if not (self.folder / "died").exists():
                (self.folder / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return advise(state, runtime)

        return Minds(advise=then)


def test_a_lost_worker_asks_nobody_twice(ray: Any, tmp_path: Path) -> None:
    cells = np.array([4, 5, 4, 3, 2])
    trajectory = Trajectory(
        episode=0, seed=0, observations=(2 * cells / 8 - 1).astype(np.float32)[:, None],
        actions=np.array([1, 0, 0, 0, 0]), rewards=np.full(5, -0.01), values=np.zeros(5),
        infos=tuple({"cell": int(cell)} for cell in cells), terminated=True, truncated=False,
    )  # fmt: skip
    world, gateway, events = Corridor(CorridorOptions()), Gateway(), list[Any]()
    narration = narrate(trajectory, Segment(0, 0, 5, "lured"), world, NarrationConfig(stride=1))
    context = Context(
        trajectory, narration, world, gateway, AgentsConfig(), VerificationConfig(mode="none"), None, events.append,
        "test", lambda: False,
    )  # fmt: skip
    segments = RaySegments(ray, 3)
    try:
        state = segments.invoke(DiesOnce(tmp_path), 40, {"fingerprint": "x"}, context)
    finally:
        segments.close()
    workers = {path.name for path in tmp_path.iterdir()} - {"died"}
    assert len(workers) == 2
    assert str(os.getpid()) not in workers
    assert gateway.asked == ["identifier", "advisor", "critic"]
    assert [row["step"] for row in (state["explanation"] or {})["advice"]] == [2]
    assert len(events) == 1


def test_the_engine_is_no_part_of_what_a_run_is() -> None:
    assert config().hash() == config(engine="ray").hash()
    assert config(engine="ray").engine.kind == "ray"


def test_an_experiment_spreads_cells_not_what_is_in_them(small: Any) -> None:
    with pytest.raises((ConfigError, RunError), match="the engine of single runs"):
        small(common={**COMMON, "engine": "ray"})
