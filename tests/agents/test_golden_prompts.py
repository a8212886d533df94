"""The whole first question about a stretch, word for word: opening and identifier.

After a wanted change: `ULTRA_UPDATE_GOLDEN=1 pytest tests/agents/test_golden_prompts.py`, then read the diff.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from ultra_agents.config import NarrationConfig
from ultra_agents.contracts import Brief
from ultra_agents.narration import narrate
from ultra_agents.narration.outcomes import won_steps
from ultra_agents.records import Segment, Trajectory
from ultra_agents.testing.corridor import Corridor, CorridorOptions

GOLDEN = Path(__file__).parent / "golden"
BUDGET = 700


class Rally(Corridor):
    """Points are lost and won, and play goes on."""

    @property
    def brief(self):
        return Brief(
            "Win points against a wall.", "The ball comes nearer by a cell each step.",
            "LEFT: one cell to the left. RIGHT: one cell to the right.",
            "+1 for a point won, -1 for one lost, 0 otherwise.", "After 90 steps.",
            "Hold a direction for 1 to 4 steps.",
        )  # fmt: skip

    def describe(self, observation, info):
        return f"Ball {info['ball']} cells away, I am in cell {info['cell']}."

    def segment_kind(self, rewards):
        return "point lost" if np.any(rewards < 0) else "point won" if np.any(rewards > 0) else "rally"


class Slope(Corridor):
    """Every step earns something else, and the episode ends in a fall."""

    @property
    def brief(self):
        return Brief(
            "Go far without falling.", "A slope that grows steeper.", "LEFT: lean back. RIGHT: lean forward.",
            "The speed in m/s.", "When I fall.", "Lean for 2 to 8 steps.",
        )  # fmt: skip

    def describe(self, observation, info):
        return f"I lean by {info['lean']} degrees."

    def segment_kind(self, rewards):
        return None


def points():
    """Ninety steps of a script: lost at 29, won at 44, lost at 74; the stretch holds the end of two points."""
    rewards = np.zeros(90)
    rewards[[29, 74]], rewards[44] = -1.0, 1.0
    values = np.where(np.arange(90) > 62, -0.6, 0.1)  # step 62 is the mistake
    actions = np.array([int((step // 3) % 2 == 0) for step in range(90)])
    infos = tuple({"ball": (74 - step) % 30, "cell": 1 + step % 7} for step in range(90))
    return trajectory(rewards, values, actions, infos, terminated=False), Segment(0, 40, 72, "median stretch"), Rally


def dense():
    """Eighty steps; the stretch ends six steps before the fall."""
    rewards = np.round(1.5 + np.sin(np.arange(80) / 9), 2)
    values = np.where(np.arange(80) > 50, 2.0, 9.0)
    actions = np.array([int(step % 5 < 2) for step in range(80)])
    infos = tuple({"lean": step // 4} for step in range(80))
    return trajectory(rewards, values, actions, infos, terminated=True), Segment(0, 30, 74, "largest change"), Slope


def trajectory(rewards, values, actions, infos, terminated):
    return Trajectory(
        episode=0, seed=0, observations=np.zeros((len(rewards), 1), np.float32), actions=actions, rewards=rewards,
        values=values, infos=infos, terminated=terminated, truncated=not terminated,
    )  # fmt: skip


@pytest.fixture(params=[points, dense], ids=["points", "dense"])
def asked(request, bench, says):
    """`(name, episode, narration, the identifier's messages)`."""
    episode, segment, world = request.param()
    environment = world(CorridorOptions())
    config = NarrationConfig(token_budget=BUDGET, stride=3)
    told = narrate(episode, segment, environment, config, [-1.0, 0.0, episode.episode_return])
    story = says.story(identifier={"cases": []})
    bench.proposer(story, environment=environment).explain([(episode, told)])
    (question,) = bench.gateway.asked
    return request.param.__name__, episode, told, question["messages"]


def test_the_first_question_word_for_word(asked):
    name, _, told, messages = asked
    text = "".join(f"=== {role}\n{text}\n" for role, text in messages)
    path = GOLDEN / f"whole_{name}.txt"
    if os.environ.get("ULTRA_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert told.tokens <= BUDGET


def test_actions_are_named_once_beside_where_they_were_taken(asked):
    _, _, told, messages = asked
    text = "\n".join(text for _, text in messages).replace(told.text, "")
    assert [len(re.findall(rf"\b{name}\b", text)) for name in ("LEFT", "RIGHT")] == [1, 1]


def test_every_step_that_may_be_named_is_described_and_none_of_a_point_won(asked):
    _, episode, told, messages = asked
    offered = re.search(r"out of ([\d, -]+), and its importance", messages[-1][1])[1]
    steps = []
    for part in offered.split(", "):
        first, _, last = part.partition("-")
        steps += range(int(first), int(last or first) + 1)
    assert tuple(steps) == told.candidates
    assert all(f"\nStep {step}: " in told.text for step in steps)
    assert not won_steps(episode, tuple(steps))
