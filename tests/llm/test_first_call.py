"""Before anything is spent: are the models there? And never where every answer is in the cache."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ultra_agents.config import AgentsConfig
from ultra_agents.contracts.llm import Unreachable
from ultra_agents.errors import Interrupted, LLMError


@pytest.fixture
def nowhere():
    """An address nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def test_the_server_is_looked_for_once(bench, server):
    server.says(bench.GOOD)
    with bench.gateway({"a": bench.openai(server)}) as gateway, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: bench.ask(gateway, f"question {number}"), range(8)))
    assert server.listed == 1
    assert len(server.requests) == 8


def test_a_second_run_asks_nobody_and_needs_nobody(bench, server):
    server.says(bench.GOOD)
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        first = bench.ask(gateway)
    server.close()
    with bench.gateway({"a": bench.openai(server)}, chains=[["a"]]) as gateway:
        assert bench.ask(gateway).value == first.value
        with pytest.raises(Unreachable, match="no model server answers"):
            bench.ask(gateway, "something new")
    assert (server.listed, len(server.requests)) == (1, 1)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ((200, {"content-type": "text/html"}, b"<html>router</html>"), "something else than a model server"),
        ((401, {}, b"{}"), "refuses the key"),
    ],
)
def test_something_else_than_the_model_is_one_message_before_any_question(bench, server, models, message):
    server.models, server.queue = models, [server.ok(bench.GOOD)]
    llms = {"a": bench.openai(server), "b": bench.scripted(bench.GOOD)}
    with bench.gateway(llms) as gateway, pytest.raises(LLMError, match=message) as caught:
        bench.ask(gateway, models=["a", "b"])  # a mistake in the configuration is not covered up by the fallback
    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert server.requests == []


def test_an_agent_whose_model_is_missing_stops_the_run_before_another_agent_spends(bench, server, nowhere):
    server.says(bench.GOOD)
    llms = {"here": bench.openai(server), "gone": bench.openai(server, base_url=nowhere)}
    agents = AgentsConfig(identifier={"llm": "here"}, advisor={"llm": "gone"}, critic={"llm": "here"})
    chains = [chain for role in (agents.identifier, agents.advisor, agents.critic) for chain in role.chains]
    with bench.gateway(llms, chains=chains) as gateway, pytest.raises(Unreachable):
        bench.ask(gateway, models=["here"])
    assert server.requests == []


def test_a_missing_model_with_a_stand_in_is_a_warning(bench, server, nowhere):
    server.says(bench.GOOD)
    llms = {"gone": bench.openai(server, base_url=nowhere), "here": bench.openai(server)}
    looked = []
    with bench.gateway(llms, chains=[["gone", "here"]]) as gateway:
        gone = gateway._models["gone"]
        real = gone.llm.check
        gone.llm.check = lambda: (looked.append(1), real())
        assert bench.ask(gateway, "1", models=["gone", "here"]).model == "here"
        assert bench.ask(gateway, "2", models=["gone", "here"]).model == "here"
    assert len(looked) == 1  # a server that takes ten seconds to be absent costs them once
    warnings = [event.text for event in bench.events if type(event).__name__ == "Warned"]
    assert len(warnings) == 1
    assert "'gone' cannot be reached" in warnings[0]


@pytest.mark.parametrize("budget", [{"money": 1.0}, {"agents": {"identifier": {"money": 1.0}}}])
def test_a_cap_on_money_needs_prices(bench, server, budget):
    server.says(bench.GOOD)
    with bench.gateway({"a": bench.openai(server)}, budget=budget) as gateway:
        bench.ask(gateway)  # one's own machine is free
    server.models = 200, {}, b'{"data": [{"id": "m", "pricing": {}}]}'
    with (
        bench.gateway({"a": bench.openai(server)}, budget=budget) as gateway,
        pytest.raises(LLMError, match=r"no price of the model 'a'.*is known") as caught,
    ):
        bench.ask(gateway, "new")
    assert "price_prompt" in caught.value.hint
    with bench.gateway({"a": bench.openai(server, price_prompt=1, price_completion=1)}, budget=budget) as gateway:
        assert bench.ask(gateway, "new").usage.cost > 0


def test_stop_of_the_gateway_ends_a_hanging_call(bench, server):
    server.queue = [None]
    stopped = threading.Event()
    llms = {"a": bench.openai(server, timeout_s=15)}
    with bench.gateway(llms, stop=stopped.is_set) as gateway, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(bench.ask, gateway)
        while not server.requests and not asked.done():
            stopped.wait(0.01)
        stopped.set()
        with pytest.raises(Interrupted):
            asked.result(timeout=10)
    assert not server.release.is_set()
