"""Caps of single agents, and money by whatever prices are known."""

from __future__ import annotations

import json

import pytest

from ultra_agents.errors import BudgetReached


@pytest.mark.parametrize(
    ("caps", "named"), [({"calls": 2}, "calls"), ({"tokens": 1300}, "tokens"), ({"money": 0.0013}, "money")]
)
def test_an_agent_that_has_spent_its_share_stops_the_run_and_the_others_had_not(bench, caps, named):
    llms = {"a": bench.scripted(bench.GOOD, cycle=True, price_prompt=1.0, price_completion=1.0)}
    budget = {"agents": {"critic": caps}}
    with bench.gateway(llms, budget=budget) as gateway:
        for number in range(5):
            bench.ask(gateway, f"identify {number}", agent="identifier")
        with pytest.raises(BudgetReached, match=rf"gateway\.budget\.agents\.critic\.{named}") as caught:
            list(map(lambda number: bench.ask(gateway, f"criticise {number}", agent="critic"), range(200)))
        bench.ask(gateway, "identify again", agent="identifier")
        spent = gateway.usage()["critic"]
    assert caught.value.exit_code == 3
    assert f"--set gateway.budget.agents.critic.{named}=MORE" in caught.value.hint
    assert 1 <= spent.calls <= caps.get("calls", spent.calls)
    with bench.gateway(llms, budget=budget) as gateway:  # a resumed run knows what the agent has spent
        assert bench.ask(gateway, "criticise 0", agent="critic").cached
        with pytest.raises(BudgetReached):
            bench.ask(gateway, "criticise anew " * 50, agent="critic")


def test_the_cap_of_the_run_holds_beside_those_of_agents(bench):
    budget = {"calls": 3, "agents": {"critic": {"calls": 2}}}
    with bench.gateway({"a": bench.scripted(bench.GOOD, cycle=True)}, budget=budget) as gateway:
        bench.ask(gateway, "1", agent="critic")
        bench.ask(gateway, "2", agent="identifier")
        bench.ask(gateway, "3", agent="identifier")
        with pytest.raises(BudgetReached, match=r"gateway\.budget\.calls"):
            bench.ask(gateway, "4", agent="critic")


def test_prices_of_the_server_count_where_the_configuration_names_none(bench, server):
    row = {"id": "m", "context_length": 32768, "pricing": {"prompt": "0.000002", "completion": "0.00001"}}
    server.models = 200, {}, json.dumps({"data": [{"id": "other"}, row]}).encode()
    server.says(bench.GOOD)
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        answer = bench.ask(gateway)
        assert gateway._models["a"].llm.context_tokens == 32768
    assert answer.usage.cost == pytest.approx((11 * 2 + 7 * 10) / 1e6)
    with bench.gateway({"a": bench.openai(server, price_prompt=1.0, price_completion=0.0)}) as gateway:
        assert bench.ask(gateway, "another").usage.cost == pytest.approx(11 / 1e6)


@pytest.mark.parametrize("pricing", [{}, {"prompt": "much"}, {"prompt": "-1", "completion": "0"}, 3, None])
def test_odd_prices_are_no_prices(bench, server, pricing):
    server.models = 200, {}, json.dumps({"data": [{"id": "m", "pricing": pricing}]}).encode()
    server.says(bench.GOOD)
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        assert bench.ask(gateway).usage.cost == 0.0
        assert gateway._models["a"].prices is None
