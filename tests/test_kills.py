"""A run killed three times ends as the same run left alone, and every request the server saw is accounted for."""

from __future__ import annotations

from benchmarks._kills import attack


def test_kills_change_nothing_and_hide_no_request() -> None:
    found = attack(kills=3, seed=5, per_run=3, steps=1000, scenarios=("moves",))
    assert found["kills"] == 3
    assert not any(found["wrong"].values()), found
