"""Turns in which a model may call tools: at a server that knows tool calls, at one that does not, and at odd ones."""

from __future__ import annotations

import json

import pytest

from ultra_agents.config import LLMConfig
from ultra_agents.contracts.llm import Unreachable
from ultra_agents.errors import BudgetReached
from ultra_agents.llm.tools import CALLS, MAX_ARGUMENTS, MAX_CALLS, RESULT, as_messages, calls_text, in_words

TOOLS = [
    {
        "name": "data",
        "description": "numbers",
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}},
    }
]
ASKED = [("system", "You play Pong."), ("user", "What now?")]


def turn(bench, gateway, messages=ASKED, models=()):
    return gateway.turn(
        agent="advisor", segment="0:0-9", models=models, messages=messages, tools=TOOLS, reply=bench.Move, step=3
    )


def calls(*wanted, content=None):
    """A completion that calls tools; arguments are sent as they are."""
    rows = [
        {"id": f"c{index}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for index, (name, arguments) in enumerate(wanted)
    ]
    message = {"role": "assistant", "content": content, "tool_calls": rows}
    body = {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }  # fmt: skip
    return 200, {}, json.dumps(body).encode()


CALL = ("data", '{"expression": "ball"}')


def test_where_nobody_who_calls_tools_answers_the_plain_question_is_left_to_the_others(bench, server):
    server.queue = [(503, {}, json.dumps({"error": {"message": "busy"}}).encode())]
    llms = {"a": bench.openai(server), "b": bench.scripted(bench.GOOD, tools="none")}
    with bench.gateway(llms, retries=0, breaker=1) as gateway:
        nothing = turn(bench, gateway, models=["a", "b"])
        assert (nothing.said, nothing.calls, nothing.value) == ("", (), None)
        again = turn(bench, gateway, models=["a", "b"])
        assert again.value is None
        assert len(server.requests) == 1, "kept, so that a replay goes on as the run did"
        assert bench.ask(gateway, models=["a", "b"]).model == "b"
    with bench.gateway({"a": llms["a"]}, retries=0, breaker=1) as gateway, pytest.raises(Unreachable):
        turn(bench, gateway, [("user", "another")], models=["a"])


def test_a_server_is_sent_the_tools_and_its_calls_with_their_results(bench, server):
    server.queue = [calls(CALL, ("data", '{"expression": "paddle"}'), content="Let me see."), server.ok(bench.GOOD)]
    with bench.gateway({"default": bench.openai(server)}) as gateway:
        first = turn(bench, gateway)
        assert (first.said, first.value) == ("Let me see.", None)
        assert first.calls == (CALL, ("data", '{"expression": "paddle"}'))
        said = [*ASKED, (CALLS, calls_text(first.said, first.calls)), (RESULT, "12 px"), (RESULT, "30 px")]
        second = turn(bench, gateway, said)
    assert second.calls == ()
    assert second.value == bench.Move(**bench.GOOD)
    for request in server.requests:
        assert request["tools"] == [{"type": "function", "function": TOOLS[0]}]
        assert "response_format" not in request
        assert not request.get("stream")
    *_, assistant, one, other = server.requests[1]["messages"]
    assert assistant["content"] == "Let me see."
    assert [row["function"] for row in assistant["tool_calls"]] == [
        {"name": "data", "arguments": '{"expression": "ball"}'},
        {"name": "data", "arguments": '{"expression": "paddle"}'},
    ]
    numbers = [row["id"] for row in assistant["tool_calls"]]
    assert numbers == ["call00001", "call00002"]
    assert [(row["role"], row["tool_call_id"], row["content"]) for row in (one, other)] == [
        ("tool", numbers[0], "12 px"), ("tool", numbers[1], "30 px"),
    ]  # fmt: skip
    assert bench.verdicts() == ["ok", "ok"]
    assert bench.rows()[0]["reply"] == 'Let me see.\ndata({"expression": "ball"})\ndata({"expression": "paddle"})'


def test_a_turn_is_cached_and_replayed_with_its_calls(bench, server):
    server.queue = [calls(CALL)]
    llms = {"default": bench.openai(server)}
    with bench.gateway(llms) as gateway:
        first = turn(bench, gateway)
    with bench.gateway(llms, mode="replay") as gateway:
        assert turn(bench, gateway) == first
    assert len(server.requests) == 1
    assert [row["cached"] for row in bench.rows()] == [False, True]
    with bench.gateway(llms) as gateway:
        gateway.turn(
            agent="advisor", segment="0:0-9", models=(), messages=ASKED, tools=[{**TOOLS[0], "description": "new"}],
            reply=bench.Move,
        )  # fmt: skip
    assert len(server.requests) == 2, "other tools are another question"


def test_a_question_without_tools_has_the_key_it_always_had(bench, server):
    from ultra_agents.llm.model import Model

    model = Model("default", bench.openai(server))
    assert set(model.request(ASKED, {}, 0)) == {
        "provider", "base_url", "model", "sampling", "messages", "schema", "attempt",
    }  # fmt: skip
    assert model.request(ASKED, {}, 0) == model.request(ASKED, {}, 0, ())
    assert "tools" in model.request(ASKED, {}, 0, TOOLS)


def test_a_server_without_tool_calls_is_told_of_them_in_words(bench, server):
    refusal = 400, {}, json.dumps({"error": {"message": "tools are not supported by this model"}}).encode()
    words = json.dumps({"tool_calls": [{"name": "data", "arguments": {"expression": "ball"}}]})
    server.queue = [refusal, server.ok(f"Let me look.\n{words}"), server.ok(bench.GOOD)]
    with bench.gateway({"default": bench.openai(server)}) as gateway:
        first = turn(bench, gateway)
        said = [*ASKED, (CALLS, calls_text(first.said, first.calls)), (RESULT, "12 px")]
        second = turn(bench, gateway, said)
    assert (first.said, first.calls) == ("Let me look.", (CALL,))
    assert second.value == bench.Move(**bench.GOOD)
    last = server.requests[2]
    assert "tools" not in last
    assert [row["role"] for row in last["messages"]] == ["system", "user", "assistant", "user"]
    assert "12 px" in last["messages"][-1]["content"]
    assert '{"tool_calls": [{"name": "NAME", "arguments": {...}}]}' in last["messages"][-1]["content"]
    warned = [event.text for event in bench.events if type(event).__name__ == "Warned"]
    assert len(warned) == 1
    assert "does not take tools: it is told of them in words" in warned[0]


def test_tools_in_words_can_be_asked_for(bench, server):
    server.queue = [server.ok({"tool_calls": [{"name": "data", "arguments": {"expression": "ball"}}]})]
    with bench.gateway({"default": bench.openai(server, tools="text")}) as gateway:
        assert turn(bench, gateway).calls == (CALL,)
    assert "tools" not in server.requests[0]


def test_who_is_offered_tools(bench, server):
    llms = {
        "server": bench.openai(server),
        "known": bench.openai(server, model="gpt-4o-mini"),
        "none": bench.openai(server, tools="none"),
        "small": LLMConfig(provider="local"),
        "asked": LLMConfig(provider="local", tools="text"),
    }
    with bench.gateway(llms) as gateway:
        offered = {name: gateway.calls_tools([name]) for name in llms}
    assert offered == {"server": True, "known": True, "none": False, "small": False, "asked": True}
    assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (calls(("data", '{"expression": ')), [("data", '{"expression": ')]),
        (calls(("data", "")), [("data", "{}")]),
        (calls(("rm -rf /\n\x1b[2J", "{}")), [("rm_-rf_2J", "{}")]),
        (calls(("x" * 10_000, "{}")), [("x" * 64, "{}")]),
        (calls(*[CALL] * 50), [CALL] * MAX_CALLS),
        (calls(("data", '{"expression": "\ud800"}')), None),
        (calls(("data", "[1, 2]")), []),
        (calls(("data", "{" * 5000)), None),
    ],
)
def test_odd_calls_are_kept_small_and_harm_nobody(bench, server, answer, expected):
    server.queue = [answer]
    with bench.gateway({"default": bench.openai(server)}) as gateway:
        found = turn(bench, gateway)
    if expected is not None:
        assert [(name.strip("_"), text) for name, text in found.calls] == expected
    assert len(found.calls) <= MAX_CALLS
    assert all(len(name) <= 64 and len(text) <= MAX_ARGUMENTS for name, text in found.calls)
    again = [*ASKED, (CALLS, calls_text(found.said, found.calls)), *[(RESULT, "no")] * len(found.calls)]
    assert len(as_messages(again)) == len(again)
    json.dumps([message if isinstance(message, list) else message.model_dump() for message in as_messages(again)])


def test_a_million_characters_are_cut_where_they_enter(bench, server):
    server.queue = [calls(("data", json.dumps({"expression": "x" * 10**6})))]
    with bench.gateway({"default": bench.openai(server)}) as gateway:
        ((_, text),) = turn(bench, gateway).calls
    assert text.endswith("... (1,000,018 characters)")
    assert len(text) < 300
    assert (bench.folder / "transcript.jsonl").stat().st_size < 3000


def test_a_turn_the_server_drops_calls_nothing_and_stays_so_in_a_replay(bench, server):
    long = 400, {}, json.dumps({"error": {"message": "this exceeds the maximum context length"}}).encode()
    server.queue = [long]
    llms = {"default": bench.openai(server)}
    with bench.gateway(llms) as gateway:
        first = turn(bench, gateway)
    assert (first.said, first.calls, first.value) == ("", (), None)
    with bench.gateway(llms, mode="replay") as gateway:
        assert turn(bench, gateway) == first


def test_a_turn_is_held_to_the_budget(bench, server):
    server.queue = [calls(CALL)]
    with bench.gateway({"default": bench.openai(server)}, budget={"calls": 1}) as gateway:
        turn(bench, gateway)
        with pytest.raises(BudgetReached):
            turn(bench, gateway, [*ASKED, ("assistant", "hm"), ("user", "Well?")])
    assert len(server.requests) == 1


def test_a_failing_server_is_asked_again(bench, server):
    server.queue = [(503, {}, b"{}"), calls(CALL)]
    with bench.gateway({"default": bench.openai(server)}) as gateway:
        assert turn(bench, gateway).calls == (CALL,)
    assert [verdict[:6] for verdict in bench.verdicts()] == ["failed", "ok"]


def test_keys_are_redacted_in_calls(bench, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-key-of-ours-123456")
    server.queue = [calls(("data", '{"expression": "sk-secret-key-of-ours-123456"}'))]
    with bench.gateway({"default": bench.openai(server)}) as gateway:
        turn(bench, gateway)
    assert "sk-secret-key" not in (bench.folder / "transcript.jsonl").read_text()


def test_in_words_roles_take_turns():
    said = [
        ("user", "Q"), (CALLS, calls_text("", [CALL, CALL])), (RESULT, "a"), (RESULT, "b"),
        (CALLS, calls_text("more", [CALL])), (RESULT, "c"), ("user", "Answer."),
    ]  # fmt: skip
    words = in_words(said)
    assert [role for role, _ in words] == ["user", "assistant", "user", "assistant", "user"]
    assert words[2][1] == "Results, in the order of the calls:\n\na\n\nb"
    assert words[-1][1].endswith("c\n\nAnswer.")
