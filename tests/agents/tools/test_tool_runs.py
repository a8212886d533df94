"""Tools from end to end: charged, within budgets, replayed exactly, paid for once whatever is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from ultra_agents.llm.cache import AnswerCache

KILLER = """
import os, pathlib
from ultra_agents.testing.corridor_tools import asks
COUNT = pathlib.Path(os.environ["COUNT_FILE"])
def answer(messages, schema):
    asked = int(COUNT.read_text() or 0) + 1 if COUNT.exists() else 1
    COUNT.write_text(str(asked))
    if str(asked) == os.environ.get("KILLED_AT"):
        os._exit(9)
    return asks(messages, schema)
"""


def tools_and_tests(events):
    """Environment steps by purpose, as screens count them."""
    spent = Counter()
    for event in events:
        if type(event).__name__ == "StepsSpent":
            spent[event.purpose] += event.steps
    return spent


def asked(rows):
    """What was asked, in an order of its own: segments are explained side by side."""
    return sorted(json.dumps([row["agent"], row["segment"], row["messages"], row["reply"]]) for row in rows)


def measures(folder):
    return json.loads((folder.path / "measures.json").read_text())


def found(folder):
    """The explanations of a run, as they are kept."""
    return type(folder).open(folder.path).stage_done("explain")["value"]["explanations"]


def explanations(folder):
    return json.dumps(found(folder), sort_keys=True)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """One run with tools, whole, for the tests that only look at it."""
    from tests.agents.tools.conftest import Runs

    made = Runs(tmp_path_factory.mktemp("calm"))
    folder = made.start("calm", "asks")
    return made, folder, made.run(folder)


def test_a_conversation_with_tools_stands_in_the_transcript_and_is_charged(calm):
    made, folder, events = calm
    rows = made.lines(folder)
    with_results = [row for row in rows if any(role == "tool" for role, _ in row["messages"])]
    assert {row["agent"] for row in with_results} == {"identifier", "advisor"}
    texts = [text for row in with_results for role, text in row["messages"] if role == "tool"]
    for begin in ("cell [cells] where", "RIGHT for 3 steps from step", "RIGHT held for 2 steps", "It would act"):
        assert any(text.startswith(begin) for text in texts), begin
    assert {row["verdict"] for row in rows} == {"ok"}
    answers = [row for row in rows if row["reply"].startswith("{") and row["agent"] == "advisor"]
    assert all("No further calls can be made" in row["messages"][-1][1] for row in answers)
    spent = tools_and_tests(events)
    assert spent["tools"] > 0
    charged = sum(one["env_steps"] for one in found(folder))
    assert charged == spent["tools"] + spent["test"] + spent["joint"]
    assert measures(folder)


def test_steps_of_a_conversation_stay_within_its_share(calm):
    _, folder, events = calm
    share = min(40_000, 4000 // 3) // len(found(folder))
    by_segment = Counter()
    for event in events:
        if type(event).__name__ == "StepsSpent" and event.purpose == "tools":
            by_segment[event.work.split()[0]] += event.steps
    assert by_segment
    assert max(by_segment.values()) <= share


def test_a_replay_asks_the_same_and_ends_the_same(calm, runs):
    made, folder, _ = calm
    cassette = runs.root / "answers.jsonl"
    cache = AnswerCache(folder.path / "llm-cache.sqlite")
    cache.export(cassette)
    cache.close()
    gateway = {"mode": "replay", "cache": str(cassette)}
    strict = runs.start("strict", "asks", gateway=gateway)
    runs.run(strict)
    assert asked(runs.lines(strict)) == asked(made.lines(folder))
    assert all(row["cached"] for row in runs.lines(strict))
    assert explanations(strict) == explanations(folder)
    llms = {"default": {"provider": "replay", "prompts": "short", "options": {"cassette": str(cassette)}}}
    of_words = runs.start("of-words", "asks", llms=llms)
    runs.run(of_words)
    assert asked(runs.lines(of_words)) == asked(made.lines(folder))


@pytest.mark.parametrize("number", [2, 5])
def test_after_a_kill_nothing_is_paid_twice_and_the_result_is_the_same(calm, runs, number):
    made, folder, _ = calm
    (runs.root / "killer.py").write_text(KILLER)
    once = {"COUNT_FILE": str(runs.root / "count")}
    killed = runs.start("killed", "killer:answer", agents={"tools": {}, "concurrency": 1})
    assert runs.run_apart(killed, **once, KILLED_AT=str(number)) == 9
    assert runs.run_apart(killed, **once) == 0
    rows = runs.lines(killed)
    charged = [row for row in rows if row["charged"]]
    lost = [row for row in charged if row["verdict"].startswith("failed: the run ended")]
    assert len(lost) == 1, "the call under way counts as paid for"
    keys = Counter(row["key"] for row in charged if row["key"])
    assert set(keys.values()) == {1}, "every other question was paid for once"
    assert int((runs.root / "count").read_text()) == len(charged)
    assert explanations(killed) == explanations(folder)
    assert {text for text in asked(row for row in charged if row["key"])} == set(asked(made.lines(folder)))


def test_a_loop_that_goes_nowhere_ends(runs):
    folder = runs.start("repeats", "repeats")
    events = runs.run(folder)
    rows = runs.lines(folder)
    per_question = Counter(
        (row["segment"], row["agent"], row["step"]) for row in rows if "tool" in dict(row["messages"])
    )
    drops = Counter(event.reason for event in events if type(event).__name__ == "Dropped" and event.stage == "tools")
    assert set(drops) == {"call repeated"}
    turns = [row for row in rows if row["reply"].startswith("data(")]
    questions = {json.dumps([row["segment"], row["agent"], row["messages"][:2]]) for row in turns}
    assert len(turns) == 2 * len(questions), "the second, equal call ends the turns"
    assert drops["call repeated"] == len(questions)
    assert per_question


def test_nonsense_is_dropped_and_counted_and_the_question_answered(runs):
    folder = runs.start("nonsense", "nonsense")
    events = runs.run(folder)
    drops = Counter(event.reason for event in events if type(event).__name__ == "Dropped" and event.stage == "tools")
    assert set(drops) == {
        "unknown tool", "arguments not readable", "arguments not usable", "expression refused", "moves refused",
        "rule refused", "rule changes nothing", "unknown action", "no such state",
    }  # fmt: skip
    assert len(set(drops[name] for name in ("unknown tool", "unknown action", "no such state"))) == 1
    rows = runs.lines(folder)
    assert max(len(json.dumps(row)) for row in rows) < 40_000, "a million characters go nowhere"
    assert found(folder)[0]["states"]
    assert tools_and_tests(events)["tools"] == 0


def test_calls_of_a_run_are_capped(runs):
    agents = {"tools": {"calls": 6, "use": ["data", "effect"]}}
    folder = runs.start("capped", "asks", agents=agents)
    events = runs.run(folder)
    segments = len(found(folder))
    carried_out = Counter()
    for row in runs.lines(folder):
        if row["reply"].startswith("{"):
            results = [text for role, text in row["messages"] if role == "user"][-1]
            carried_out[row["segment"]] += results.count(" steps in 2 episodes") + results.count("held for 2 steps")
    assert carried_out
    assert max(carried_out.values()) <= 6 // segments
    reasons = {event.reason for event in events if type(event).__name__ == "Dropped" and event.stage == "tools"}
    assert "tool budget spent" in reasons


def test_calls_beyond_those_a_turn_carries_out_are_told_and_counted(runs):
    folder = runs.start("crowds", "crowds")
    drops = Counter(
        event.reason for event in runs.run(folder) if type(event).__name__ == "Dropped" and event.stage == "tools"
    )
    answered = [row for row in runs.lines(folder) if row["reply"].startswith("{")]
    said = ["\n".join(text for role, text in row["messages"] if role == "user") for row in answered]
    said = [one for one in said if "Results, in the order of the calls" in one]
    assert said
    assert all(one.count("Make this one again in your next turn.") == 2 for one in said)
    assert set(drops) == {"too many calls at once"}
    assert drops["too many calls at once"] == 2 * len(said)


def test_without_tools_and_for_models_that_call_none_questions_are_as_they_were(calm, runs):
    plain = runs.start("plain", "ultra_agents.testing.corridor_script:good", agents={})
    runs.run(plain)
    none = {
        "provider": "scripted",
        "options": {"callable": "ultra_agents.testing.corridor_script:good"},
        "tools": "none",
    }
    skipped = runs.start("skipped", "ultra_agents.testing.corridor_script:good", llms={"default": none})
    events = runs.run(skipped)
    rows = runs.lines(plain)
    assert asked(rows) == asked(runs.lines(skipped))
    assert sorted(row["key"] for row in rows) == sorted(row["key"] for row in runs.lines(skipped))
    warned = [event.text for event in events if type(event).__name__ == "Warned"]
    assert [text for text in warned if text.startswith("tools: skipped")] == [
        "tools: skipped, the model 'default' calls none"
    ]
    assert explanations(plain) == explanations(skipped)


def test_rules_are_written_with_tools_as_well(runs):
    folder = runs.start(
        "rules", "asks", advice={"form": "rules"}, agents={"tools": {}, "rules": "text", "max_revisions": 0}
    )
    events = runs.run(folder)
    spent = tools_and_tests(events)
    assert spent["tools"] > 0
    texts = [text for row in runs.lines(folder) for role, text in row["messages"] if role == "tool"]
    assert any(text.startswith("It would act otherwise") for text in texts)


def test_the_toolbox_costs_a_run_without_tools_no_import():
    code = (
        "import sys; import ultra_agents.agents.tools.toolbox; "
        "print([name for name in ('langgraph', 'torch', 'langchain_core') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
