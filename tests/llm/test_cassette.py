"""Answers as a file to commit: written, read, replayed strictly by key or loosely by question."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ultra_agents.config import LLMConfig
from ultra_agents.errors import ConfigError, LLMError
from ultra_agents.llm.cache import AnswerCache
from ultra_agents.llm.replies import RawReply
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import Usage

COMMITTED = Path(__file__).parent / "cassettes" / "two_questions.jsonl"
"""Made by `record(bench, ..., "What now?", "And then?")`."""


def record(bench, server, path, *questions):
    server.says(bench.GOOD)
    with bench.gateway({"a": bench.openai(server)}, folder=bench.folder / "recorded") as gateway:
        for question in questions:
            bench.ask(gateway, question)
        return gateway._cache.export(path)


def test_a_line_names_question_provider_and_model_but_no_prompt(bench, server, tmp_path):
    path = tmp_path / "c.jsonl"
    assert record(bench, server, path, "What now?") == 1
    (row,) = map(json.loads, path.read_text().splitlines())
    assert (row["provider"], row["model"], len(row["key"]), len(row["question"])) == ("openai", "m", 64, 64)
    assert json.loads(row["text"]) == bench.GOOD
    assert "Pong" not in path.read_text()


def test_replay_by_key_from_the_cassette_itself(bench, server, tmp_path):
    path = tmp_path / "c.jsonl"
    record(bench, server, path, "What now?")
    asked = len(server.requests)
    with bench.gateway({"a": bench.openai(server)}, mode="replay", cache=path) as gateway:
        assert bench.ask(gateway).usage == Usage(cached=1)
        with pytest.raises(LLMError, match=r"no key [0-9a-f]{64} \(identifier on 0:0-9, model 'a'\)"):
            bench.ask(gateway, "What else?")
    assert len(server.requests) == asked
    assert path.read_text().count("\n") == 1  # nothing is written into it
    with pytest.raises(ConfigError, match="can only be replayed"):
        bench.gateway({"a": bench.openai(server)}, cache=path)


def test_a_committed_cassette_answers_without_a_call(bench):
    llms = {"a": LLMConfig(provider="replay", options={"cassette": str(COMMITTED)})}
    with bench.gateway(llms) as gateway:
        assert bench.ask(gateway, "What now?").value == bench.Move(**bench.GOOD)
        assert bench.ask(gateway, "And then?").usage == Usage(cached=1)
        assert gateway._models["a"].llm.model_name == "two_questions.jsonl"
        assert gateway.usage()["identifier"] == Usage(cached=2)
        with pytest.raises(LLMError, match=r"not in the cassette") as caught:
            bench.ask(gateway, "What else?")
    assert "no question " in caught.value.found
    assert bench.rows()[0]["charged"] is False


def test_a_question_the_cassette_lacks_may_be_dropped_and_counted(bench):
    llms = {"a": LLMConfig(provider="replay", options={"cassette": str(COMMITTED)})}
    with bench.gateway(llms, missing="drop") as gateway:
        with pytest.raises(ReplyDropped) as caught:
            bench.ask(gateway, "What else?")
        assert caught.value.reason == "not recorded"
        assert "no question " in caught.value.detail
        assert bench.ask(gateway, "What now?").value == bench.Move(**bench.GOOD)


def test_recorded_answers_spend_no_budget(bench):
    llms = {"a": LLMConfig(provider="replay", options={"cassette": str(COMMITTED)})}
    with bench.gateway(llms, budget={"calls": 0}) as gateway:
        assert bench.ask(gateway, "What now?").value.step == 3


def test_a_cut_reply_stays_cut(bench, server, tmp_path):
    server.queue = [server.ok('{"rationale": "and then', "length"), server.ok(bench.GOOD)]
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        bench.ask(gateway)
        gateway._cache.export(tmp_path / "c.jsonl")
    llms = {"a": LLMConfig(provider="replay", options={"cassette": str(tmp_path / "c.jsonl"), "model": "m"})}
    with bench.gateway(llms, folder=tmp_path / "again") as gateway:
        assert bench.ask(gateway).usage.cached == 2  # the cut one and its repair
    rows = [json.loads(line) for line in (tmp_path / "again" / "transcript.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in rows] == ["cut at max_tokens", "ok"]


@pytest.mark.parametrize(
    ("content", "model", "message"),
    [
        (None, "", "cannot read the cassette"),
        ("not json\n", "", "cannot read the cassette"),
        ('{"key": "x", "text": "y"}\n', "", "cannot read the cassette"),
        ('{"question": "x", "model": "m", "text": 3}\n', "", "cannot read the cassette"),
        ("", "", "has no answers"),
        ('{"question": "x", "model": "m", "text": "y"}\n', "gpt", "has no answers of the model 'gpt'"),
    ],
)
def test_unusable_cassettes_are_one_clear_message(bench, tmp_path, content, model, message):
    path = tmp_path / "c.jsonl"
    if content is not None:
        path.write_text(content)
    llms = {"a": LLMConfig(provider="replay", options={"cassette": str(path), "model": model})}
    with bench.gateway(llms) as gateway, pytest.raises(LLMError, match=message):
        bench.ask(gateway)


def test_a_bad_line_takes_in_nothing(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"key": "k", "text": "t", "prompt_tokens": 1, "completion_tokens": 1, "seconds": 0.1}\n{"key"\n')
    cache = AnswerCache(tmp_path / "c.sqlite")
    with pytest.raises(LLMError, match=r"after 1 good lines|cannot read the cassette"):
        cache.load(path)
    assert len(cache) == 0
    cache.close()


WRITER = """
import sys
from pathlib import Path
from ultra_agents.llm.cache import AnswerCache
from ultra_agents.llm.replies import RawReply
place = sys.argv[1]
cache = AnswerCache(place if place.startswith("postgresql:") else Path(place))
sys.stdin.readline()
for number in range(150):
    cache.put(f"{number}", RawReply(sys.argv[2], 1, 1, 0.0), {"model": sys.argv[2]})
    assert cache.get(f"{number}").text in ("one", "two")
"""


def test_processes_share_a_cache(cache_place):
    children = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(cache_place), name], stdin=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    assert [child.wait(60) for child in children] == [0, 0]
    for child in children:
        child.stdin.close()
    cache = AnswerCache(cache_place)
    assert len(cache) == 150
    assert all(isinstance(cache.get(str(number)), RawReply) for number in range(150))
    cache.close()
