"""What a killed, stopped or failed process leaves behind, and that nothing is asked twice."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections import Counter

import ormsgpack
import pytest

from ultra_agents.agents.state import EXPLANATION
from ultra_agents.errors import BudgetReached, Interrupted, LLMError, RunError, UltraError
from ultra_agents.testing.corridor import Corridor, CorridorOptions

STORY = ("identifier", "advisor", "critic", "critic", "advisor", "critic", "critic")


def full_story(says):
    """Two states; the first is refuted once, both are reflected on: every node of the graph is passed."""
    return says.story(
        identifier=says.cases(3, 4),
        advisor=[says.action(hold=8), says.action(hold=2), says.action("LEFT", 1)],
        critic=says.verdict(),
    )


def failing_at(says, respond, number, error):
    """`respond`, but the ask `number` (from 0) raises, once."""
    count = itertools.count()

    def answer(agent, message, before):
        return error if next(count) == number else respond(agent, message, before)

    return says.gateway(answer)


@pytest.mark.parametrize(
    ("number", "error"),
    [*((number, KeyboardInterrupt()) for number in range(8)), (1, BudgetReached("cap")), (4, LLMError("down"))],
)
def test_after_a_failure_each_question_is_asked_once_and_the_result_is_the_same(bench, item, says, number, error):
    whole = bench.proposer(full_story(says), says.tester([-0.5, 0.5]), "both")
    calm = whole.explain([item(episode=1)])[0]
    asked = bench.gateway.agents()
    assert asked == [*STORY, "advisor"]

    gateway, tester = failing_at(says, full_story(says), number, error), says.tester([-0.5, 0.5])
    proposer = bench.proposer(gateway, tester, "both")
    with pytest.raises(type(error)):
        proposer.explain([item(episode=0)])
    assert gateway.agents() == asked[: number + 1]
    answered = gateway.asked.pop()  # the one that failed was not answered
    again = bench.proposer(gateway, tester, "both").explain([item(episode=0)])[0]
    assert gateway.asked[number] == answered
    assert gateway.agents() == asked
    assert len(tester.tested) == 2
    assert again.states == calm.states
    assert [(row.step, row.plan, row.test) for row in again.advice] == [
        (row.step, row.plan, row.test) for row in calm.advice
    ]
    assert [drop.reason for drop in again.drops] == [drop.reason for drop in calm.drops]
    assert (len(again.attempts), again.env_steps) == (len(calm.attempts), calm.env_steps)


def test_a_finished_segment_is_not_run_again(bench, item, says):
    first = bench.proposer(full_story(says), says.tester([-0.5, 0.5]), "both").explain([item()])[0]
    count = len(bench.events)
    second = bench.proposer(says.story(), says.tester([-9]), "both").explain([item()])[0]
    assert second == first
    assert bench.gateway.asked == []
    assert [type(event).__name__ for event in bench.events[count:]] == ["StageProgress"]


@pytest.mark.parametrize(
    "change",
    [{"agents": {"max_hold": 4}}, {"item": {"actions": "RLRLLRLLLL"}}, {"mode": "reflect"}],
    ids=["agents", "narration", "mode"],
)
def test_a_changed_question_starts_the_segment_anew(bench, item, says, change):
    story = says.story(identifier=says.cases(3), advisor=says.action(hold=3), critic=says.verdict())
    bench.proposer(story).explain([item()])
    bench.proposer(story, mode=change.get("mode", "none"), **change.get("agents", {})).explain(
        [item(**change.get("item", {}))]
    )
    assert bench.gateway.agents()[:3] == ["identifier", "advisor", "critic"]


def test_concurrency_is_no_change(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    bench.proposer(story, concurrency=1).explain([item()])
    bench.proposer(story, concurrency=3).explain([item()])
    assert bench.gateway.asked == []


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from conftest import Bench, FakeGateway, FakeTester, Says, make_item

log, die_at = Path(sys.argv[2]) / "asked.txt", int(sys.argv[3])
story = Says.story(
    identifier=Says.cases(3, 4),
    advisor=Says.action("RIGHT", 5),
    critic=Says.verdict(),
)

def respond(agent, message, before):
    with log.open("a") as out:
        out.write(agent + "\\n")
    return story(agent, message, before)

class Deadly(FakeTester):
    def __call__(self, trajectory, suggestion, earlier=()):
        if suggestion.step == die_at:
            os._exit(9)
        return super().__call__(trajectory, suggestion)

bench = Bench(Path(sys.argv[2]))
made = bench.proposer(FakeGateway(respond), Deadly([0.5]), "simulate").explain([make_item()])[0]
print([row.step for row in made.advice])
"""


def test_a_killed_process_is_taken_up_where_it_was(tmp_path, request):
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    folder = str(request.path.parent)
    run = [sys.executable, str(script), folder, str(tmp_path)]
    dead = subprocess.run([*run, "4"], capture_output=True, text=True, check=False)
    assert dead.returncode == 9, dead.stderr
    asked = (tmp_path / "asked.txt").read_text().split()
    assert asked == ["identifier", "advisor", "critic", "advisor", "critic"]
    done = subprocess.run([*run, "-1"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[3, 4]"
    assert (tmp_path / "asked.txt").read_text().split() == asked


def test_the_checkpoint_holds_plain_values_only(bench, item, says):
    bench.proposer(full_story(says), says.tester([-0.5, 0.5]), "both").explain([item()])
    with sqlite3.connect(bench.folder / "agents.sqlite") as connection:
        rows = [
            *connection.execute("select type, checkpoint from checkpoints"),
            *connection.execute("select type, value from writes"),
        ]
    kinds = Counter(kind for kind, _ in rows)
    assert set(kinds) <= {"msgpack", "null", "json"}
    assert kinds["msgpack"] > 20
    for kind, blob in rows:
        if kind == "msgpack":
            ormsgpack.unpackb(blob, option=ormsgpack.OPT_NON_STR_KEYS)  # an extension type would raise


@pytest.mark.parametrize("content", [b"this is no database, but long enough to be one" * 50, None])
def test_a_checkpoint_that_cannot_be_used_is_a_clear_error(bench, item, says, content):
    path = bench.folder / "agents.sqlite"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(RunError, match="checkpoint of the agents cannot be used") as caught:
        bench.proposer(says.story()).explain([item()])
    assert "agents.sqlite" in str(caught.value)


def many(item, count=6):
    return [item(episode=number) for number in range(count)]


def test_results_come_in_the_order_of_the_items_whatever_came_first(bench, item, says):
    last_asked = threading.Event()

    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    gateway = says.gateway(story)
    ask = gateway.ask

    def slow_first(**request):
        if request["segment"] == "0:0-8":
            assert last_asked.wait(20)
        elif request["segment"] == "5:0-8" and request["agent"] == "critic":
            last_asked.set()
        return ask(**request)

    gateway.ask = slow_first
    made = bench.proposer(gateway).explain(many(item), 2)
    assert [explanation.segment.episode for explanation in made] == list(range(6))
    assert gateway.asked[-1]["segment"] == "0:0-8"
    alone = bench.proposer(story).explain([(t, n) for t, n in many(item)], 1)
    assert alone == made
    assert [(event.done, event.total) for event in bench.events_of("StageProgress")[:6]] == [
        (number, 6) for number in range(1, 7)
    ]


def test_stop_lets_the_running_question_end_and_asks_no_other(bench, item, says):
    stopped = threading.Event()

    def respond(agent, message, before):
        if agent == "advisor":
            stopped.set()
        return says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())(
            agent, message, before
        )

    gateway = says.gateway(respond)
    proposer = bench.proposer(gateway)
    with pytest.raises(Interrupted):
        proposer.explain(many(item), 1, stopped.is_set)
    assert gateway.agents() == ["identifier", "advisor"]
    stopped.clear()
    made = bench.proposer(gateway).explain(many(item), 3)
    assert len(made) == 6
    counts = Counter((row["segment"], row["agent"]) for row in gateway.asked)
    assert set(counts.values()) == {1}
    assert len(counts) == 18


@pytest.mark.parametrize("error", [BudgetReached("cap"), LLMError("unreachable"), ZeroDivisionError("a bug")])
def test_the_first_error_is_the_one_that_is_raised(bench, item, says, error):
    both = threading.Barrier(2, timeout=20)
    failed = []
    gateway = says.gateway(says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict()))
    ask = gateway.ask

    def meeting(**request):
        if request["agent"] == "advisor":
            if request["segment"] == "1:0-8":
                failed.append(threading.current_thread())
            both.wait()
            if request["segment"] == "1:0-8":
                raise error
            failed[0].join(20)  # its worker ends once the error has reached the others
            assert not failed[0].is_alive()
        return ask(**request)

    gateway.ask = meeting
    with pytest.raises(type(error)) as caught:
        bench.proposer(gateway).explain(many(item), 2)
    assert caught.value is error
    assert failed[0].name.startswith("explain")
    asked = sorted((row["segment"], row["agent"]) for row in gateway.asked)
    assert asked == [("0:0-8", "advisor"), ("0:0-8", "identifier"), ("1:0-8", "identifier")]


def test_a_segment_given_twice_is_refused(bench, item, says):
    with pytest.raises(ValueError, match="a segment is there twice"):
        bench.proposer(says.story()).explain([item(), item()], 2)


def test_nothing_to_explain_is_nothing(bench, says):
    assert bench.proposer(says.story()).explain([], 4) == []


def test_a_faulty_plugin_ends_the_run_by_its_name(bench, item, says):
    class Mute(Corridor):
        def describe(self, observation, info):
            return ""

    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    with pytest.raises(UltraError, match=r"Mute .*describes a state"):
        bench.proposer(story, environment=Mute(CorridorOptions())).explain([item()])


def test_an_explanation_is_json_in_the_checkpoint(bench, item, says):
    made = bench.proposer(full_story(says), says.tester([0.5]), "simulate").explain([item()])[0]
    rows = EXPLANATION.dump_python(made, mode="json")
    assert json.loads(json.dumps(rows)) == rows
    assert EXPLANATION.validate_python(rows) == made
