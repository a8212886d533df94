"""Prices from a maintained table: the real one, offline, and what is asked before it."""

from __future__ import annotations

import socket
import sys

import pytest

from ultra_agents.config import LLMConfig
from ultra_agents.llm.model import Model
from ultra_agents.llm.prices import table_prices

ANTHROPIC = "langchain_anthropic.ChatAnthropic"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """The table comes with the package: whoever asks the network for it fails."""

    def refuse(*arguments):
        raise AssertionError(f"a price was looked up on the network: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    table_prices.cache_clear()
    yield
    table_prices.cache_clear()


def model(**entry):
    options = {"model": "gpt-4o", "base_url": "https://api.openai.com/v1"}
    return Model("a", LLMConfig(**{"provider": "openai", "options": options, **entry}))


def test_the_table_is_asked_last():
    assert model().prices == pytest.approx((2.5, 10.0))
    assert model(price_prompt=1.0, price_completion=2.0).prices == (1.0, 2.0)
    here = {"model": "gpt-4o", "base_url": "http://127.0.0.1:1/v1"}
    assert model(options=here).prices == (0.0, 0.0)


def test_prices_are_per_million_tokens_of_the_model_at_that_address():
    prompt, completion = table_prices(ANTHROPIC, "claude-sonnet-4-5")
    assert (prompt, completion) == pytest.approx((3.0, 15.0))
    assert table_prices("https://openrouter.ai/api/v1", "openai/gpt-4o") == pytest.approx((2.5, 10.0))


def test_what_the_table_does_not_know_has_no_price():
    assert table_prices("", "my-own") is None
    assert table_prices("https://models.example.invalid/v1", "gpt-4o") is None  # sold by somebody else


def test_without_the_package_no_price_is_known(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert model().prices is None
