from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ultra_agents_plugins.methods._mask import (
    LIMIT,
    MaskedSimulators,
    MaskNetwork,
    MaskOptions,
    train_mask,
)
from ultra_agents_plugins.methods._moments import Moments

from tests.methods.chain import CELLS, DECISIVE, SMALL, Chain, Keeps, Right, settings
from ultra_agents.contracts import Setting
from ultra_agents.errors import Interrupted, RunError
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams

CHAIN = Chain(Chain.Options())
ALL = np.eye(CELLS, dtype=np.float32)
MASK = MaskOptions(steps=8000, algorithm={"name": "ppo", "options": SMALL})  # type: ignore[arg-type]
MakeSetting = Callable[..., Setting]


def on_chain(setting: MakeSetting, **changes: Any) -> Setting:
    return setting(environment=CHAIN, start=Right(), **changes)


def episodes(setting: Setting, count: int = 4) -> list[Any]:
    with setting.services.simulators(count) as simulators:
        return collect(setting.start, CHAIN, simulators, list(range(count)), Streams(9), 100)


@pytest.mark.parametrize("gap", [None, ([1.0, 1.0], 0.1)], ids=["bonus", "gap"])
def test_the_one_decision_that_matters_is_found(setting: MakeSetting, gap: Any) -> None:
    given = on_chain(setting)
    mask = train_mask(given, "rice", MASK, gap)
    keep = mask.keep(ALL)
    assert keep[DECISIVE] > 0.95
    assert np.delete(keep, DECISIVE).max() < 0.05
    assert [mask.critical_step(one) for one in episodes(given)] == [DECISIVE] * 4
    assert 8000 <= mask.env_steps < 8000 + 8


def test_alpha_decides_what_a_decision_must_be_worth(setting: MakeSetting) -> None:
    # Randomising the decision loses half of 1 on average: an alpha above that is not worth keeping for.
    mask = train_mask(on_chain(setting), "rice", MASK.model_copy(update={"alpha": 0.8}))
    assert mask.keep(ALL).max() < 0.05


def test_the_gap_stops_gains_of_randomising(setting: MakeSetting) -> None:
    """A target that always errs: randomising its decision *gains*, which closes no gap but opens one."""

    class Left(Right):
        def act(self, observations: Any, rng: Any = None, deterministic: bool = False) -> Any:
            return np.zeros(len(observations), np.int64)

    given = on_chain(setting)
    erring = setting(environment=CHAIN, start=Left())
    bonus = train_mask(erring, "rice", MASK)
    gap = train_mask(erring, "statemask-r", MASK, ([0.0, 0.0], 1.0))
    assert bonus.keep(ALL)[DECISIVE] < 0.05
    assert gap.keep(ALL)[DECISIVE] > bonus.keep(ALL)[DECISIVE] + 0.2
    assert given.start.act(ALL).all()


def test_masked_rewards_and_actions() -> None:
    with make_simulators(CHAIN, 4) as simulators:
        masked = MaskedSimulators(simulators, CHAIN, Right(), np.random.default_rng(0), alpha=0.25)
        masked.weight = 0.5
        masked.reset(seed=[1, 2, 3, 4])
        total = np.zeros(4)
        for step in range(CELLS):
            _, rewards, terminated, _, _ = masked.step(np.array([0, 0, 1, 1]))
            total += rewards
            assert terminated.all() == (step == CELLS - 1)
        assert total[:2].tolist() == [0.5, 0.5]
        assert set(total[2:].tolist()) <= {0.25 * CELLS, 0.25 * CELLS + 0.5}
        assert masked.ended[:2] == [1.0, 1.0], "unweighted, without alpha"
        assert masked.seen is not None
        assert masked.seen.count == 4 * CELLS


def test_randomised_actions_are_uniform() -> None:
    taken: list[int] = []
    with make_simulators(CHAIN, 2) as simulators:
        masked = MaskedSimulators(simulators, CHAIN, Right(), np.random.default_rng(0), alpha=0.0)
        masked.reset(seed=[1, 2])
        for _ in range(300 * CELLS):
            _, rewards, _, _, _ = masked.step(np.array([1, 1]))
            taken += [int(value) for value in rewards]
    share = sum(taken) / 600
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / 600)


def test_probabilities_are_read_off_the_inverse_cdf() -> None:
    mask = MaskNetwork(Keeps(lambda rows: rows[:, 0]), 0, Moments(1))
    p = np.array([[1e-6], [0.1], [0.5], [0.9], [1 - 1e-6], [0.0], [1.0]])
    assert mask.keep(p)[:5] == pytest.approx(p[:5, 0], rel=1e-5)
    assert mask.log_odds(p)[5] == -LIMIT
    assert mask.log_odds(p)[6] == pytest.approx(LIMIT, abs=1e-5)
    assert mask.beats(p, np.zeros(7)).tolist() == [False, False, True, True, True, False, True]


def test_ppo_probabilities_are_exact(setting: MakeSetting) -> None:
    mask = train_mask(on_chain(setting), "rice", MASK.model_copy(update={"steps": 600}))
    outputs = mask.policy.actor_outputs(mask.policy.normalize(ALL)).astype(float)  # type: ignore[attr-defined]
    expected = np.exp(outputs[:, 0]) / np.exp(outputs).sum(axis=1)
    assert mask.keep(ALL) == pytest.approx(expected, abs=1e-6)


def test_a_trained_mask_is_read_back_and_charged_the_same(setting: MakeSetting) -> None:
    config = MASK.model_copy(update={"steps": 600})
    told: list[Any] = []
    first = train_mask(on_chain(setting, on_progress=lambda *row: told.append(row)), "rice", config)
    assert told[-1] == (600, 600, "mask network of rice")
    told.clear()
    again = train_mask(on_chain(setting, on_progress=lambda *row: told.append(row)), "rice", config)
    assert told == [], "not trained again"
    assert again.env_steps == first.env_steps
    assert again.log_odds(ALL).tolist() == first.log_odds(ALL).tolist()
    assert again.seen.var.tolist() == first.seen.var.tolist()


def test_interrupted_training_begins_anew_and_ends_the_same(setting: MakeSetting) -> None:
    config = MASK.model_copy(update={"steps": 1200})
    asked = iter(range(100))

    def stop() -> None:
        if next(asked) == 2:
            raise Interrupted("stopped")

    whole = train_mask(on_chain(setting), "whole", config)
    with pytest.raises(Interrupted):
        train_mask(on_chain(setting, check_stop=stop), "cut", config)
    assert not (on_chain(setting).services.folder / "cut-mask.safetensors").exists()
    first = train_mask(on_chain(setting), "cut", config)
    (on_chain(setting).services.folder / "cut-mask.safetensors").unlink()
    second = train_mask(on_chain(setting), "cut", config)
    assert first.log_odds(ALL).tolist() == second.log_odds(ALL).tolist()
    assert first.log_odds(ALL).tolist() != whole.log_odds(ALL).tolist(), "streams are the method's own"


@pytest.mark.parametrize("damage", ["cut", "settings"])
def test_a_mask_that_does_not_belong_here_is_named(setting: MakeSetting, damage: str) -> None:
    config = MASK.model_copy(update={"steps": 300})
    given = on_chain(setting)
    train_mask(given, "rice", config)
    path = given.services.folder / "rice-mask.safetensors"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    else:
        config = config.model_copy(update={"alpha": 0.5})
    with pytest.raises(RunError, match="rice-mask") as caught:
        train_mask(given, "rice", config)
    assert str(path) in str(caught.value.hint)


def test_fidelity_of_the_mask_beats_random_windows(setting: MakeSetting) -> None:
    given = on_chain(setting, config=settings(evaluate={"fidelity": 8}, verification={"horizon": 4}))
    mask = train_mask(given, "rice", MASK)
    found = given.services.fidelity(episodes(given), lambda one: mask.keep(one.observations))
    assert found["fidelity_10"] > found["fidelity_random_10"] + 0.3
    assert set(found) >= {"fidelity_10", "fidelity_20", "fidelity_30", "fidelity_40"}


def test_no_fidelity_unless_asked(setting: MakeSetting) -> None:
    def never(one: Any) -> Any:
        raise AssertionError

    given = on_chain(setting)
    assert given.services.fidelity(episodes(given, 1), never) == {}
    measured = on_chain(setting, config=settings(evaluate={"fidelity": 8}))
    assert measured.services.fidelity((), never) == {}
