"""The gateway with scripted models: repair, cache, replay, budget, transcript, concurrency."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ultra_agents.errors import BudgetReached, ConfigError, Interrupted, LLMError
from ultra_agents.events import AgentAsked, AgentSpoke
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import Usage


def test_an_answer_is_validated_written_down_and_shown(bench):
    with bench.gateway({"a": bench.scripted(bench.GOOD)}) as gateway:
        answer = bench.ask(gateway)
    assert answer.value == bench.Move(**bench.GOOD)
    assert (answer.model, answer.cached, answer.usage.calls) == ("a", False, 1)
    (row,) = bench.rows()
    assert {"time", "reply", "completion_tokens", "seconds"} < set(row)
    assert row["messages"][1] == ["user", "What now?"]
    assert (row["agent"], row["segment"], row["provider"], row["attempt"], row["verdict"]) == (
        "identifier", "0:0-9", "scripted", 0, "ok",
    )  # fmt: skip
    asked, event = bench.events
    assert asked == AgentAsked("identifier", "0:0-9", "a")
    assert isinstance(event, AgentSpoke)
    assert (event.verdict, event.model, event.cached) == ("ok", "a", False)


def test_one_repair_carries_the_error(bench):
    with bench.gateway({"a": bench.scripted({"rationale": "x", "step": 4, "action": "UP"}, bench.GOOD)}) as gateway:
        answer = bench.ask(gateway)
        asks = gateway._models["a"].llm.chat.history
    assert answer.usage.calls == 2
    assert bench.verdicts() == ["wrong fields", "ok"]
    said = asks[1][0]
    assert said[2][0] == "assistant"
    assert "step: Input should be 3 or 6" in said[3][1]


def test_a_second_bad_reply_is_dropped(bench):
    with bench.gateway({"a": bench.scripted("dunno", "still dunno", bench.GOOD)}) as gateway:
        with pytest.raises(ReplyDropped) as caught:
            bench.ask(gateway)
        assert caught.value.reason == "malformed reply"
        assert len(gateway._models["a"].llm.chat.history) == 2


def test_a_second_run_pays_nothing_drops_included(bench):
    script = bench.scripted("dunno", bench.GOOD, "dunno", "dunno")

    def run():
        with bench.gateway({"a": script}) as gateway:
            first = bench.ask(gateway, "one")
            with pytest.raises(ReplyDropped):
                bench.ask(gateway, "two")
            return first, gateway._models["a"].llm.chat, gateway.usage()["identifier"]

    first, _, before = run()
    again, chat, after = run()
    assert chat is None  # the provider was never opened
    assert again.value == first.value
    assert (first.cached, again.cached) == (False, True)
    assert again.usage == Usage(cached=1) + Usage(cached=1)
    assert (before.calls, before.cached, after.calls, after.cached) == (4, 0, 4, 4)
    assert after.prompt_tokens == before.prompt_tokens


def test_another_prompt_sampling_or_script_is_another_key(bench):
    with bench.gateway({"a": bench.scripted(bench.GOOD, cycle=True)}) as gateway:
        bench.ask(gateway, "one")
        assert not bench.ask(gateway, "two").cached
        assert bench.ask(gateway, "one").cached
    with bench.gateway({"a": bench.scripted(bench.GOOD, "x", cycle=True)}) as gateway:
        assert not bench.ask(gateway, "one").cached


def test_replay_needs_no_provider_and_names_the_first_missing_key(bench):
    with bench.gateway({"a": bench.scripted(bench.GOOD)}) as gateway:
        bench.ask(gateway, "one")
    with bench.gateway({"a": bench.scripted(bench.GOOD)}, mode="replay") as gateway:
        assert bench.ask(gateway, "one").cached
        with pytest.raises(LLMError, match=r"no key [0-9a-f]{64} \(identifier on 0:0-9"):
            bench.ask(gateway, "two")
        assert gateway._models["a"].llm.chat is None


def test_a_question_that_was_not_recorded_may_be_dropped_and_counted(bench):
    with bench.gateway({"a": bench.scripted(bench.GOOD)}) as gateway:
        bench.ask(gateway, "one")
    with bench.gateway({"a": bench.scripted(bench.GOOD)}, mode="replay", missing="drop") as gateway:
        for _ in range(2):
            with pytest.raises(ReplyDropped, match="not recorded") as caught:
                bench.ask(gateway, "two")
            assert (caught.value.reason, "no key " in caught.value.detail) == ("not recorded", True)
        assert bench.ask(gateway, "one").cached, "the others are answered as ever"
        assert gateway._models["a"].llm.chat is None


def test_a_live_gateway_asks_whatever_missing_says(bench):
    with bench.gateway({"a": bench.scripted(bench.GOOD)}, missing="drop") as gateway:
        assert not bench.ask(gateway, "one").cached


def test_replay_without_a_cache_says_so(bench):
    with pytest.raises(LLMError, match="nothing to replay"):
        bench.gateway({"a": bench.scripted("x")}, mode="replay")


def test_a_cassette_carries_the_answers_elsewhere(bench, tmp_path):
    with bench.gateway({"a": bench.scripted(bench.GOOD)}) as gateway:
        bench.ask(gateway)
        assert gateway._cache.export(tmp_path / "cassette.jsonl") == 1
    with bench.gateway({"a": bench.scripted(bench.GOOD)}, cache=tmp_path / "other" / "c.sqlite") as gateway:
        assert gateway._cache.load(tmp_path / "cassette.jsonl") == (1, 1)
        assert bench.ask(gateway).cached
        (tmp_path / "bad.jsonl").write_text('{"key": "x"}\n')
        with pytest.raises(LLMError, match=r"cannot read the cassette"):
            gateway._cache.load(tmp_path / "bad.jsonl")


def test_a_broken_cache_file_is_one_clear_message(bench):
    (bench.folder / "llm-cache.sqlite").write_bytes(b"not a database, surely" * 100)
    with pytest.raises(LLMError, match="cannot be used"):
        bench.gateway({"a": bench.scripted("x")})


@pytest.mark.parametrize(
    ("caps", "named"), [({"calls": 2}, "calls"), ({"tokens": 1300}, "tokens"), ({"money": 0.0013}, "money")]
)
def test_a_cap_stops_before_the_call_that_would_exceed_it(bench, caps, named):
    llms = {"a": bench.scripted(bench.GOOD, cycle=True, price_prompt=1.0, price_completion=1.0)}
    with bench.gateway(llms, budget=caps) as gateway:
        with pytest.raises(BudgetReached, match=rf"gateway\.budget\.{named}") as caught:
            list(map(lambda number: bench.ask(gateway, f"question {number}"), range(200)))
        made = len(gateway._models["a"].llm.chat.history)
        spent = gateway.usage()["identifier"]
        assert caught.value.exit_code == 3
        assert made >= 1
        assert spent.calls == made <= caps.get("calls", made)
        assert spent.prompt_tokens + spent.completion_tokens <= caps.get("tokens", 10**9)
        assert spent.cost <= caps.get("money", 1e9)
    with bench.gateway(llms, budget=caps) as gateway:  # resumed: what is paid for is free, more is refused
        for number in range(made):
            assert bench.ask(gateway, f"question {number}").cached
        with pytest.raises(BudgetReached):
            bench.ask(gateway, "something new " * 100)


def test_a_cap_holds_among_threads(bench):
    with bench.gateway({"a": bench.scripted(bench.GOOD, cycle=True)}, budget={"calls": 5}) as gateway:

        def one(number):
            try:
                return bench.ask(gateway, f"question {number}").value
            except BudgetReached:
                return None

        with ThreadPoolExecutor(8) as pool:
            values = list(pool.map(one, range(24)))
        assert sum(value is not None for value in values) == 5
        assert gateway.usage()["identifier"].calls == 5


def test_equal_questions_at_once_are_paid_for_once(bench):
    with bench.gateway({"a": bench.scripted(bench.GOOD, cycle=True)}) as gateway:
        start = threading.Barrier(6)

        def one(_):
            start.wait()
            return bench.ask(gateway).cached

        with ThreadPoolExecutor(6) as pool:
            cached = list(pool.map(one, range(6)))
        assert sorted(cached) == [False, True, True, True, True, True]
    assert len(bench.rows()) == 6


def test_usage_is_kept_per_agent_and_survives_a_torn_line(bench):
    with bench.gateway({"a": bench.scripted(bench.GOOD, cycle=True)}) as gateway:
        bench.ask(gateway, "1")
        bench.ask(gateway, "2", agent="critic")
    path = bench.folder / "transcript.jsonl"
    path.write_text(path.read_text() + '{"agent": "critic", "promp')
    with bench.gateway({"a": bench.scripted(bench.GOOD, cycle=True)}) as gateway:
        bench.ask(gateway, "3", agent="critic")
        usage = gateway.usage()
    assert {agent: used.calls for agent, used in usage.items()} == {"identifier": 1, "critic": 2}


def test_stop_ends_the_asking(bench):
    with bench.gateway({"a": bench.scripted(bench.GOOD)}) as gateway:
        with pytest.raises(Interrupted):
            bench.ask(gateway, stop=lambda: True)
        assert gateway._models["a"].llm.chat is None or not gateway._models["a"].llm.chat.history


def test_unknown_model_and_empty_list_are_clear(bench):
    llms = {"alpha": bench.scripted(bench.GOOD)}
    with bench.gateway(llms) as gateway, pytest.raises(ConfigError, match="did you mean 'alpha'"):
        bench.ask(gateway, models=["alpah"])
    with pytest.raises(ConfigError, match="no language model"):
        bench.gateway({})


def test_a_scripted_model_that_runs_out_says_so(bench):
    with bench.gateway({"a": bench.scripted(bench.GOOD)}) as gateway:
        bench.ask(gateway, "1")
        with pytest.raises(LLMError, match="no reply left"):
            bench.ask(gateway, "2")


def test_every_provider_is_closed_even_if_one_fails(bench, monkeypatch):
    gateway = bench.gateway({"a": bench.scripted("x"), "b": bench.scripted("y")})
    closed = []

    def broken():
        raise RuntimeError("boom")

    monkeypatch.setattr(gateway._models["a"].llm, "close", broken)
    monkeypatch.setattr(gateway._models["b"].llm, "close", lambda: closed.append("b"))
    gateway.close()
    assert closed == ["b"]
    assert "boom" in bench.events[0].text


def test_transcript_lines_are_json_in_ascii(bench):
    odd = {"rationale": "\u2028 \U0001f600 line", "step": 3, "action": "UP"}
    with bench.gateway({"a": bench.scripted(odd)}) as gateway:
        bench.ask(gateway, "naïve \ud800?")
    (row,) = bench.rows()
    assert json.loads(row["reply"]) == odd
