"""Servers with habits of their own: what they refuse, how they say so, and that one reply never ends a run."""

from __future__ import annotations

import json

import pytest

from ultra_agents.errors import LLMError
from ultra_agents.events import Warned
from ultra_agents.llm.failures import classify
from ultra_agents.llm.structured import ReplyDropped


def refused(status, body):
    return status, {}, body if isinstance(body, bytes) else json.dumps(body).encode()


FASTAPI = {"detail": [{"type": "literal_error", "loc": ["body", "response_format", "type"], "msg": "text please"}]}
FILTERED = {"error": {"message": "the prompt was filtered", "code": "content_filter", "status": 400}}
NO_JSON = {
    "error": {"message": "could not generate JSON", "code": "json_validate_failed", "failed_generation": '{"ration'}
}
SCHEMA_500 = {"error": {"code": 500, "message": "response_format must be text or json_object, got json_schema"}}
NESTED = {"error": {"message": "Provider returned error", "metadata": {"raw": "json_schema is not for this model"}}}


def forms(server):
    return [(request.get("response_format") or {}).get("type") for request in server.requests]


def warnings(bench):
    return [event.text for event in bench.events if isinstance(event, Warned)]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (422, FASTAPI),
        (500, SCHEMA_500),
        (404, {"error": {"message": "No endpoints found that support response_format"}}),
        (400, NESTED),
        (400, b"response_format? never heard of"),
        (400, {"object": "error", "message": {"detail": "json_schema"}}),
    ],
)
def test_a_refused_schema_is_sent_more_simply_whatever_the_shape_of_the_refusal(bench, server, status, body):
    server.queue = [refused(status, body), server.ok(bench.GOOD)]
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        assert bench.ask(gateway, "1").value.step == 3
        assert bench.ask(gateway, "2").value.step == 3
    assert forms(server) == ["json_schema", "json_object", "json_object"]
    assert [verdict.partition(":")[0] for verdict in bench.verdicts()] == ["failed", "ok", "ok"]
    (told,) = warnings(bench)
    assert "does not take a schema as json_schema" in told
    assert any(word in told.partition("names it): ")[2] for word in ("response_format", "json_schema"))


@pytest.mark.parametrize("body", [{"detail": "no quota left today"}, {"why": [{"deep": "no quota left today"}]}])
@pytest.mark.parametrize("status", [400, 401, 422])
def test_the_cause_is_always_shown(bench, server, status, body):
    server.queue = [refused(status, body)]
    with bench.gateway({"a": bench.openai(server)}) as gateway, pytest.raises(LLMError, match="refuses") as caught:
        bench.ask(gateway)
    assert "no quota left today" in caught.value.found
    assert f"HTTP {status}" in caught.value.found


def test_an_error_inside_a_reply_of_status_200_is_sorted_by_the_status_it_names(bench, server):
    server.queue = [refused(200, {"error": {"message": "json_schema is not supported", "code": 400}}),
                    server.ok(bench.GOOD)]  # fmt: skip
    with bench.gateway({"a": bench.openai(server)}, retries=0) as gateway:
        assert bench.ask(gateway).value.step == 3
    assert forms(server) == ["json_schema", "json_object"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (FILTERED, "prompt filtered"),
        ({"error": {"message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, "prompt filtered"),
        ({"error": {"message": "Input exceeds the maximum context of this model"}}, "prompt too long"),
        ({"error": {"message": "something odd about this prompt"}}, "refused by the server"),
    ],
)
@pytest.mark.parametrize("fallback", [False, True])
def test_a_refusal_of_one_question_is_a_counted_drop_after_the_fallback_was_asked(
    bench, server, body, reason, fallback
):
    server.queue = [server.ok(bench.GOOD), refused(400, body), server.ok(bench.GOOD)]
    llms = {"a": bench.openai(server), "b": bench.scripted({**bench.GOOD, "step": 6}, cycle=True)}
    chain = ["a", "b"] if fallback else ["a"]
    with bench.gateway(llms) as gateway:
        bench.ask(gateway, "1", models=chain)
        if fallback:
            assert bench.ask(gateway, "2", models=chain).model == "b"
        else:
            with pytest.raises(ReplyDropped) as caught:
                bench.ask(gateway, "2", models=chain)
            assert caught.value.reason == reason
        assert bench.ask(gateway, "3", models=chain).model == "a", "the model is not down"
    assert len(server.requests) == 3


def test_a_resumed_run_drops_the_question_too(bench, server):
    server.says(bench.GOOD)
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        bench.ask(gateway, "1")
    server.queue = [refused(400, {"error": {"message": "something odd about this prompt"}})]
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        bench.ask(gateway, "1")  # from the cache: this model has answered before
        with pytest.raises(ReplyDropped):
            bench.ask(gateway, "2")


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "The model `gpt-99` does not exist", "code": "model_not_found"}},
        {"error": {"message": "Your credit balance is too low"}},
        {"error": {"message": "API key not valid. Please pass a valid API key."}},
    ],
)
def test_what_concerns_every_call_ends_the_run_even_after_answers(bench, server, body):
    server.queue = [server.ok(bench.GOOD), refused(400, body)]
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        bench.ask(gateway, "1")
        with pytest.raises(LLMError, match="refuses to answer"):
            bench.ask(gateway, "2")


def test_an_unusable_reply_as_http_400_is_repaired(bench, server):
    server.queue = [refused(400, NO_JSON), server.ok(bench.GOOD)]
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        assert bench.ask(gateway).value.step == 3
    said = [message["content"] for message in server.requests[1]["messages"]]
    assert said[2] == '{"ration'
    assert "malformed reply" in said[3]
    assert [row["charged"] for row in bench.rows()] == [True, True], "the model has worked for it"


def test_an_unusable_reply_as_http_400_is_replayed_as_it_was_repaired(bench, server, tmp_path):
    server.queue = [refused(400, NO_JSON), server.ok(bench.GOOD)]
    llms, cache = {"a": bench.openai(server)}, tmp_path / "answers.sqlite"
    with bench.gateway(llms, cache=cache) as gateway:
        assert bench.ask(gateway).value.step == 3
    for mode in ("live", "replay"):
        with bench.gateway(llms, cache=cache, mode=mode) as gateway:
            assert bench.ask(gateway).value.step == 3
    assert len(server.requests) == 2, "neither the refusal nor the repair is paid for again"


def test_an_unusable_reply_as_http_400_twice_is_a_drop(bench, server):
    server.queue = [refused(400, NO_JSON)]
    with bench.gateway({"a": bench.openai(server)}) as gateway, pytest.raises(ReplyDropped) as caught:
        bench.ask(gateway)
    assert caught.value.reason == "malformed reply"
    assert len(server.requests) == 2


def refusal(text):
    row = json.loads(text[2])
    row["choices"][0]["message"] |= {"content": None, "refusal": "I cannot help with that"}
    return 200, {}, json.dumps(row).encode()


def test_a_model_that_refuses_hands_over_and_alone_is_a_drop(bench, server):
    server.queue = [refusal(server.ok(""))]
    llms = {"a": bench.openai(server), "b": bench.scripted(bench.GOOD)}
    with bench.gateway(llms) as gateway:
        assert bench.ask(gateway, models=["a", "b"]).model == "b"
        with pytest.raises(ReplyDropped, match="refused by the model"):
            bench.ask(gateway, "alone", models=["a"])
        again = bench.ask(gateway, models=["a", "b"])
        assert (again.model, again.cached) == ("b", True)
    assert len(server.requests) == 2, "a refusal is kept like any other reply, and is not argued with"


EXTRA = {
    "object": "error",
    "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"]}]},
}


def test_an_older_server_is_sent_the_older_name_of_the_limit_from_then_on(bench, server):
    server.queue = [refused(422, EXTRA), server.ok(bench.GOOD)]
    with bench.gateway({"a": bench.openai(server, max_tokens=77)}) as gateway:
        bench.ask(gateway, "1")
        bench.ask(gateway, "2")
    sent = [(row.get("max_completion_tokens"), row.get("max_tokens")) for row in server.requests]
    assert sent == [(77, None), (None, 77), (None, 77)]
    assert [request["response_format"]["type"] for request in server.requests] == ["json_schema"] * 3
    (told,) = warnings(bench)
    assert "max_completion_tokens" in told


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("temperature", "temperature: only the default (1) is supported with this model"),
        ("temperature", "Unsupported value: 'temperature' does not support 0.0 with this model."),
        ("temperature", "invalid temperature: must be 1"),
        ("seed", "Unrecognized request argument supplied: seed"),
    ],
)
def test_a_parameter_the_server_does_not_take_is_left_out_and_said_so_once(bench, server, parameter, message):
    server.queue = [refused(400, {"error": {"message": message, "param": parameter}}), server.ok(bench.GOOD)]
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        bench.ask(gateway, "1")
        bench.ask(gateway, "2")
    assert [parameter in request for request in server.requests] == [True, False, False]
    (told,) = warnings(bench)
    assert parameter in told
    assert f"options.{parameter}: null" in told
    assert [verdict.partition(":")[0] for verdict in bench.verdicts()] == ["failed", "ok", "ok"]
    asked = len(server.requests)
    with bench.gateway({"a": bench.openai(server)}) as gateway:  # the answers' keys are those of the options
        assert bench.ask(gateway, "1").cached
    assert len(server.requests) == asked


def test_every_parameter_can_be_left_out_at_once_and_a_refusal_without_end_is_an_error(bench, server):
    server.queue = [
        *(refused(400, {"error": f"unknown field {name}"}) for name in ("seed", "max_completion_tokens", "temperature",
                                                                       "max_tokens")),
        server.ok(bench.GOOD),
    ]  # fmt: skip
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        bench.ask(gateway)
    assert not {"seed", "temperature", "max_tokens", "max_completion_tokens"} & set(server.requests[-1])
    server.queue = [refused(400, {"error": "unknown field seed"})]
    with bench.gateway({"a": bench.openai(server)}) as gateway, pytest.raises(LLMError, match="unknown field seed"):
        bench.ask(gateway, "another")


def test_null_sends_nothing(bench, server):
    server.says(bench.GOOD)
    options = {"temperature": None, "seed": None, "max_tokens": None}
    with bench.gateway({"a": bench.openai(server, **options)}) as gateway:
        bench.ask(gateway)
    assert not {"seed", "temperature", "max_tokens", "max_completion_tokens"} & set(server.requests[0])


def test_a_limit_that_is_too_high_is_not_a_parameter_the_server_does_not_know():
    class Refused(Exception):
        status_code = 400

    failure = classify(Refused("max_completion_tokens must be at most 4096"))
    assert failure.kind == "unexplained"


def thinking(text, written):
    row = json.loads(text[2])
    row["choices"][0]["message"] |= {"content": "", "reasoning_content": "hm, UP"}
    row["usage"]["completion_tokens"] = written
    return 200, {}, json.dumps(row).encode()


def test_a_reply_that_went_into_the_reasoning_is_told(bench, server):
    server.queue = [thinking(server.ok(""), 40)]
    with bench.gateway({"a": bench.openai(server)}) as gateway, pytest.raises(ReplyDropped, match="empty reply"):
        bench.ask(gateway)
    (told,) = warnings(bench)
    assert "wrote all of its reply as reasoning" in told


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "many", "completion_tokens": "few", "total_tokens": "some"},
        {"prompt_tokens": "11", "completion_tokens": "7"},
        {"prompt_tokens": -5_000_000, "completion_tokens": -7, "total_tokens": 3},
        {"prompt_tokens": 1e300, "completion_tokens": 7, "total_tokens": 3},
        "lots",
        [3],
    ],
)
def test_odd_usage_is_estimated_and_lifts_no_cap(bench, server, usage):
    row = json.loads(server.ok(bench.GOOD)[2])
    row["usage"] = usage
    server.queue = [(200, {}, json.dumps(row).encode())]
    with bench.gateway({"a": bench.openai(server)}, retries=0) as gateway:
        spent = bench.ask(gateway).usage
    assert 0 < spent.prompt_tokens < 1000
    assert 0 < spent.completion_tokens < 1000


@pytest.mark.parametrize("value", ["Thu, 01 Jan 1970 00:00:00 +99999999", "Wed, 21 Oct 9999999 07:28:00 GMT", "nan"])
def test_an_absurd_retry_after_is_none(bench, server, value):
    server.queue = [(429, {"retry-after": value}, b'{"error": {"message": "busy"}}'), server.ok(bench.GOOD)]
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        assert bench.ask(gateway).value.step == 3


def test_a_model_that_refuses_one_question_after_another_ends_the_run(bench, server):
    server.queue = [server.ok(bench.GOOD), refused(400, {"error": {"message": "odd"}})]
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        bench.ask(gateway, "0")
        for number in range(10):
            with pytest.raises(ReplyDropped, match="refused by the server"):
                bench.ask(gateway, f"question {number}")
        with pytest.raises(LLMError, match="refuses to answer"):
            bench.ask(gateway, "question 10")
