"""A run killed three times ends as the same run left alone, and every request the server saw is accounted for."""

from __future__ import annotations

from benchmarks.reliability import attack


def test_kills_change_nothing_and_hide_no_request() -> None:
    found = attack(kills=3, seed=5, per_run=3, steps=1000)
    assert found["kills"] == 3
    assert found["wrong"] == {"weights": 0, "advice": 0, "charges": 0, "requests": 0}
