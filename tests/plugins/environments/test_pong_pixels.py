from __future__ import annotations

import re

import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from ultra_agents_plugins.environments.pong import screen

from ultra_agents.contracts import capabilities
from ultra_agents.errors import EnvironmentFault
from ultra_agents.registry import create_environment


def test_screens_are_those_of_ales_vector_environment() -> None:
    used = create_environment("pong").make(1)  # its emulator is the next one's, with the screen of this game
    used.reset(seed=[3])  # type: ignore[arg-type]
    for _ in range(40):
        used.step(np.array([1]))
    used.close()
    ours = create_environment("pong-pixels", {"noop_max": 0}).make(1)
    theirs = AtariVectorEnv(
        "pong", 1, noop_max=0, use_fire_reset=False, reward_clipping=False, repeat_action_probability=0.0
    )
    mine, _ = ours.reset(seed=[0])
    yours, _ = theirs.reset(seed=np.array([0]))
    assert np.array_equal(mine, yours)
    points = 0.0
    for action in np.random.default_rng(0).integers(0, 3, 250):
        mine, reward, *_ = ours.step([action])
        yours, other, *_ = theirs.step(np.array([(0, 2, 3)[action]]))
        assert np.array_equal(mine, yours)
        assert reward[0] == other[0]
        points += abs(reward[0])
    assert points >= 2


def test_the_game_is_that_of_pong_from_ram() -> None:
    pixels, ram = create_environment("pong-pixels"), create_environment("pong")
    one, other = pixels.make(1), ram.make(1)
    one.reset(seed=[5])
    other.reset(seed=[5])
    for action in np.random.default_rng(1).integers(0, 3, 200):
        a, b = one.step([action]), other.step([action])
        assert a[1][0] == b[1][0]
        assert all(a[4][key][0] == b[4][key][0] for key in b[4])
        told = pixels.describe(a[0][0], {key: values[0] for key, values in a[4].items() if key[0] != "_"})
        same = ram.describe(b[0][0], {})
        numbers = [[int(number) for number in re.findall(r"\d+", text)] for text in (told, same)]
        assert re.sub(r"\d+", "#", told) == re.sub(r"\d+", "#", same)
        assert all(abs(one - two) <= 1 for one, two in zip(*numbers, strict=True))  # halves are rounded either way


def test_positions_read_off_the_screen_are_those_in_ram() -> None:
    environment = create_environment("pong-pixels")
    envs = environment.make(1)
    envs.reset(seed=[0])
    seen, apart = 0, []
    for action in np.random.default_rng(0).integers(0, 3, 300):
        observation, _, _, _, info = envs.step([action])
        x, y, own, _, there = screen.locate(observation[:, -1])[0]
        ball = info["ball_x"][0], info["ball_y"][0]
        if 30 < ball[0] < 130 and 40 < ball[1] < 185:
            assert there
            assert abs(x - ball[0]) < 4
            assert abs(y - ball[1]) < 5
            seen += 1
        if 50 < info["own_y"][0] < 178:
            apart.append(abs(own - info["own_y"][0]))
    assert seen > 50
    assert np.median(apart) < 4
    assert max(apart) < 25  # the screen is the brighter of two, between which it moved


def test_without_information_the_words_come_off_the_screen() -> None:
    environment = create_environment("pong-pixels")
    envs = environment.make(1)
    envs.reset(seed=[0])
    while not 60 < envs.info()["ball_x"][0] < 100:
        observation = envs.step([0])[0]
    told = environment.describe(observation[0], {})
    assert told.startswith("Ball ")
    assert "no ball" not in told.lower()


def test_a_restored_game_has_its_four_screens() -> None:
    environment = create_environment("pong-pixels", {"sticky": 0.25})
    source, target = environment.make(1), environment.make(3)
    source.reset(seed=[0])
    target.reset(seed=[1, 2, 3])
    actions = np.random.default_rng(0).integers(0, 3, (60, 3))
    for batch in actions[:30]:
        source.step(batch[:1])
        target.step(batch)
    (saved,) = environment.snapshot(source, [0])
    assert np.array_equal(environment.restore(target, [1], [saved])[0], source.observe()[0])
    for batch in actions[30:]:
        assert np.array_equal(source.step(batch[1:2])[0][0], target.step(batch)[0][1])
    for bad in (b"", saved[:-9], saved[:200]):
        with pytest.raises(EnvironmentFault, match="not a snapshot of Pong"):
            environment.restore(target, [0], [bad])


def test_it_offers_no_policies() -> None:
    assert capabilities(create_environment("pong-pixels")) == {
        "snapshot", "render", "reference_returns", "quantities",
    }  # fmt: skip
