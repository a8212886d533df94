"""Every step of a stretch is told exactly once, whatever the budget; sums are called sums."""

from __future__ import annotations

import re
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultra_agents.config import NarrationConfig
from ultra_agents.errors import EnvironmentFault
from ultra_agents.narration import Numbers, narrate
from ultra_agents.narration.describe import estimate_tokens
from ultra_agents.narration.lines import Lines
from ultra_agents.narration.rewards import usual_reward
from ultra_agents.plugin_calls import action_word
from ultra_agents.records import Segment, Trajectory
from ultra_agents.testing.corridor import Corridor, CorridorOptions

WORLD = Corridor(CorridorOptions())
ROW = re.compile(r"^(?:Step )?(\d+): .*(?:Action: |\| )(\w+)\.(?: Reward ([+-]?[\d.]+)(?: \([\w ]+\))?\.)?$")
BETWEEN = re.compile(r"^(?:Steps? )?(\d+)(?:-(\d+))?(?:, action only:|:| \|) ([\w, ]+?(?: \(\d+ of \d+\))?)\.(.*)$")
SUM = re.compile(r"^ Rewards of these (\d+) steps together: ([+-]?[\d.]+)\.$")


def played(rewards, actions, terminated=True, truncated=False):
    length = len(rewards)
    return Trajectory(
        episode=1, seed=0, observations=np.zeros((length, 1), np.float32), actions=np.asarray(actions),
        rewards=np.asarray(rewards, dtype=np.float64), values=np.zeros(length),
        infos=tuple({"cell": 1 + step % 7} for step in range(length)), terminated=terminated, truncated=truncated,
    )  # fmt: skip


@st.composite
def stretches(draw):
    length = draw(st.integers(1, 120))
    kind = draw(st.sampled_from(["points", "dense", "constant"]))
    if kind == "points":
        rewards = np.zeros(length)
        for step in draw(st.lists(st.integers(0, length - 1), max_size=6)):
            rewards[step] = draw(st.sampled_from([-1.0, 1.0]))
    elif kind == "dense":
        rewards = np.round(np.random.default_rng(draw(st.integers(0, 99))).normal(size=length), 3)
    else:
        rewards = np.full(length, -1.0)
    actions = draw(st.lists(st.integers(0, 1), min_size=length, max_size=length))
    start = draw(st.integers(0, length - 1))
    stop = draw(st.integers(start + 1, length))
    ended = draw(st.sampled_from([(True, False), (False, True), (False, False)]))
    config = NarrationConfig(stride=draw(st.integers(1, 5)), token_budget=draw(st.integers(110, 2000)))
    return played(rewards, actions, *ended), Segment(1, start, stop, "x"), config


def table(trajectory, config):
    columns = {"place": np.arange(len(trajectory)) % 7 / 2}
    done = "done", lambda step: action_word(WORLD, trajectory, step)
    return Numbers(trajectory, WORLD, config, columns, {"place": 3.0}, done)


def parsed(text):
    """`(described, between)`: of each described step its action and reward, of each span its words and the rest."""
    described, between = {}, {}
    for line in text.splitlines():
        if row := ROW.match(line):
            assert int(row[1]) not in described
            described[int(row[1])] = row[2], row[3]
        elif span := BETWEEN.match(line):
            between[int(span[1]), int(span[2] or span[1])] = span[3], span[4]
    return described, between


def unrolled(words):
    """The actions of `LEFT x2, RIGHT`."""
    runs = [part.partition(" x") for part in words.split(", ")]
    return list(chain.from_iterable([word] * int(count or 1) for word, _, count in runs))


@pytest.mark.parametrize("as_table", [False, True])
@settings(max_examples=250, deadline=None)
@given(stretches())
def test_every_step_is_described_or_in_one_line_between(as_table, stretch):
    trajectory, segment, config = stretch
    told = narrate(trajectory, segment, WORLD, config, (), table(trajectory, config) if as_table else None)
    assert told.tokens == estimate_tokens(told.text) <= config.token_budget
    described, between = parsed(told.text)
    assert tuple(described) == told.steps
    assert {segment.start, segment.stop - 1} <= set(described)
    spans = [step for first, last in between for step in range(first, last + 1)]
    assert sorted([*described, *spans]) == list(range(segment.start, segment.stop))
    rewards, usual = trajectory.rewards, usual_reward(trajectory.rewards)
    for step, (action, reward) in described.items():
        assert action == action_word(WORLD, trajectory, step)
        told_here = usual is None or rewards[step] != usual
        assert (reward is not None) == told_here
        assert not told_here or float(reward) == pytest.approx(rewards[step], abs=5e-4)
    for (first, last), (words, rest) in between.items():
        taken = [action_word(WORLD, trajectory, step) for step in range(first, last + 1)]
        if words.endswith("in mixed order"):
            assert sorted(unrolled(words.removesuffix(", in mixed order"))) == sorted(taken)
        elif not words.startswith("mostly"):
            assert unrolled(words) == taken
        earned, count = rewards[first : last + 1], last - first + 1
        if total := SUM.match(rest):
            assert int(total[1]) == count > 1
            assert float(total[2]) == pytest.approx(earned.sum(), abs=1e-3)
        elif usual is None:
            assert count == 1
            assert float(re.fullmatch(r" Reward ([+-]?[\d.]+)\.", rest)[1]) == pytest.approx(earned[0], abs=5e-4)
        else:
            assert bool(rest) == bool(np.any(earned != usual))
            assert "together" not in rest
    last_line = told.text.splitlines()[-1]
    assert re.match(r"This stretch ends at step \d+|End: |Next: |The ", last_line)
    hidden = f"{len(told.steps)} of these {segment.stop - segment.start} steps are described"
    assert (hidden in told.text) <= bool(between)


def test_a_budget_of_default_size_never_loses_the_order():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        trajectory = played(rng.normal(size=200), rng.integers(0, 2, 200))
        text = narrate(trajectory, Segment(1, 60, 120, "x"), WORLD, NarrationConfig()).text
        assert "mixed order" not in text
        assert "mostly" not in text


def test_events_between_are_named_one_by_one_or_counted():
    rewards = np.zeros(80)
    rewards[[3, 6]] = -1
    rewards[20:28] = [-1, -1, 1, -1, -1, 1, -1, -1]
    lines = Lines(played(rewards, [0] * 80), Corridor(CorridorOptions()), NarrationConfig())
    assert lines.of((0, 5, 9)) == [
        "Step 0: I am in cell 4: 4 steps from the right end, 4 from the left end. Action: LEFT.",
        "Steps 1-4: LEFT x4. Reward -1 (wandering) at step 3.",
        "Step 5: I am in cell 4: 4 steps from the right end, 4 from the left end. Action: LEFT.",
        "Steps 6-8: LEFT x3. Reward -1 (wandering) at step 6.",
        "Step 9: I am in cell 4: 4 steps from the right end, 4 from the left end. Action: LEFT.",
    ]
    assert lines.of((19, 39))[1] == "Steps 20-38: LEFT x19. Among them: 8 x wandering."
    assert lines.of((19, 39), "mostly")[1] == "Steps 20-38: LEFT x19. Rewards of these 19 steps together: -4."
    assert lines.of((5, 7))[1] == "Step 6, action only: LEFT. Reward -1 (wandering)."


def test_where_there_is_no_room_for_the_order_actions_are_counted_and_it_is_said():
    actions = np.random.default_rng(3).integers(0, 2, 300)
    lines = Lines(played(np.zeros(300), actions), WORLD, NarrationConfig())
    left = int(np.sum(actions[1:299] == 0))
    counted, mostly = (lines.of((0, 299), form)[1] for form in ("counted", "mostly"))
    most = max((left, "LEFT"), (298 - left, "RIGHT"))
    assert sorted(re.findall(r"\w+ x\d+", counted)) == [f"LEFT x{left}", f"RIGHT x{298 - left}"]
    assert counted.endswith(", in mixed order.")
    assert mostly == f"Steps 1-298: mostly {most[1]} ({most[0]} of 298)."
    assert lines.of((0, 3), "mostly")[1] == lines.of((0, 3))[1], "the order, where it is as short"


def test_what_never_fits_is_a_fault_that_names_the_plugin():
    class Wordy(Corridor):
        def describe(self, observation, info):
            return "words " * 40

    with pytest.raises(EnvironmentFault, match="too long to narrate two"):
        narrate(played(np.zeros(9), [0] * 9), Segment(1, 0, 9, "x"), Wordy(CorridorOptions()),
                NarrationConfig(token_budget=100))  # fmt: skip
