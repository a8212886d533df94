"""Every sentence about the mountain car and about Gymnasium's tasks against what then happened."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from ultra_agents.registry import create_environment
from ultra_agents.testing.claims import Act, Claim, Episode, check_claims, play_episodes, wrong_claims

NUMBER = r"([-+]?\d[\d.]*(?:e[-+]?\d+)?)"


def by_chance(actions: int, chance: float) -> Act:
    """Changes its mind now and then."""
    held: dict[int, Any] = {}

    def act(seen: Any, rng: np.random.Generator) -> Any:
        before = held.get(len(seen), np.zeros(len(seen), np.int64))
        held[len(seen)] = np.where(rng.random(len(seen)) < chance, rng.integers(0, actions, len(seen)), before)
        return held[len(seen)]

    return act


def test_every_sentence_about_the_car_is_true() -> None:
    car = create_environment("mountain-car")

    def x(episode: Episode, step: int) -> float:
        return float(episode.observations[step, 0])

    def place(match: re.Match[str], episode: Episode, step: int) -> bool:
        valley = float(np.argmin(np.sin(3 * np.linspace(-1.2, 0.6, 1801)))) / 1000 - 1.2
        side = x(episode, step) - valley
        told = {"on the left slope": side < -0.09, "on the right slope": side > 0.09}
        return told.get(match[1], abs(side) < 0.11) and abs(x(episode, step) - float(match[2])) < 0.0051

    def rolled(episode: Episode, step: int) -> tuple[float, float]:
        """How far the last step went, and how much higher it led."""
        before, now = x(episode, step - 1), x(episode, step)
        return now - before, float(np.sin(3 * now) - np.sin(3 * before))

    def rolling(match: re.Match[str], episode: Episode, step: int) -> bool | None:
        if step == 0:
            return None
        moved, up = rolled(episode, step)
        near_bottom = abs(x(episode, step) + 0.5236) < 0.08  # where one step goes down and up
        says_up = match[2] == "uphill"
        return (match[1] == "right") == (moved > 0) and (near_bottom or says_up == (up > 0))

    def speed(match: re.Match[str], episode: Episode, step: int) -> bool | None:
        return None if step == 0 else abs(abs(rolled(episode, step)[0]) - float(match[1])) < 0.00051

    def still(_: Any, episode: Episode, step: int) -> bool | None:
        at_wall = x(episode, step) <= -1.1999
        return None if step == 0 or at_wall else abs(rolled(episode, step)[0]) < 0.00051

    def flag(match: re.Match[str], episode: Episode, step: int) -> bool:
        return abs(0.5 - x(episode, step) - float(match[1])) < 0.0051

    kinds = [
        Claim("place", rf"The car is (on the left slope|on the right slope|near the bottom of the valley) "
              rf"\(position {NUMBER}\)", place),
        Claim("rolling", r"rolling (right|left) \((uphill|downhill)\)", rolling),
        Claim("speed", rf" at {NUMBER} per step", speed),
        Claim("still", "standing almost still", still),
        Claim("flag", rf"the flag is {NUMBER} ahead", flag),
    ]  # fmt: skip
    expert = car.expert()
    swinging: Act = lambda seen, rng: np.where(rng.random(len(seen)) < 0.1, 1, expert(seen))  # noqa: E731
    acts = (by_chance(3, 1.0), by_chance(3, 0.05), swinging)
    episodes = [one for act in acts for one in play_episodes(car, act, num_envs=4, steps=400)]
    tallies = check_claims(car, episodes, kinds)
    assert {name: (one.wrong, one.examples[0]) for name, one in wrong_claims(tallies, kinds).items()} == {}
    assert min(one.said for one in tallies.values()) > 20
    assert any(one.terminated for one in episodes)


@pytest.mark.parametrize(("name", "actions"), [("CartPole-v1", 2), ("Acrobot-v1", 3)])
def test_numbers_of_gymnasiums_tasks_are_those_of_the_state(name: str, actions: int) -> None:
    """Each number is that of its own simulator, by the name of the attribute it comes from."""
    environment = create_environment(f"gymnasium:{name}")
    labels = {
        "CartPole-v1": ("Cart Position", "Cart Velocity", "Pole Angle", "Pole Angular Velocity"),
        "Acrobot-v1": ("Cosine of theta1", "Sine of theta1", "Cosine of theta2", "Sine of theta2",
                       "Angular velocity of theta1", "Angular velocity of theta2"),
    }[name]  # fmt: skip
    speeds = {"Cart Velocity": ("Cart Position", 0.02), "Pole Angular Velocity": ("Pole Angle", 0.02)}

    def number(index: int, label: str) -> Claim:
        def holds(match: re.Match[str], episode: Episode, step: int) -> bool:
            seen = episode.observations[:, index]
            if label in speeds:  # Euler: the next position follows from this speed
                moved, seconds = episode.observations[:, labels.index(speeds[label][0])], speeds[label][1]
                if abs(moved[step + 1] - moved[step] - seconds * float(match[1])) > 1e-3 * (1 + abs(float(match[1]))):
                    return False
            return abs(float(match[1]) - seen[step]) <= 0.006 * max(abs(seen[step]), 1e-3)

        return Claim(label, rf"{'^' if index == 0 else '(?<=, )'}{label} {NUMBER}", holds)

    kinds = [number(index, label) for index, label in enumerate(labels)]
    episodes = play_episodes(environment, by_chance(actions, 0.3), num_envs=3, steps=150)
    tallies = check_claims(environment, episodes, kinds)
    assert {key: (one.wrong, one.examples[0]) for key, one in wrong_claims(tallies, kinds).items()} == {}
    assert {one.said for one in tallies.values()} == {450}


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "MountainCarContinuous-v0"])
def test_classic_tasks_have_units_and_signs(name: str) -> None:
    legend = create_environment(f"gymnasium:{name}").legend
    assert all(one.unit != "unknown" and one.sign != "as the environment has it" for one in legend.values())
    assert all(one.low < one.high for one in legend.values())


def test_signs_of_the_pole_are_as_the_legend_says() -> None:
    pole = create_environment("gymnasium:CartPole-v1")
    envs = pole.make(1)
    start, _ = envs.reset(seed=[0])
    for _ in range(5):
        seen, *_ = envs.step([1])  # push right: the cart goes right, the pole tips left
    then, before = pole.quantities(seen), pole.quantities(start)
    assert then["cart_position"][0] > before["cart_position"][0]
    assert then["pole_angle"][0] < before["pole_angle"][0]
    assert pole.legend["cart_v"].sign == "to the right"
    assert pole.legend["pole_angle"].sign == "tipped to the right"
