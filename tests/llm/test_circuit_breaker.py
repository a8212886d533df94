"""The circuit breaker: counts, opens, probes, closes; and the gateway that uses it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from ultra_agents.contracts.llm import Unreachable
from ultra_agents.llm.circuit_breaker import CircuitBreaker

BUSY = 503, {}, json.dumps({"error": {"message": "busy"}}).encode()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_failures_in_a_row_open_it_and_a_success_starts_the_count_again(clock):
    breaker = CircuitBreaker(3, 60.0, clock)
    breaker.failed(), breaker.failed(), breaker.succeeded()
    breaker.failed(), breaker.failed()
    assert breaker.state == "closed"
    breaker.failed()
    assert breaker.state == "open"
    assert not breaker.allows()


def test_after_the_rest_one_probe_decides(clock):
    breaker = CircuitBreaker(1, 60.0, clock)
    breaker.failed()
    clock.now = 59.0
    assert not breaker.allows()
    clock.now = 60.0
    assert breaker.state == "half-open"
    assert [breaker.allows(), breaker.allows()] == [True, False]
    breaker.failed()
    clock.now = 119.0
    assert not breaker.allows()
    clock.now = 120.0
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.state == "closed"


def test_a_probe_that_tells_nothing_is_made_again(clock):
    breaker = CircuitBreaker(1, 60.0, clock)
    breaker.open()
    clock.now = 60.0
    assert breaker.allows()
    assert not breaker.allows()
    breaker.end_probe()  # interrupted, say
    assert breaker.allows()


@pytest.mark.parametrize("event", ["end_probe", "failed", "open"])
def test_a_late_call_hands_out_no_second_probe(clock, event):
    breaker = CircuitBreaker(1, 60.0, clock)
    breaker.open()
    clock.now = 60.0
    with ThreadPoolExecutor(1) as prober:
        assert prober.submit(breaker.allows).result()
        getattr(breaker, event)()  # a call that began before the breaker opened
        clock.now = 180.0
        assert not breaker.allows()
        prober.submit(breaker.failed).result()
    clock.now = 239.0
    assert not breaker.allows()
    clock.now = 240.0
    assert breaker.allows()


def test_a_late_success_closes_it_for_all(clock):
    breaker = CircuitBreaker(1, 60.0, clock)
    breaker.open()
    clock.now = 60.0
    with ThreadPoolExecutor(1) as prober:
        assert prober.submit(breaker.allows).result()
        breaker.succeeded()
        prober.submit(breaker.end_probe).result()
    assert breaker.state == "closed"


def test_the_fallback_is_asked_as_soon_as_the_breaker_opens(bench, server):
    server.queue = [BUSY]
    llms = {"a": bench.openai(server), "b": bench.scripted(bench.GOOD, cycle=True)}
    with bench.gateway(llms, retries=50, breaker=3) as gateway:
        assert bench.ask(gateway, "1", models=["a", "b"]).model == "b"
        assert len(server.requests) == 3  # not 51
        assert bench.ask(gateway, "2", models=["a", "b"]).model == "b"
        assert len(server.requests) == 3  # resting


def test_a_provider_that_recovers_is_found_out_by_a_probe(bench, server):
    clock = Clock()
    server.queue = [BUSY]
    llms = {"a": bench.openai(server), "b": bench.scripted(bench.GOOD, cycle=True)}
    with bench.gateway(llms, breaker=3) as gateway:
        gateway._models["a"].breaker = CircuitBreaker(3, 60.0, clock)
        assert bench.ask(gateway, "1", models=["a", "b"]).model == "b"
        clock.now = 60.0  # half-open: still broken, one request
        assert bench.ask(gateway, "2", models=["a", "b"]).model == "b"
        assert len(server.requests) == 4
        clock.now = 120.0
        server.queue = [server.ok(bench.GOOD)]
        assert bench.ask(gateway, "3", models=["a", "b"]).model == "a"
        assert bench.ask(gateway, "4", models=["a", "b"]).model == "a"
        assert gateway._models["a"].breaker.state == "closed"


def test_entries_of_one_server_share_a_breaker_and_others_do_not(bench, server):
    llms = {"a": bench.openai(server), "hot": bench.openai(server, temperature=1.0), "b": bench.scripted("x")}
    with bench.gateway(llms) as gateway:
        models = gateway._models
        assert models["a"].breaker is models["hot"].breaker is not models["b"].breaker


TOO_LONG = 400, {}, json.dumps({"error": {"message": "maximum context length is 10 tokens"}}).encode()


@pytest.mark.parametrize("answer", [BUSY, TOO_LONG])
@pytest.mark.parametrize("chain", [["a", "b"], ["b", "a"]])
def test_a_resting_model_is_asked_before_a_question_is_given_up(bench, server, answer, chain):
    server.queue = [answer]
    llms = {"a": bench.openai(server), "b": bench.scripted(bench.GOOD, cycle=True)}
    with bench.gateway(llms, retries=0, breaker=1) as gateway:
        gateway._models["b"].breaker.open()
        assert bench.ask(gateway, "1", models=chain).model == "b"
        assert len(server.requests) == 1, "who has just failed is not asked once more"


def test_without_another_model_a_resting_one_is_asked_all_the_same(bench, server):
    server.queue = [BUSY] * 3 + [server.ok(bench.GOOD)]
    with bench.gateway({"a": bench.openai(server)}, retries=0, breaker=1) as gateway:
        for question in "123":
            with pytest.raises(Unreachable, match="does not answer"):
                bench.ask(gateway, question)
        assert bench.ask(gateway, "4").model == "a"
