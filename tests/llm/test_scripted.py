"""The scripted model: honest about what it is, exact about its script."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from ultra_agents.config import LLMConfig
from ultra_agents.errors import ConfigError, LLMError
from ultra_agents.registry import create_llm
from ultra_agents.testing.scripted import scripted_chat_model


def test_a_callable_sees_messages_and_schema(bench, monkeypatch):
    seen = []
    module = ModuleType("a_script")

    def answer(messages, schema):
        seen.append((messages, schema))
        return {**bench.GOOD, "step": 6}

    module.answer = answer
    monkeypatch.setitem(sys.modules, "a_script", module)
    entry = LLMConfig(provider="scripted", options={"callable": "a_script:answer"})
    with bench.gateway({"a": entry}) as gateway:
        gateway._models["a"].check()
        assert bench.ask(gateway).value.step == 6
    ((messages, schema),) = seen
    assert messages == [("system", "You play Pong."), ("user", "What now?")]
    assert schema["properties"]["step"]["enum"] == [3, 6]


def test_it_is_called_scripted_everywhere():
    llm = create_llm("scripted", {"replies": ["x"], "model": "gpt-99"})
    assert llm.model_name == "scripted"
    assert llm.open()._llm_type == "scripted"
    assert llm.chat.invoke("?").response_metadata["model_name"] == "scripted"


def test_history_and_cycle():
    chat = create_llm("scripted", {"replies": ["a", {"b": 1}], "cycle": True}).open()
    assert [chat.invoke(text).content for text in "123"] == ["a", '{"b": 1}', "a"]
    assert [messages for messages, _, _ in chat.history] == [[("user", "1")], [("user", "2")], [("user", "3")]]


def test_the_script_runs_out():
    chat = create_llm("scripted", {"replies": ["a"]}).open()
    chat.invoke("1")
    with pytest.raises(LLMError, match="no reply left"):
        chat.invoke("2")


def test_a_function_of_ones_own():
    assert scripted_chat_model(lambda messages, schema: messages[-1][1].upper()).invoke("up").content == "UP"


@pytest.mark.parametrize("options", [{}, {"replies": ["x"], "callable": "a:b"}])
def test_one_source_of_replies(options):
    with pytest.raises(ConfigError, match="give either replies or callable"):
        create_llm("scripted", options)


@pytest.mark.parametrize("target", ["nowhere_at_all:f", "json:nothing", "json", "json:__name__"])
def test_a_callable_that_is_none(target):
    with pytest.raises(ConfigError, match="callable"):
        create_llm("scripted", {"callable": target}).check()
