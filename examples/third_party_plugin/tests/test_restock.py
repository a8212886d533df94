"""What a plugin's author tests: the kit, and what is particular to this world."""

from __future__ import annotations

import numpy as np
import pytest
from ultra_restock.environment import Restock
from ultra_restock.shop import ORDERS, SHELF, ShopOptions

from ultra_agents.registry import create_environment
from ultra_agents.testing.environment_kit import check_environment


@pytest.mark.parametrize("options", [{}, {"weeks": 1, "spoilage": 0.5}])
def test_it_conforms(options: dict[str, float]) -> None:
    """Every check of the kit."""
    report = check_environment(create_environment("restock", options))
    assert report.ok, str(report)


def mean_return(environment: Restock, expert: bool, episodes: int = 300) -> float:
    """Of the expert, or of random orders."""
    envs, rng, act = environment.make(episodes), np.random.default_rng(0), environment.expert()
    observations, _ = envs.reset(seed=list(range(episodes)))
    total = np.zeros(episodes)
    for _ in range(7 * environment.options.weeks):
        actions = act(observations) if expert else rng.integers(0, len(ORDERS), episodes)
        observations, rewards, *_ = envs.step(actions)
        total += rewards
    return float(total.mean())


def test_the_reference_returns_are_those_of_play() -> None:
    """Within three standard errors of 300 episodes."""
    environment = Restock(ShopOptions())
    known = environment.reference_returns
    assert mean_return(environment, expert=True) == pytest.approx(known.reference, abs=1.0)
    assert mean_return(environment, expert=False) == pytest.approx(known.random, abs=2.5)


def test_an_order_arrives_after_two_mornings_and_pieces_are_accounted_for() -> None:
    """Stock is what was there, less sales, plus deliveries: without spoilage nothing else moves it."""
    environment = Restock(ShopOptions(spoilage=0.0))
    envs = environment.make(1)
    before, _ = envs.reset(seed=[3])
    ordered, _, *_ = envs.step(np.array([2]))
    assert ordered[0, 1] == 20
    arrived, *_ = envs.step(np.array([0]))
    assert ordered[0, 0] <= before[0, 0]
    assert arrived[0, 0] >= ordered[0, 1]
    assert arrived[0, 0] <= min(ordered[0].sum() - ordered[0, 2], SHELF)


def test_the_describer_says_what_a_shopkeeper_needs() -> None:
    """One line: the day, what is there, what will be asked for."""
    environment = Restock(ShopOptions())
    told = environment.describe(np.array([4, 10, 4], np.float32), {"sold_out": 6})
    assert told == (
        "Friday morning: 4 in stock, 10 due tomorrow; about 33 will be asked for until the evening of the day today's "
        "order arrives, so that is too few. Yesterday 6 customers found nothing."
    )
