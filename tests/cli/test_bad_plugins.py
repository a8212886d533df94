"""Plugins of other people that break their promises: each is named with its distribution, version and what was due."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ultra_agents import registry

MODULE = """
import numpy as np
from ultra_agents.testing.corridor import Corridor


class Tampered(Corridor):
    def change(self, result):
        pass

    def make(self, num_envs):
        envs = super().make(num_envs)
        original = envs.step

        def step(actions):
            result = list(original(actions))
            self.change(result)
            return tuple(result)

        envs.step = step
        return envs


class SaysNaN(Tampered):
    def change(self, result):
        result[0][-1] = np.nan


class LeavesItsSpace(Tampered):
    def change(self, result):
        result[0][-1] = 7.5


class PaysInfinity(Tampered):
    def change(self, result):
        result[1][-1] = np.inf


class Speechless(Corridor):
    def describe(self, observation, info):
        raise KeyError("weather")


class Talkative(Corridor):
    def describe(self, observation, info):
        return "cell " * 20_000


class Forgetful(Corridor):
    def restore(self, envs, indices, snapshots):
        observations = super().restore(envs, indices, snapshots)
        envs._steps[list(indices)] = 0
        for index in indices:
            envs._generators[index] = np.random.default_rng(5)
        return observations


class FromTheFuture(Corridor):
    contract_version = 99


class OfNoVersion(Corridor):
    contract_version = "two"
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes a distribution as pip leaves it: a dist-info folder with entry points, on the path."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "bad_corridors.py").write_text(MODULE)
    (site / "leaves_at_once.py").write_text("import sys\nsys.exit('not on this machine')\n")
    monkeypatch.syspath_prepend(str(site))

    def make(name: str, **plugins: str) -> None:
        info = site / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = "".join(f"{plugin} = {target}\n" for plugin, target in plugins.items())
        (info / "entry_points.txt").write_text(f"[ultra_agents.environments]\n{lines}")
        registry.catalogue.cache_clear()

    registry.catalogue.cache_clear()
    yield make
    registry.catalogue.cache_clear()


def configuration(tmp_path: Path, environment: str, mode: str = "none") -> str:
    path = tmp_path / f"{environment.replace(':', '-')}.yaml"
    script = {"callable": "ultra_agents.testing.corridor_script:good"}
    settings = {
        "name": "one",
        "environment": {"name": environment, "options": {"length": 21, "slip": 0.2, "max_steps": 60}},
        "policy": {"train_steps": 200},
        "llms": {"default": {"provider": "scripted", "options": script}},
        "collect": {"episodes": 2},
        "imitation": {"mode": "never"},
        "verification": {"mode": mode, "max_pairs": 2, "min_pairs": 2},
        "refine": {"steps": 200, "num_envs": 2, "workers": 0, "evaluate_every": 100, "curve_episodes": 2},
        "evaluate": {"episodes": 2},
    }
    path.write_text(yaml.safe_dump(settings))
    return str(path)


@pytest.mark.parametrize(
    ("cls", "mode", "said"),
    [
        ("SaysNaN", "none", "returned an observation that is not finite"),
        ("LeavesItsSpace", "none", "returned an observation outside its space"),
        ("PaysInfinity", "none", "returned a reward that is not finite"),
        ("Speechless", "none", "failed at describe of step"),
        ("Talkative", "none", "describes a state so that it cannot be narrated"),
    ],
)
def test_a_run_stops_and_names_the_plugin(
    ultra: Any, tmp_path: Path, distribution: Callable[..., None], cls: str, mode: str, said: str
) -> None:
    distribution("bad-corridors", mine=f"bad_corridors:{cls}")
    done = ultra("run", configuration(tmp_path, "mine", mode), "--plain")
    assert done.code == 2, done.out + done.err
    assert said in done.err
    assert "'mine' of bad-corridors 1.2" in done.err
    assert "Traceback" not in done.err
    if cls != "Speechless":
        assert "expected: " in done.err
    assert "ultra plugins check" in done.err or "shorten its describe()" in done.err
    assert not list((tmp_path / "runs" / "one").glob("crash-*"))
    checked = ultra("plugins", "check", "mine", "--set", "length=21", "--set", "slip=0.2", "--set", "max_steps=60")
    assert checked.code == 2, "the kit finds it too"


def test_a_snapshot_that_lies_is_found_before_anything_is_built_on_it(
    ultra: Any, tmp_path: Path, distribution: Callable[..., None]
) -> None:
    distribution("bad-corridors", mine="bad_corridors:Forgetful")
    done = ultra("run", configuration(tmp_path, "mine", "simulate"), "--plain")
    assert done.code == 0, "the run goes on without the simulator's judgement, and says so"
    told = " ".join(done.out.split())
    assert "'mine' of bad-corridors 1.2" in told
    assert "does not restore states exactly (" in told
    checked = ultra("plugins", "check", "mine", "--set", "slip=0.2")
    assert checked.code == 2
    assert "restored elsewhere" in " ".join(checked.out.split())


@pytest.mark.parametrize(
    ("target", "said", "do"),
    [
        ("bad_corridors:FromTheFuture", "contract version 99", "pip install --upgrade ultra-agents"),
        ("bad_corridors:OfNoVersion", "contract version two", "pip install --upgrade ultra-agents"),
        ("bad_corridors:NoSuchClass", "AttributeError", "pip install --upgrade bad-corridors"),
        (
            "needs_a_package.env:X",
            "No module named 'needs_a_package'",
            "the module 'needs_a_package' is not found: install what bad-corridors needs for it; a module of your "
            "own must lie in a folder that Python searches (PYTHONPATH)",
        ),
        ("leaves_at_once:X", "SystemExit: not on this machine", "pip install --upgrade bad-corridors"),
    ],
)
def test_a_plugin_that_does_not_load_is_listed_with_the_remedy_and_stops_a_run(
    ultra: Any, tmp_path: Path, distribution: Callable[..., None], target: str, said: str, do: str
) -> None:
    distribution("bad-corridors", mine=target)
    rows = json.loads(ultra("plugins", "list", "--json").out)
    (row,) = [row for row in rows if row["name"] == "mine"]
    assert (row["distribution"], row["version"], row["do"]) == ("bad-corridors", "1.2", do)
    assert said in row["error"]
    assert any(row["name"] == "corridor" and row["error"] is None for row in rows), (
        "the others are listed all the same"
    )
    shown = " ".join(ultra("plugins", "list").out.split())
    assert "fails to load" in shown
    assert do in shown
    done = ultra("run", configuration(tmp_path, "mine"), "--plain")
    assert done.code == 2
    assert "'mine' of bad-corridors 1.2" in done.err
    assert said in done.err
    assert not (tmp_path / "runs").exists()


def test_a_name_claimed_by_two_distributions_is_refused_and_can_be_chosen(
    ultra: Any, tmp_path: Path, distribution: Callable[..., None]
) -> None:
    distribution("one-corridor", corridor="bad_corridors:SaysNaN")
    done = ultra("run", configuration(tmp_path, "corridor"), "--plain")
    assert done.code == 2
    assert "claimed by 2 distributions" in done.err
    assert "one-corridor 1.2" in done.err
    assert "ultra-agents 0." in done.err
    assert "choose one: one-corridor:corridor or ultra-agents:corridor" in done.err
    assert not (tmp_path / "runs").exists()
    assert "claimed by 2 distributions" in ultra("plugins", "check", "corridor").err
    shown = ultra("plugins", "list").out
    assert "one-corridor:corridor" in shown
    assert "chosen as distribution:name" in shown
    assert ultra("plugins", "check", "ultra-agents:corridor").code == 0
    assert ultra("run", configuration(tmp_path, "ultra-agents:corridor"), "--plain").code == 0
