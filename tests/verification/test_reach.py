from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ultra_agents.records import Plan, Ring, TestResult
from ultra_agents.seeding import Streams
from ultra_agents.verification.counterfactual import CounterfactualTester
from ultra_agents.verification.reach import NOWHERE, ONE_PAIR, Claim, measure_reach

from .conftest import LEFT, RIGHT, Walker, corridor, play, settings

Make = Callable[..., CounterfactualTester]
POLICY = Walker(0.6)
WORLD = corridor(length=41, max_steps=80, lure=-1.0)
STEPS = 10**6


def claim(plan: Plan, rings: Sequence[Sequence[int]], held: bool = True) -> Claim:
    """Of step 0; a ring is the steps tested there, its radius their number in the sequence."""
    made = tuple(Ring(0.1 * (n + 1), tuple((0, step) for step in steps)) for n, steps in enumerate(rings))
    return Claim(0, 0, plan, held, made)


def reach(testers: Make, claims: Sequence[Claim], max_steps: int = STEPS, **options: Any) -> Any:
    tester = testers(horizon=80)
    found = measure_reach(claims, [EPISODE], tester, settings(horizon=80, min_gain=0.0, **options), max_steps)
    return found, tester.env_steps


EPISODE = play(POLICY, WORLD)
TO_THE_GOAL, TO_THE_LURE = Plan(((RIGHT, 40),)), Plan(((LEFT, 40),))


@pytest.fixture
def make() -> Any:
    made: list[CounterfactualTester] = []

    def tester(**options: Any) -> CounterfactualTester:
        config = settings(**options).model_copy(update=ONE_PAIR)
        made.append(CounterfactualTester(WORLD, POLICY, config, Streams(0), max_tests=1))
        return made[-1]

    yield tester
    for one in made:
        one.close()


def test_a_plan_that_helps_everywhere_reaches_the_furthest_ring(make: Make) -> None:
    (found,), spent = reach(make, [claim(TO_THE_GOAL, [range(1, 5), range(5, 9), range(9, 13)])])
    assert found.radius == pytest.approx(0.3)
    assert (found.states, found.low > 0) == (12, True)
    assert spent > 0


def test_a_plan_that_does_harm_around_its_state_acts_there_only(make: Make) -> None:
    (held, fresh), _ = reach(
        make, [claim(TO_THE_LURE, [range(1, 5)]), claim(TO_THE_LURE, [range(5, 9), range(9, 13)], held=False)]
    )
    assert held.radius == 0.0, "it held at its own state"
    assert held.gain < 0
    assert fresh.radius == NOWHERE, "nothing speaks for it"


def test_a_row_stops_growing_at_the_ring_that_spoils_it() -> None:
    gains = {step: 1.0 if step < 9 else -0.1 for step in range(1, 17)}

    class Told:
        env_steps = 0

        def test_all(self, trajectory: Any, suggestions: Any) -> Any:
            return [TestResult(gains[one.step], 0, 0, 1, 1, False, "pairs") for one in suggestions]

    asked = claim(TO_THE_GOAL, [range(1, 5), range(5, 9), range(9, 13), range(13, 17)])
    told: Any = Told()
    (found,) = measure_reach([asked], [EPISODE], told, settings(min_gain=0.0), STEPS)
    assert found.radius == pytest.approx(0.2)
    assert found.gain > 0, "the pooled gain still is positive, but no further"
    assert found.states == 12, "the last ring was not paid for"


def test_the_budget_is_kept_and_the_first_rows_come_first(make: Make) -> None:
    claims = [claim(TO_THE_GOAL, [range(1, 5)]), claim(TO_THE_GOAL, [range(5, 9)])]
    (first, second), spent = reach(make, claims, max_steps=4 * 2 * (40 + 80))
    assert first.radius > 0
    assert (second.radius, second.states) == (0.0, 0)
    assert spent <= 4 * 2 * (40 + 80)
    (none,), nothing = reach(make, [claim(TO_THE_GOAL, [range(1, 5)])], max_steps=10)
    assert (none.radius, none.states, nothing) == (0.0, 0, 0)


def test_without_neighbours_a_row_keeps_what_it_had(make: Make) -> None:
    (held, alone), spent = reach(make, [claim(TO_THE_GOAL, []), claim(TO_THE_GOAL, [], held=False)], noise=5.0)
    assert (held.radius, held.states) == (0.0, 0)
    assert (alone.radius, alone.states) == (NOWHERE, 1), "one pair at its own state is no support"
    assert spent > 0
    assert np.isfinite(alone.high)
