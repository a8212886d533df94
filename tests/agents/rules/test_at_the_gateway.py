"""The agents that write rules at the real gateway, with a scripted model behind it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from ultra_agents.agents.rules.critic import _asked, with_reward
from ultra_agents.agents.rules.schemas import CriticReply
from ultra_agents.agents.rules.state import with_attempts
from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.llm.gateway import Gateway
from ultra_agents.records import RuleAttempt
from ultra_agents.rules import Interface, parse_rules

from .conftest import GOOD, SITUATIONS


def answer(messages, schema):
    """What a model might say: the first set has a slip, in prose and in a code fence."""
    fields = schema["properties"]
    asked = "\n".join(text for role, text in messages if role == "user")
    if "situations" in fields:
        return SITUATIONS
    if "rules" in fields:
        text = GOOD if "That cannot be used" in asked else GOOD.replace("velocity > turn", "speed > turn")
        return "Here:\n```json\n" + json.dumps({"reasoning": "Push along.", "rules": text}) + "\n```"
    if "expression" not in fields:
        raise AssertionError(fields)
    return {"reasoning": "Right.", "implicit": "none", "expression": "", "verdict": "accept"}


def test_every_exchange_is_in_the_transcript_with_episode_and_attempt(bench, monkeypatch):
    monkeypatch.setattr("ultra_agents.testing.corridor_script.good", answer)
    bench.episodes = 2
    llms = {
        "default": LLMConfig(
            provider="scripted", options={"callable": "ultra_agents.testing.corridor_script:good", "max_tokens": 4000}
        )
    }
    with Gateway(llms, GatewayConfig(), bench.folder, bench.events.append) as models:
        made = bench.propose(models, "both", concurrency=2)
        usage = models.usage()
    assert all(one.text and one.attempts[-1].low > 0 for one in made)
    assert set(usage) == {"identifier", "advisor", "critic"}
    rows = [json.loads(line) for line in (bench.folder / "transcript.jsonl").read_text().splitlines()]
    for episode in (0, 1):
        mine = [(row["agent"], row["segment"], row["verdict"]) for row in rows if row["segment"][0] == str(episode)]
        assert mine == [
            ("identifier", f"{episode}:rules", "ok"), ("advisor", f"{episode}:rules", "ok"),
            ("advisor", f"{episode}:rules", "ok"), ("critic", f"{episode}:rules", "ok"),
            ("critic", f"{episode}:rules", "ok"),
        ]  # fmt: skip
    refused = [event for event in bench.events_of("Dropped") if event.reason == "rules refused"]
    assert [event.stage for event in refused] == ["advise", "advise"]
    spoke = bench.events_of("AgentSpoke")
    assert {event.segment for event in spoke} == {"0:rules", "1:rules"}


@pytest.mark.parametrize(("implicit", "left"), [("none", None), ("reward", ("reward", "x / 2"))])
def test_a_second_reading_takes_the_place_of_the_first_one(implicit: str, left: Any) -> None:
    interface = Interface(("x",), actions=("L", "R"))
    first = RuleAttempt("rules: [{when: x > 0, do: L}]", "why", verdict="accept", implicit=("potential", "x / 10"))
    said = CriticReply(reasoning="otherwise", implicit=implicit, expression="x / 2" if left else "", verdict="accept")
    context: Any = SimpleNamespace(
        form="text", gateway=SimpleNamespace(ask=lambda **_: SimpleNamespace(value=said)), about=lambda _: "0:rules",
        chain=lambda _: [], parsed=lambda text: parse_rules(text, interface), agents=SimpleNamespace(max_repairs=1),
    )  # fmt: skip
    state: Any = {**with_attempts((first,)), "refused": [], "opening": "o", "situations": []}
    judged = _asked("reflect", state, context, first, [])
    assert isinstance(judged, tuple)
    assert judged[0].implicit == left
    document = with_reward(context, judged[0]).document
    assert (document.potential, document.reward) == (None, None if left is None else "x / 2")
