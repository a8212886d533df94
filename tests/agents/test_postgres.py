"""The agents' progress in a Postgres database that runs share."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from ultra_agents.agents.checkpoint import SharedCheckpoints, open_checkpoint, shared_saver
from ultra_agents.cli.inspect.partial import read_partial
from ultra_agents.errors import LLMError, RunError
from ultra_agents.postgres import set_up


@pytest.fixture
def place(postgres: Any) -> SharedCheckpoints:
    return SharedCheckpoints(postgres.address(postgres.empty()), "run-1")


def story(says: Any) -> Any:
    return says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())


def failing(says: Any, number: int) -> Any:
    """The story, but the ask `number` raises."""
    asked: list[str] = []
    respond = story(says)

    def answer(agent: str, message: str, before: Any) -> Any:
        asked.append(agent)
        return LLMError("down") if len(asked) == number + 1 else respond(agent, message, before)

    return says.gateway(answer)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_interrupted_segment_goes_on_where_it_was(
    bench: Any, item: Any, says: Any, place: Any, number: int
) -> None:
    expected = bench.proposer(story(says)).explain([item()])[0]
    bench.checkpoint = place
    gateway = failing(says, number)
    with pytest.raises(LLMError):
        bench.proposer(gateway).explain([item()])
    assert len(gateway.asked) == number + 1
    gateway.asked.pop()
    assert bench.proposer(gateway).explain([item()])[0] == expected
    assert gateway.agents() == ["identifier", "advisor", "critic"]
    assert bench.proposer(says.story()).explain([item()])[0] == expected
    assert bench.gateway.asked == []


def test_runs_that_share_a_database_do_not_read_each_other(bench: Any, item: Any, says: Any, place: Any) -> None:
    bench.checkpoint = place
    bench.proposer(story(says)).explain([item()])
    for other in ("run-2", "run-", "run-1/0:0"):
        bench.checkpoint = replace(place, run=other)
        assert read_partial(bench.checkpoint) is None
        bench.proposer(story(says)).explain([item()])
        assert bench.gateway.agents() == ["identifier", "advisor", "critic"]


def test_what_is_begun_can_be_read_by_others_meanwhile(bench: Any, item: Any, says: Any, place: Any) -> None:
    assert read_partial(place) is None
    bench.checkpoint = place
    with pytest.raises(LLMError):
        bench.proposer(failing(says, 2)).explain([item(episode=0), item(episode=1)])
    rows = read_partial(place)
    assert rows is not None
    assert {row["segment"]["episode"] for row in rows} <= {0, 1}
    assert rows[0]["states"][0]["step"] == 3
    assert len(rows[0]["states"][0]["attempts"]) == 1


def test_a_changed_question_forgets_the_old_answers(bench: Any, item: Any, says: Any, place: Any) -> None:
    bench.checkpoint = place
    bench.proposer(story(says)).explain([item()])
    bench.proposer(story(says), max_hold=4).explain([item()])
    assert bench.gateway.agents() == ["identifier", "advisor", "critic"]


@pytest.mark.parametrize("done", [1, 4, 6])
def test_tables_that_another_process_has_half_made_are_waited_for(place: Any, done: int) -> None:
    from langgraph.checkpoint.postgres import PostgresSaver

    with shared_saver(place.address) as (saver, connection), set_up(connection):
        assert 0 < done < len(PostgresSaver.MIGRATIONS)
        for number, migration in enumerate(saver.MIGRATIONS[:done]):
            connection.execute(migration)
            connection.execute("insert into checkpoint_migrations (v) values (%s)", (number,))
    with open_checkpoint(place) as saver:
        assert saver.get_tuple({"configurable": {"thread_id": "x"}}) is None


def test_many_that_begin_together_make_the_tables_once(place: Any) -> None:
    problems: list[BaseException] = []

    def begin(number: int) -> None:
        try:
            with open_checkpoint(replace(place, run=str(number))) as saver:
                assert saver.get_tuple({"configurable": {"thread_id": "x"}}) is None
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []


def test_nothing_in_the_database_is_unpickled(bench: Any, item: Any, says: Any, place: Any, postgres: Any) -> None:
    database = place.address.partition("@/")[2].partition("?")[0]
    bench.checkpoint = place
    bench.proposer(story(says)).explain([item()])
    postgres.execute("update ultra_agents.checkpoint_blobs set type = 'pickle'", database=database)
    with pytest.raises(NotImplementedError, match="pickle"):
        bench.proposer(story(says)).explain([item()])


def test_a_server_that_goes_away_while_agents_are_asked_is_one_message(
    bench: Any, item: Any, says: Any, place: Any, postgres: Any
) -> None:
    respond = story(says)

    def answer(agent: str, message: str, before: Any) -> Any:
        if agent == "advisor":
            postgres.stop()
        return respond(agent, message, before)

    bench.checkpoint = place
    gateway = says.gateway(answer)
    with pytest.raises(RunError, match="checkpoint of the agents in the database") as caught:
        bench.proposer(gateway).explain([item()])
    assert caught.value.exit_code == 2
    assert "the same command goes on" in str(caught.value.hint)
    postgres.start()
    bench.proposer(story(says)).explain([item()])
    assert bench.gateway.agents() == ["advisor", "critic"]  # what the identifier said was kept
