"""What a stopped or failed process leaves behind, and that nothing is asked or paid for twice."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from ultra_agents.errors import BudgetReached, Interrupted

STORY = ["identifier", "advisor", "advisor", "critic", "critic", "advisor", "critic", "critic"]


def full_story(tells):
    """A refusal, a harmful set, a good one, both reflected on: every node is passed."""
    sets = [tells.rules("rules: none"), tells.rules(tells.harmful), tells.rules()]
    return tells.story(sets, tells.verdict("accept", "potential", "clip(position, -1, 1)"))


def failing_at(says, respond, number, error):
    """`respond`, but the ask `number` (from 0) raises, once; the answer it would have had is given next."""
    count = itertools.count()
    return says.gateway(
        lambda agent, message, before: error if next(count) == number else respond(agent, message, before)
    )


@pytest.mark.parametrize(
    ("number", "error"), [*((number, KeyboardInterrupt()) for number in range(8)), (5, BudgetReached("cap"))]
)
def test_each_question_is_asked_once_and_the_result_is_the_same(bench, tells, says, tmp_path, number, error):
    calm_bench = replace(bench, folder=tmp_path / "calm")
    (calm,) = calm_bench.propose(full_story(tells), "both")
    assert calm_bench.gateway.agents() == STORY
    gateway = failing_at(says, full_story(tells), number, error)
    with pytest.raises(type(error)):
        bench.propose(gateway, "both")
    assert gateway.agents() == STORY[: number + 1]
    gateway.asked.pop()  # the one that failed was not answered
    (again,) = bench.propose(gateway, "both")
    assert gateway.agents() == STORY
    assert again == calm


def test_a_finished_episode_is_not_run_again(bench, tells):
    bench.episodes = 2
    first = bench.propose(full_story(tells), "both")
    count = len(bench.events)
    assert bench.propose(tells.story({}), "both") == first
    assert bench.gateway.asked == []
    assert {type(event).__name__ for event in bench.events[count:]} == {"StageProgress"}
    spent = sum(event.steps for event in bench.events_of("StepsSpent"))
    assert spent == sum(one.env_steps for one in first)


@pytest.mark.parametrize("change", [{"max_critical": 2}, {"mode": "reflect"}, {"rules": "atoms"}])
def test_a_changed_question_starts_the_episode_anew(bench, tells, change):
    bench.propose(tells.story(tells.rules()), "none")
    mode = change.get("mode", "none")
    agents = {name: value for name, value in change.items() if name != "mode"}
    said = tells.rules() if "rules" not in change else {"reasoning": "", "rules": []}
    try:
        bench.propose(tells.story(said), mode, **agents)
    except ValueError:
        assert "rules" in change  # the scripted answer is no reply in atoms, but it was asked for
    assert bench.gateway.agents()[0] == "identifier"


def test_asked_to_stop_nothing_is_asked(bench, tells, monkeypatch):
    from ultra_agents.agents.rules import proposing

    whole = proposing.run_side_by_side

    def stopping(*tasks, **options):
        return whole(*tasks, **{**options, "stop": lambda: True})

    monkeypatch.setattr(proposing, "run_side_by_side", stopping)
    with pytest.raises(Interrupted, match="while rules were written"):
        bench.propose(tells.story(tells.rules()))
    assert bench.gateway.asked == []


def test_side_by_side_is_no_change(bench, tells, tmp_path):
    bench.episodes = 3
    one = bench.propose(tells.story(tells.rules()), concurrency=1)
    other = replace(bench, folder=tmp_path / "other", events=[])
    assert other.propose(tells.story(tells.rules()), concurrency=3) == one
