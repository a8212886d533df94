"""The agents at the real gateway, with scripted models behind it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.errors import BudgetReached
from ultra_agents.llm.gateway import Gateway


def answer(messages, schema):
    """What a model might say: sometimes in prose, sometimes not at all."""
    fields = schema["properties"]
    asked = "\n".join(text for role, text in messages if role == "user")
    if "cases" in fields:
        wordy = {"case_analysis": "it turned back " * 40, "step": 3, "importance": 0.9}
        other = {"case_analysis": "here it was settled", "step": 5, "importance": 0.4}
        return "Here you are:\n```json\n" + json.dumps({"cases": [wordy, other]}) + "\n```"
    if "hold" in fields:
        if re.search(r"^Step 5:", asked, re.MULTILINE):
            return "I would rather not say."
        return {"reasoning": "the right end is worth more", "action": "RIGHT", "hold": 6}
    reward = 0.7 if "cannot be used" in asked else 7
    return {"reasoning": "right", "reward": reward, "taken_reward": -0.2, "verdict": "accept"}


def gateway(folder, events, target="good", **config):
    callable_ = f"ultra_agents.testing.corridor_script:{target}"
    llms = {"default": LLMConfig(provider="scripted", options={"callable": callable_})}
    return Gateway(llms, GatewayConfig(**config), folder, events.append)


def test_good_advice_reaches_the_table(bench, item, says):
    with gateway(bench.folder, bench.events) as models:
        (made,) = bench.proposer(models, says.tester([0.5]), "both").explain([item()], 2)
        usage = models.usage()
    assert made.advice
    assert {row.plan.actions for row in made.advice} == {"RIGHT"}
    assert set(usage) == {"identifier", "advisor", "critic"}
    spoke = bench.events_of("AgentSpoke")
    assert {event.segment for event in spoke} == {"0:0-8"}
    assert {event.verdict for event in spoke} == {"ok"}


def test_replies_that_cannot_be_used_are_repaired_or_dropped(bench, item, monkeypatch):
    monkeypatch.setattr("ultra_agents.testing.corridor_script.good", answer)
    with gateway(bench.folder, bench.events) as models:
        made = bench.proposer(models).explain([item()])[0]
    assert [(row.step, row.plan.moves) for row in made.advice] == [(3, (("RIGHT", 6),))]
    assert len(made.advice[0].rationale) <= 240
    assert [(drop.stage, drop.reason) for drop in made.drops] == [("advise", "malformed reply")]
    verdicts = [(event.agent, event.verdict) for event in bench.events_of("AgentSpoke")]
    assert verdicts[2:4] == [("critic", "wrong fields"), ("critic", "ok")]
    assert made.advice[0].reward == 0.7


def test_the_transcript_says_which_step_a_question_was_about(bench, item, monkeypatch):
    monkeypatch.setattr("ultra_agents.testing.corridor_script.good", answer)
    with gateway(bench.folder, bench.events) as models:
        bench.proposer(models).explain([item()])
    rows = [json.loads(line) for line in (bench.folder / "transcript.jsonl").read_text().splitlines()]
    assert [(row["agent"], row["step"], row["verdict"]) for row in rows] == [
        ("identifier", None, "ok"), ("advisor", 3, "ok"), ("critic", 3, "wrong fields"), ("critic", 3, "ok"),
        ("advisor", 5, "malformed reply"), ("advisor", 5, "malformed reply"),
    ]  # fmt: skip


def test_a_spending_cap_stops_resumably(bench, item):
    items = [item(episode=number) for number in range(3)]
    with gateway(bench.folder, bench.events, budget={"calls": 5}) as models, pytest.raises(BudgetReached):
        bench.proposer(models).explain(items, 2)
    with gateway(bench.folder, bench.events) as models:
        made = bench.proposer(models).explain(items, 2)
        calls = sum(row.calls for row in models.usage().values())
    spoke = [event for event in bench.events_of("AgentSpoke") if not event.cached]
    assert len(spoke) == calls
    assert all(explanation.advice for explanation in made)


def test_a_recorded_run_replays_without_a_model(bench, item, tmp_path):
    with gateway(bench.folder, bench.events) as models:
        live = bench.proposer(models, mode="reflect").explain([item()])[0]
    (bench.folder / "agents.sqlite").unlink()
    with gateway(bench.folder, bench.events, mode="replay") as models:
        assert bench.proposer(models, mode="reflect").explain([item()])[0] == live


def test_langgraph_is_imported_only_when_segments_are_run():
    code = (
        "import sys; import ultra_agents.agents.proposer, ultra_agents.agents.controls; "
        "print([name for name in ('langgraph', 'torch', 'langchain_core') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
