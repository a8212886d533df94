"""A policy with rules in force: who acts, random numbers, files, three lines of Python, other tools."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ultra_agents
from ultra_agents.contracts import Policy
from ultra_agents.errors import ConfigError, PluginError, PolicyError
from ultra_agents.exchange.importing import export_policy
from ultra_agents.exchange.scoring import score
from ultra_agents.policies import METADATA_KEY, describe_policy_file, load_policy, read_safetensors, save_policy
from ultra_agents.policies import write_safetensors as write
from ultra_agents.records import Array, FloatArray
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rules import RuleError, interface_of, parse_rules
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.testing.corridor import Corridor, CorridorOptions

FAR = "rules: [{when: cell > 4, do: RIGHT, why: the goal is near}]"
ALL = "rules: [{when: cell >= 0, do: RIGHT}]"


def world(**options: Any) -> Corridor:
    return Corridor(CorridorOptions(**options))


def ppo(environment: Any) -> Policy:
    algorithm = create_algorithm("ppo", {"hidden": [8]})
    return algorithm.create_policy(environment.observation_space, environment.action_space, seed=3)


def layer(text: str = FAR, environment: Any = None) -> RulePolicy:
    environment = environment or world()
    return RulePolicy(ppo(environment), parse_rules(text, interface_of(environment)), environment)


def seen(cells: Any, length: int = 9) -> Array:
    return (2.0 * np.asarray(cells) / (length - 1) - 1.0).astype(np.float32)[:, None]


class Constant(Policy):
    """Takes one continuous action everywhere."""

    def __init__(self, action: Any) -> None:
        self.action = np.asarray(action, np.float32)

    def act(self, observations: Array, rng: Any = None, deterministic: bool = False) -> Array:
        return np.tile(self.action, (len(observations), 1))

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        return self.act(observations)

    def value(self, observations: Array) -> FloatArray:
        return np.zeros(len(observations))

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        return {}, {}


def test_rules_act_where_they_cover_and_elsewhere_the_policy_with_the_same_draws() -> None:
    both = layer()
    observations, uniforms = seen(np.tile(np.arange(1, 8), 40)), np.random.default_rng(0).random((280, 1))
    own = both.alone.act_with_uniforms(observations, uniforms)
    actions, covered = both.act_and_cover(observations, uniforms)
    assert (covered == (observations[:, 0] > 0)).all()
    assert (actions[covered] == 1).all()
    assert (own[covered] == 0).any(), "the policy alone would have gone left somewhere"
    assert actions[~covered].tolist() == own[~covered].tolist()
    assert both.act_with_uniforms(observations, uniforms).tolist() == actions.tolist()
    assert both.differs(observations, own).tolist() == (actions != own).tolist()
    assert actions.dtype == own.dtype
    assert both.value(observations).tolist() == both.alone.value(observations).tolist()
    drawn = both.act(observations, np.random.default_rng(1))
    assert drawn[~covered].tolist() == both.alone.act(observations, np.random.default_rng(1))[~covered].tolist()
    sure = both.act(observations, deterministic=True)
    assert sure[~covered].tolist() == both.alone.act(observations, deterministic=True)[~covered].tolist()


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    both, uniforms = layer(), np.full((8, 1), 0.3)
    together = both.act_with_uniforms(seen(range(8)), uniforms)
    each = [int(both.act_with_uniforms(seen([cell]), uniforms[:1])[0]) for cell in range(8)]
    assert together.tolist() == each


def test_residual_rules_change_the_named_part_of_a_continuous_action_within_its_bounds() -> None:
    hopper = create_environment("hopper")
    rules = parse_rules("rules: [{when: lean > 0, do: {hip: own.hip - 4 * lean}}]", interface_of(hopper))
    both = RulePolicy(Constant([0.5, -0.25, 3.0]), rules, hopper)
    observations = np.zeros((3, *hopper.observation_space.shape))
    observations[:, 1] = 0.1, -0.1, 5.0
    actions, covered = both.act_and_cover(observations, np.full((3, 3), 0.5))
    lean = hopper.quantities(observations)["lean"]
    assert covered.tolist() == (lean > 0).tolist()
    assert 0 < covered.sum() < 3
    wanted = np.where(covered, np.clip(0.5 - 4 * lean, -1, 1), 0.5)
    assert actions[:, 0] == pytest.approx(wanted)
    assert actions[:, 1].tolist() == [-0.25] * 3
    assert actions[:, 2].tolist() == [3.0] * 3, "what is not named stays the policy's to the bit"
    assert actions.dtype == np.float32


def test_what_cannot_act_or_does_not_fit_is_refused() -> None:
    pong = create_environment("pong")
    with pytest.raises(RuleError, match="no rule to act by"):
        layer("potential: cell / 9")
    with pytest.raises(RuleError, match="cell"):
        RulePolicy(ppo(pong), parse_rules(FAR), pong)

    class Dumb(Corridor):
        def quantities(self, observations: Array) -> Any:
            raise ZeroDivisionError("no")

    with pytest.raises(PluginError, match="cannot tell its quantities") as caught:
        layer(environment=Dumb(CorridorOptions())).act_with_uniforms(seen([1]), np.full((1, 1), 0.5))
    assert caught.value.found == "ZeroDivisionError: no"


def test_it_survives_the_way_to_a_worker() -> None:
    both, uniforms = layer(), np.full((8, 1), 0.3)
    again = pickle.loads(pickle.dumps(both))
    assert again.act_with_uniforms(seen(range(8)), uniforms).tolist() == (
        both.act_with_uniforms(seen(range(8)), uniforms).tolist()
    )


def saved(path: Path, both: Policy, environment: Any, **options: Any) -> Path:
    save_policy(
        path, both, algorithm="ppo", environment_name="corridor", environment=environment,
        provenance={}, score=None, environment_options=options,
    )  # fmt: skip
    return path


def test_a_file_keeps_the_rules_and_three_lines_of_python_act_by_them(tmp_path: Path) -> None:
    environment = world(length=11)
    text = "constants: {at: [4, 0, 10]}\nrules: [{when: cell > at, do: RIGHT, why: 'when: it is near'}]"
    both = layer(text, environment)
    both = RulePolicy(both.alone, both.rules.with_constants({"at": 2.5}), environment)
    path = saved(tmp_path / "both.safetensors", both, environment, length=11)
    policy = ultra_agents.load_policy(path)
    observations, uniforms = seen(np.arange(11), 11), np.random.default_rng(0).random((11, 1))
    assert policy.act(observations, deterministic=True).tolist() == (
        both.act(observations, deterministic=True).tolist()
    )
    loaded = load_policy(path, "corridor", environment)
    assert isinstance(loaded.policy, RulePolicy)
    assert loaded.policy.rules == both.rules
    assert loaded.policy.act_with_uniforms(observations, uniforms).tolist() == (
        both.act_with_uniforms(observations, uniforms).tolist()
    )
    assert loaded.alone is loaded.policy.alone
    assert "acts by rules where they cover a state" in describe_policy_file(loaded.metadata)


def test_a_file_without_rules_loads_as_before(tmp_path: Path) -> None:
    environment = world()
    path = saved(tmp_path / "alone.safetensors", ppo(environment), environment)
    loaded = load_policy(path, "corridor", environment)
    assert loaded.alone is loaded.policy
    assert not isinstance(loaded.policy, RulePolicy)
    assert "acts by rules where they cover a state" not in describe_policy_file(loaded.metadata)
    assert ultra_agents.load_policy(str(path)).act(seen([3]), deterministic=True).shape == (1,)


def test_the_rules_show_in_the_score(tmp_path: Path) -> None:
    environment = world()
    path = saved(tmp_path / "both.safetensors", layer(ALL), environment)
    assert score(load_policy(path, "corridor", environment).policy, environment, 8, 0).sampled.mean == pytest.approx(
        environment.reference_returns.reference
    )


@pytest.mark.parametrize(
    "rules", ["rules: [{when: celll > 4, do: RIGHT}]", "import os", 7, None], ids=["name", "no rules", "type", "none"]
)
def test_a_file_with_damaged_rules_is_refused(tmp_path: Path, rules: Any) -> None:
    environment = world()
    path = saved(tmp_path / "both.safetensors", layer(), environment)
    header, arrays = read_safetensors(path)
    metadata = json.loads(header[METADATA_KEY])
    metadata["architecture"]["rules"] = rules
    write(path, arrays, {METADATA_KEY: json.dumps(metadata)})
    with pytest.raises((RuleError, PolicyError)):
        load_policy(path, "corridor", environment)


def test_other_tools_get_the_policy_alone_with_a_warning(tmp_path: Path) -> None:
    environment = world()
    both = layer()
    path = saved(tmp_path / "both.safetensors", both, environment)
    alone = saved(tmp_path / "alone.safetensors", both.alone, environment)
    with pytest.warns(UserWarning, match="without them"):
        written = export_policy(path, tmp_path / "both.zip", "sb3", environment, "corridor")
    assert written[0].is_file()
    from stable_baselines3 import PPO

    export_policy(alone, tmp_path / "alone.zip", "sb3", environment, "corridor")
    ours, theirs = (PPO.load(tmp_path / f"{name}.zip", device="cpu").policy for name in ("both", "alone"))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.tolist() == other.tolist()


def test_a_run_does_not_begin_with_rules(tmp_path: Path) -> None:
    from ultra_agents.config import parse_config
    from ultra_agents.stages.check import check_run

    path = saved(tmp_path / "both.safetensors", layer(), world())
    settings = {"environment": {"name": "corridor"}, "policy": {"path": str(path)}, "proposer": "random"}
    with pytest.raises(ConfigError, match="acts by rules"):
        check_run(parse_config(settings, "test"))
