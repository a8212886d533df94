"""The real embedded model through the real graph, on a real Pong episode."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ultra_agents.agents.proposer import model_proposer
from ultra_agents.config import AgentsConfig, GatewayConfig, LLMConfig, NarrationConfig, VerificationConfig
from ultra_agents.llm.gateway import Gateway
from ultra_agents.llm.transcript import Transcript
from ultra_agents.narration import choose_segments, narrate
from ultra_agents.policies import load_policy
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.verification import CounterfactualTester


def test_embedded_model_explains_a_pong_episode_and_the_simulator_judges_it(tmp_path: Path) -> None:
    environment, streams = create_environment("pong"), Streams(0)
    policy = load_policy(environment.policies()["suboptimal"], "pong", environment).policy
    with make_simulators(environment, 1) as one:
        (trajectory,) = collect(policy, environment, one, [1], streams, 400)
    config = NarrationConfig(segments_per_episode=1, segment_steps=40, stride=6)
    (segment,) = choose_segments(trajectory, environment, config, streams.generator("segments"))
    narration = narrate(trajectory, segment, environment, config)

    verification = VerificationConfig(mode="simulate", max_pairs=4, horizon=60)
    options = {"slots": 1, "threads": 1, "max_tokens": 200, "context": 3072}
    llms = {"default": LLMConfig(provider="local", options=options)}
    with (
        CounterfactualTester(environment, policy, verification, streams, max_tests=1) as tester,
        Gateway(llms, GatewayConfig(), tmp_path) as gateway,
    ):
        proposer = model_proposer(
            environment=environment,
            gateway=gateway,
            agents=AgentsConfig(max_critical=1, max_revisions=0),
            verification=verification,
            tester=tester,
            checkpoint=tmp_path / "explain.sqlite",
            emit=lambda event: None,
            source="local",
        )
        (explanation,) = proposer.explain([(trajectory, narration)])
        usage = gateway.usage()

    rows = list(Transcript(tmp_path / "transcript.jsonl").rows())
    assert rows[0]["agent"] == "identifier"
    assert narration.text in rows[0]["messages"][0][1]
    assert usage["identifier"].calls >= 1
    assert usage["identifier"].completion_tokens > 0
    assert [state.step for state in explanation.states] or explanation.drops, "an answer, or a counted reason"
    assert all(state.step in narration.steps for state in explanation.states)
    moves = [move for row in explanation.advice for move in row.plan.moves]
    assert all(name in environment.actions.names and 1 <= hold <= 8 for name, hold in moves)
    assert len(explanation.advice) + len(explanation.drops) >= 1
    for row in rows:
        if row["verdict"] == "ok":
            assert isinstance(json.loads(row["reply"]), dict)


IN_MID_ANSWER = """
import contextlib, http.client, json, sys, threading, time, urllib.request
from ultra_agents_plugins.llms import local

model = local.Local(local.Local.Options(threads=1, slots=1))
address = model.open().openai_api_base
asked = json.dumps({"messages": [{"role": "user", "content": "word " * 1500}], "max_tokens": 600}).encode()
request = urllib.request.Request(f"{address}/chat/completions", asked, {"content-type": "application/json"})

def ask():
    with contextlib.suppress(OSError, http.client.HTTPException):  # a thread that writes while Python ends aborts it
        urllib.request.urlopen(request)

threading.Thread(target=ask, daemon=True).start()
slots = address.removesuffix("/v1") + "/slots"
while not any(slot["is_processing"] for slot in json.load(urllib.request.urlopen(slots))):
    time.sleep(0.05)
if sys.argv[1] == "close":
    model.close()
print("done", flush=True)
"""


@pytest.mark.parametrize("how", ["close", "leave"])
def test_a_server_that_is_still_answering_holds_nobody_up(how: str) -> None:
    """Nor does it take the process down that ends meanwhile."""
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", IN_MID_ANSWER, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
