"""Tests of suggestions beside the simulators: what stays there, what travels, and what comes of what is lost."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Array
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.verification.host import Host
from ultra_agents.verification.jobs import Terms
from ultra_agents.verification.sequential import Rule
from ultra_agents.verification.state_test import Halving, StateTest

from .conftest import LEFT, Walker, corridor, outcomes, play, suggest

POLICY, WORLD = Walker(0.4, worth=1.0), corridor(slip=0.2)
EPISODE = play(POLICY, WORLD)
HALVING = Halving(Rule((4, 8), 0.95, 0.0, 0.01), screen_pairs=2, screen_horizon=5, horizon=20, cap=10**6)
STAYS, RIGHT_TWICE = (np.zeros(3, np.int64),), (np.ones(2, np.int64),)


@pytest.fixture
def hosts() -> Iterator[Any]:
    with ExitStack() as opened:

        def make(environment: Corridor = WORLD, slots: int = 8) -> Host:
            host = Host(environment, POLICY, Terms(Streams(1), 0.9), slots)
            opened.callback(host.close)
            return host

        yield make


def claim(plans: tuple[Array, ...], *before: tuple[Array, ...], step: int = 0, snapshot: bytes = b"") -> StateTest:
    state = snapshot or (EPISODE.snapshots or ())[step]
    return StateTest((0, step), state, plans, before, HALVING, np.asarray(EPISODE.observations[step]), None)


def test_where_a_state_was_lost_a_later_test_finds_and_costs_the_same(hosts: Any) -> None:
    lived, took_over, forgetful = hosts(), hosts(), hosts()
    outcomes(lived, claim(STAYS))
    (expected,) = outcomes(lived, claim(RIGHT_TWICE, STAYS))
    (found,) = outcomes(took_over, claim(RIGHT_TWICE, STAYS))
    (alone,) = outcomes(forgetful, claim(RIGHT_TWICE))
    assert found == expected
    assert alone[0].steps > found[0].steps
    assert outcomes(lived, claim(STAYS, STAYS, RIGHT_TWICE)) == outcomes(took_over, claim(STAYS, STAYS, RIGHT_TWICE))


def test_tests_side_by_side_are_those_one_after_the_other(hosts: Any) -> None:
    asked = [claim((*STAYS, *RIGHT_TWICE), step=step) for step in range(4)]
    one_by_one = hosts(slots=3)
    assert outcomes(hosts(), *asked) == [outcomes(one_by_one, test)[0] for test in asked]


def test_a_verdict_travels_and_rollouts_stay(hosts: Any) -> None:
    (found,) = outcomes(hosts(), claim(STAYS))
    assert found[0].result.replays.moments, "one of the replays is told"
    sent = pickle.dumps(found)
    assert pickle.loads(sent) == found
    assert b"verification.jobs" not in sent


def test_a_state_that_cannot_be_restored_fails_its_own_test_alone(hosts: Any) -> None:
    host = hosts()
    good, bad = outcomes(host, claim(STAYS), claim(STAYS, step=1, snapshot=b"rubbish"))
    assert isinstance(bad, EnvironmentFault)
    assert "not a snapshot" in str(bad)
    assert [good] == outcomes(hosts(), claim(STAYS))


class Speechless(Corridor):
    """Fails when it is asked for its quantities."""

    def quantities(self, observations: Array) -> Any:
        raise RuntimeError("no words")


def test_a_plugin_that_fails_at_telling_is_named_and_the_tester_goes_on(testers: Any) -> None:
    tester = testers(POLICY, Speechless(CorridorOptions(slip=0.2)))
    for _ in range(2):
        with pytest.raises(EnvironmentFault, match="failed at quantities") as caught:
            tester(EPISODE, suggest(0, (LEFT, 2)))
        assert "no words" in str(caught.value.found)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_measure_and_charge_what_one_process_does_revisions_too(testers: Any, workers: int) -> None:
    found = []
    for options in ({}, {"workers": workers}):
        tester = testers(POLICY, WORLD, slots=4, max_pairs=8, **options)
        asked = [[suggest(step, (LEFT, hold)) for step in range(6)] for hold in (2, 5, 2)]
        results = [tester.test_all(EPISODE, some) for some in asked]
        found.append((results, tester.env_steps))
        assert tester.env_steps == sum(one.env_steps for some in results for one in some)
    assert found[0] == found[1]
    again = [one.env_steps for one in found[0][0][2]]
    assert sum(again) < sum(one.env_steps for one in found[0][0][0]), "the policy alone was played before"
