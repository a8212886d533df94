"""Every sentence of the MuJoCo describers against MuJoCo itself and what then happened."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import mujoco
import numpy as np
import pytest

from ultra_agents.policies import load_policy
from ultra_agents.registry import create_environment
from ultra_agents.testing.claims import Act, Claim, Episode, check_claims, play_episodes, wrong_claims

FEET = {
    "hopper": {"foot": "foot"},
    "walker2d": {"right foot": "foot", "left foot": "foot_left"},
    "half-cheetah": {"back foot": "bfoot", "front foot": "ffoot"},
}
NUMBER = r"([-+]?[\d.]+)"
NEARLY = 0.9
"""Share that must hold of speeds: they are those of one moment, and a contact changes them within a step."""


class Body:
    """The model, posed as an observation says."""

    def __init__(self, name: str) -> None:
        self.environment = create_environment(name)
        envs: Any = self.environment.make(1)
        self.model, self.dt = envs.model, envs.dt
        self.data = mujoco.MjData(self.model)

    def pose(self, observation: np.ndarray) -> None:
        self.data.qpos[0] = 0
        self.data.qpos[1:] = observation[: self.model.nq - 1]
        mujoco.mj_forward(self.model, self.data)

    def foot(self, observation: np.ndarray, body: str) -> tuple[bool, float]:
        """Whether MuJoCo finds a contact, and the height of its lowest point."""
        self.pose(observation)
        geom = int(self.model.body_geomadr[self.model.body(body).id])
        half = self.data.geom_xmat[geom].reshape(3, 3)[2, 2] * self.model.geom_size[geom, 1]
        touches = any(geom in (one.geom1, one.geom2) for one in self.data.contact)
        return touches, self.data.geom_xpos[geom][2] - abs(half) - self.model.geom_size[geom, 0]


@cache
def body_of(name: str) -> Body:
    return Body(name)


def runner_claims(name: str) -> list[Claim]:
    body, joints = body_of(name), body_of(name).environment.actions.components
    limits = dict(zip(joints, np.degrees(body.model.jnt_range[-len(joints) :]).tolist(), strict=True))
    unhealthy = name != "half-cheetah"

    def moves(told: float, index: int, episode: Episode, step: int, moved: float | None = None) -> bool | None:
        """Whether the next step goes as far as this speed and the one after it lead; speeds are clipped to 10."""
        seen = episode.observations
        then = float(seen[step + 1, body.model.nq + index])
        if max(abs(told), abs(then)) >= 10:
            return None
        moved = float(seen[step + 1, index] - seen[step, index]) if moved is None else moved
        return abs(moved - body.dt * (told + then) / 2) <= 0.1 * body.dt + 0.3 * (
            abs(moved) + body.dt * abs(told - then)
        )

    def height(match: Any, episode: Episode, step: int) -> bool:
        told = 0.0 if match[1] is None else float(match[1]) * (-1 if match[2] == "below" else 1)
        return abs(told - episode.observations[step, 0]) < 0.0051

    def lean(match: Any, episode: Episode, step: int) -> bool:
        told = float(match[1] or 0) * (1 if match[2] == "forward" else -1)
        is_so = (math.degrees(episode.observations[step, 1]) + 180) % 360 - 180
        return abs(told - is_so) < 0.51

    def tipping(match: Any, episode: Episode, step: int) -> bool | None:
        told = float(match[2]) * (1 if match[1] == "forward" else -1)
        return moves(math.radians(told), 1, episode, step)

    def forward(match: Any, episode: Episode, step: int) -> bool | None:
        told = float(match[2]) * (1 if match[1] == "forward" else -1)
        x, then = (one.get("x_position") for one in episode.infos[step : step + 2])
        return None if then is None else moves(told, -1, episode, step, float(then) - float(x))

    def upward(match: Any, episode: Episode, step: int) -> bool | None:
        told = 0.0 if match[1] is None else float(match[2]) * (1 if match[1] == "rising" else -1)
        return moves(told, 0, episode, step)

    def place(match: Any, episode: Episode, step: int) -> bool:
        return abs(float(match[1]) - float(episode.infos[step]["x_position"])) < 0.0051

    def from_falling(match: Any, episode: Episode, step: int) -> bool:
        limit = {"hopper": 0.2, "walker2d": 1.0}[name]
        return abs(float(match[1]) - math.degrees(limit - abs(episode.observations[step, 1]))) < 0.51

    def from_sinking(match: Any, episode: Episode, step: int) -> bool:
        limit = {"hopper": 70, "walker2d": 80}[name]
        return abs(float(match[1]) - (100 * episode.observations[step, 0] - limit)) < 0.51

    def on_ground(match: Any, episode: Episode, step: int) -> bool:
        return body.foot(episode.observations[step], FEET[name][match[1]])[0]

    def above_ground(match: Any, episode: Episode, step: int) -> bool:
        touches, high = body.foot(episode.observations[step], FEET[name][match[1]])
        return not touches and abs(float(match[2]) - 100 * high) < 1.01

    def joint(match: Any, episode: Episode, step: int) -> bool:
        is_so = math.degrees(episode.observations[step, 2 + joints.index(match[1])])
        return abs(float(match[2]) - is_so) < 0.51

    def turning(match: Any, episode: Episode, step: int) -> bool | None:
        return moves(math.radians(float(match[3])), 2 + joints.index(match[1]), episode, step)

    def stop(match: Any, episode: Episode, step: int) -> bool:
        is_so, (low, high) = math.degrees(episode.observations[step, 2 + joints.index(match[1])]), limits[match[1]]
        told = float(match[2]) if match[2] else 0.0
        left = min(is_so - low, high - is_so)
        return abs(told - left) < 0.51 if told else left < 0.51

    a_joint = rf"({'|'.join(joints)}) {NUMBER}° \({NUMBER}°/s"
    return [
        Claim("height", rf"Torso (?:at standing height|{NUMBER} m (high|above standing height|below))"
              "(?: standing height)?", height),
        Claim("lean", rf"upright|leaning {NUMBER}° (forward|back)", lean),
        Claim("tipping", rf"tipping (forward|back) at {NUMBER}°/s", tipping, NEARLY),
        Claim("speed", rf"moving (forward|backward) at {NUMBER} m/s", forward, NEARLY),
        Claim("up and down", rf"\blevel|(rising|falling) at {NUMBER} m/s", upward, NEARLY),
        Claim("place", rf"at x = {NUMBER} m", place),
        Claim("fallen", ": fallen", lambda *_: not unhealthy),  # a fallen body is never asked for advice
        Claim("close to falling over", rf": only {NUMBER}° from falling over", from_falling),
        Claim("close to sinking", rf": only {NUMBER} cm above the height at which it has fallen", from_sinking),
        Claim("on the ground", rf"({'|'.join(FEET[name])}) on the ground(?: with one end)?", on_ground, 0.99),
        Claim("above the ground", rf"({'|'.join(FEET[name])}) {NUMBER} cm up", above_ground, 0.99),
        Claim("joint", rf"{a_joint}(?:, at its stop|, [\d]+° from its stop)?\)", joint),
        Claim("joint speed", a_joint, turning, NEARLY),
        Claim("joint stop", rf"({'|'.join(joints)}) [-\d]+° \([-+\d]+°/s, (?:at its stop|(\d+)° from its stop)", stop),
    ]  # fmt: skip


def players(name: str) -> dict[str, Act]:
    environment = body_of(name).environment
    count = len(environment.actions.components)
    found: dict[str, Act] = {
        "random": lambda seen, rng: rng.uniform(-1, 1, (len(seen), count)).astype(np.float32),
        "held": lambda seen, rng: np.sign(np.sin(np.arange(count) + 8 * seen[:, :1])).astype(np.float32),
    }
    if name == "hopper":
        found |= {key: load_policy(path, name, environment).policy.act for key, path in environment.policies().items()}
    return found


@pytest.mark.parametrize("name", FEET)
def test_every_sentence_is_true_of_the_body(name: str) -> None:
    environment, kinds = body_of(name).environment, runner_claims(name)
    acts = players(name).values()
    episodes = [one for act in acts for one in play_episodes(environment, act, num_envs=2, steps=150)]
    tallies = check_claims(environment, episodes, kinds)
    assert {key: (one.said, one.wrong, one.examples[0]) for key, one in wrong_claims(tallies, kinds).items()} == {}
    for said in ("speed", "on the ground", "above the ground", "joint stop", "joint speed"):
        assert tallies[said].said >= 20, said
    if name == "hopper":
        assert tallies["close to falling over"].said >= 20


def test_every_sentence_about_the_arm_is_true() -> None:
    reacher = create_environment("reacher")

    def of(name: str, factor: float, *, turns: bool = False) -> Any:
        def holds(match: re.Match[str], episode: Episode, step: int) -> bool:
            away = abs(float(match[1]) - abs(factor * episode.quantities[name][step]))
            if turns:
                is_so = factor * episode.quantities[name][step]
                away = abs((float(match[1]) - is_so + 180) % 360 - 180)
            return bool(away < (0.051 if factor == 100 else 0.51))

        return holds

    def farther(match: re.Match[str], episode: Episode, step: int) -> bool:
        return (match[2] == "out") == (episode.quantities["reach"][step] >= 0)

    def speeds(match: re.Match[str], episode: Episode, step: int) -> bool:
        name = "shoulder" if match[1] == "shoulder" else "elbow"
        moved = episode.quantities[name][step + 1] - episode.quantities[name][step]
        told = math.radians(float(match[2])) * 0.02
        return abs((moved - told + math.pi) % (2 * math.pi) - math.pi) < 0.05 + 0.3 * abs(told)

    def stop(match: re.Match[str], episode: Episode, step: int) -> bool:
        left = 171.9 - abs(math.degrees(episode.quantities["elbow"][step]))
        return left < 0.6 if match[1] is None else abs(left - float(match[1])) < 0.6

    kinds = [
        Claim("distance", rf"Fingertip {NUMBER} cm from the target", of("distance", 100)),
        Claim("aim", rf"which lies {NUMBER}° (?:counter-)?clockwise of it", of("aim", 180 / math.pi)),
        Claim("reach", rf"{NUMBER} cm farther (out|in)", of("reach", 100)),
        Claim("in or out", rf"{NUMBER} cm farther (out|in)", farther),
        Claim("shoulder", rf"shoulder at {NUMBER}°", of("shoulder", 180 / math.pi, turns=True)),
        Claim("elbow", rf"elbow at {NUMBER}°", of("elbow", 180 / math.pi, turns=True)),
        Claim("turning", rf"(shoulder|elbow) at [-\d]+° turning {NUMBER}°/s", speeds, 0.8),
        Claim("stop", r", (?:at its stop|(\d+)° from its stop)", stop),
    ]
    act: Act = lambda seen, rng: rng.choice([-1.0, 1.0], (len(seen), 1)).repeat(2, 1).astype(np.float32)  # noqa: E731
    episodes = play_episodes(reacher, act, num_envs=8, steps=50)
    tallies = check_claims(reacher, episodes, kinds)
    assert {key: (one.said, one.wrong, one.examples[0]) for key, one in wrong_claims(tallies, kinds).items()} == {}
    assert tallies["turning"].said > 500
