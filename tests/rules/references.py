"""The example rules once more, as plain numpy: what `examples/rules/*.yaml` are held against.

Each environment has random states, `(n,)` per quantity; each rule has `act(q, own)` -> actions, covered, and
`reward(q, next)`. Discrete actions are indices into the environment's actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.rules.references_bodies import BODIES, BODY_ACTS, BODY_REWARDS, body_states, interface
from ultra_agents.rules import Interface

Q = dict[str, Any]
TORQUES = tuple(f"apply {torque} torque to the actuated joint" for torque in (-1, 0, 1))
PONG = (
    "ball_x", "ball_y", "ball_vx", "ball_vy", "own_y", "own_v", "opponent_y", "opponent_v",
    "in_play", "arrival_steps", "arrival_y",
)  # fmt: skip
HOPPER = ("height", "lean", "hip", "knee", "ankle", "vx", "vz", "lean_v", "hip_v", "knee_v", "ankle_v")
JOINTS = ("hip", "knee", "ankle")
pong_face = Interface(PONG, ("STAY", "UP", "DOWN"))
INTERFACES = {
    "acrobot": Interface(("cos_theta1", "sin_theta1", "cos_theta2", "sin_theta2", "theta1_v", "theta2_v"), TORQUES),
    "cartpole": Interface(
        ("cart_position", "cart_v", "pole_angle", "pole_v"), ("Push cart to the left", "Push cart to the right")
    ),
    "mountain_car": Interface(("position", "velocity"), ("PUSH_LEFT", "COAST", "PUSH_RIGHT")),
    "pendulum": Interface(
        ("cos_theta", "sin_theta", "angular_velocity"), components=("torque",), low=(-2,), high=(2,)
    ),
    "pong": pong_face,
    "pong_after_feedback": pong_face,
    "hopper_residual": Interface(HOPPER, components=JOINTS, low=(-1, -1, -1), high=(1, 1, 1)),
    **{name: interface(name) for name in BODIES},
}


def states(name: str, n: int, rng: np.random.Generator) -> Q:
    """Random states of the environment that rule `name` is for, wide enough to reach every branch."""
    if name in BODIES:
        return body_states(name, n, rng)
    if name == "acrobot":
        a, b = rng.uniform(-np.pi, np.pi, (2, n))
        return dict(
            cos_theta1=np.cos(a),
            sin_theta1=np.sin(a),
            cos_theta2=np.cos(b),
            sin_theta2=np.sin(b),
            theta1_v=rng.normal(0, 4, n),
            theta2_v=rng.normal(0, 2, n),
        )
    if name == "cartpole":
        columns = rng.normal(0, 1, (4, n)) * np.array([[1.5], [1], [0.15], [1]])
        return dict(zip(("cart_position", "cart_v", "pole_angle", "pole_v"), columns, strict=True))
    if name == "mountain_car":
        return dict(position=rng.uniform(-1.2, 0.6, n), velocity=rng.uniform(-0.07, 0.07, n))
    if name == "pendulum":
        a = rng.uniform(-np.pi, np.pi, n) * rng.choice([1.0, 0.2], n)
        return dict(
            cos_theta=np.cos(a),
            sin_theta=np.sin(a),
            angular_velocity=rng.uniform(-8, 8, n) * rng.choice([1.0, 0.1], n),
        )
    if name == "hopper_residual":
        q = dict(zip(HOPPER, rng.normal(0, 0.5, (len(HOPPER), n)), strict=True))
        return q | dict(height=rng.uniform(0.7, 1.5, n), vx=rng.normal(1, 1.5, n))
    q = dict(
        ball_x=rng.uniform(0, 160, n), ball_y=rng.uniform(33, 194, n), ball_vx=rng.uniform(-8, 8, n),
        ball_vy=rng.uniform(-12, 12, n), own_y=rng.uniform(33, 194, n), own_v=rng.uniform(-20, 20, n),
        opponent_y=rng.uniform(33, 194, n), opponent_v=rng.uniform(-20, 20, n), in_play=(rng.random(n) < 0.9) * 1.0,
    )  # fmt: skip
    t = np.where((q["in_play"] > 0.5) & (q["ball_vx"] > 0), (140 - q["ball_x"]) / q["ball_vx"], np.nan)
    t = np.where(t >= 0, t, np.nan)
    height = 193.5 - 33
    along = (q["ball_y"] + q["ball_vy"] * t - 33) % (2 * height)
    return q | dict(arrival_steps=t, arrival_y=33 + np.minimum(along, 2 * height - along))


def _acrobot(q: Q, own: Any) -> tuple[Any, Any]:
    pull = q["sin_theta2"] + (q["sin_theta1"] * q["cos_theta2"] + q["cos_theta1"] * q["sin_theta2"])
    w2 = q["theta2_v"]
    return np.where(w2 > 0.3, 2, np.where(w2 < -0.3, 0, np.where(pull > 0, 0, 2))), np.ones(len(w2), bool)


def _acrobot_reward(q: Q, after: Q) -> Any:
    def height(z: Q) -> Any:
        return -z["cos_theta1"] - (z["cos_theta1"] * z["cos_theta2"] - z["sin_theta1"] * z["sin_theta2"])

    def energy(z: Q) -> Any:
        c2, v1, v2 = z["cos_theta2"], z["theta1_v"], z["theta2_v"]
        motion = 0.5 * (3.5 + c2) * v1**2 + (1.25 + 0.5 * c2) * v1 * v2 + 0.625 * v2**2
        return np.minimum(
            motion - 9.8 * (1.5 * z["cos_theta1"] + 0.5 * (z["cos_theta1"] * c2 - z["sin_theta1"] * z["sin_theta2"])),
            15,
        )

    gained = 0.6 * (energy(after) - energy(q)) + 0.1 * (height(after) - height(q))
    return np.where(height(after) > 1, 1.0, np.clip(gained, -0.8, 0.8))


def _line(q: Q) -> Any:
    return 3.24 * q["pole_angle"] + q["pole_v"] + 0.47 * q["cart_v"] + 0.24 * q["cart_position"]


def _cartpole(q: Q, own: Any) -> tuple[Any, Any]:
    return np.where(_line(q) > 0, 1, 0), np.ones(len(q["cart_position"]), bool)


def _cartpole_reward(q: Q, after: Q) -> Any:
    tilt = np.abs(after["pole_angle"] + 0.2 * after["pole_v"]) / 0.2
    off = np.abs(after["cart_position"] + 0.8 * after["cart_v"]) / 2.4
    better = np.clip(np.abs(_line(q)) - np.abs(_line(after)), -0.3, 0.3)
    total = np.clip(0.7 - 0.5 * np.minimum(tilt, 2) - 0.5 * np.minimum(off, 1.5) + better, -1, 1)
    return np.where((np.abs(after["pole_angle"]) > 0.2095) | (np.abs(after["cart_position"]) > 2.4), -1.0, total)


def _mountain_car(q: Q, own: Any) -> tuple[Any, Any]:
    p = q["position"]
    turn = np.minimum(-0.09 * (p + 0.25) ** 2 + 0.03, 0.3 * (p + 0.9) ** 4 - 0.008)
    return np.where(q["velocity"] > turn, 2, 0), np.ones(len(p), bool)


def _mountain_car_reward(q: Q, after: Q) -> Any:
    def energy(z: Q) -> Any:
        return 0.5 * z["velocity"] ** 2 + 0.0025 / 3 * np.sin(3 * z["position"])

    gained = np.clip(1.5e4 * (energy(after) - energy(q)), -0.8, 0.8)
    return np.where(after["position"] >= 0.5, 1.0, gained)


def _pendulum(q: Q, own: Any) -> tuple[Any, Any]:
    theta, w = np.arctan2(q["sin_theta"], q["cos_theta"]), q["angular_velocity"]
    hold = (np.abs(theta) < 1.2) & (np.abs(w / 3.873 + 2 * np.sin(theta / 2)) < 0.42)
    way = np.where(np.abs(w) > 0.05, np.sign(w), np.where(q["sin_theta"] >= 0, 1.0, -1.0))
    pump = np.clip(3 * (5.05 - (w**2 / 6 + 5 * q["cos_theta"])), -2, 2) * way
    torque = np.clip(np.where(hold, -(12 * theta + 2.5 * w), pump), -2, 2)
    return torque[:, None], np.ones(len(w), bool)


def _pendulum_reward(q: Q, after: Q) -> Any:
    def short(z: Q) -> Any:
        return np.abs(5 - (z["angular_velocity"] ** 2 / 6 + 5 * z["cos_theta"]))

    theta = np.arctan2(after["sin_theta"], after["cos_theta"])
    near = 1 - 2 * np.clip((theta**2 + 0.1 * after["angular_velocity"] ** 2) / 12, 0, 1)
    return 0.5 * near + 0.5 * np.clip((short(q) - short(after)) / 0.4, -1, 1)


def _pong(q: Q, own: Any) -> tuple[Any, Any]:
    y, v = q["own_y"], q["own_v"]
    coming = (q["ball_vx"] > 0) & np.isfinite(q["arrival_y"]) & (q["ball_x"] < 144)
    arrival = np.where(coming, q["arrival_y"], 113.0)
    target = np.where(coming, arrival - 5.5 * np.where(arrival >= y, 1, -1), 113 + 0.3 * (q["ball_y"] - 113))
    dead = 4 + 0.25 * np.abs(v) + np.where(coming, 0, 7)
    miss = target - (y + 0.9 * v)
    actions = np.where(miss > dead, 2, np.where(miss < -dead, 1, 0))
    return actions, (q["in_play"] > 0.5) & (coming | (q["ball_vx"] < 0))


def _pong_reward(q: Q, after: Q) -> Any:
    def near(z: Q) -> tuple[Any, Any]:
        seen = (z["in_play"] > 0.5) & (z["ball_vx"] > 0) & np.isfinite(z["arrival_y"])
        apart = np.abs(np.where(seen, z["arrival_y"], 0) - (z["own_y"] + 0.9 * z["own_v"]))
        return -np.clip((apart - 5) / 60, 0, 1), seen

    (before, seen), (then, seen_then) = near(q), near(after)
    live, live_then, coming = q["in_play"] > 0.5, after["in_play"] > 0.5, q["ball_vx"] > 0
    total = np.where(seen & seen_then, then - before, 0.0)
    returned = live & live_then & coming & (after["ball_vx"] < 0) & (after["ball_x"] > 100)
    total += np.where(returned, 0.5 + 0.3 * np.clip(np.abs(after["ball_vy"]) / 8, 0, 1), 0)
    close = coming & live & (q["ball_x"] <= 146)
    lost = close & np.where(live_then, after["ball_x"] > 146, q["ball_x"] > 120)
    won = live & ~live_then & (q["ball_vx"] < 0) & (q["ball_x"] < 60)
    return np.where(won, 1.0, np.where(lost, -1.0, np.clip(total, -1, 1)))


def _cost(off: Any) -> Any:
    apart = np.abs(off)
    return np.abs(apart - 6.5) + np.where(apart > 7.7, 3 * (apart - 7.7), 0)


def _pushed(off: Any, t: Any) -> Any:
    shift = _shift(t)
    return np.minimum(_cost(off + shift), _cost(off - shift)) + np.where(t < 0, 50, 0.7)


def _shift(t: Any) -> Any:
    return 10.5 * np.clip(t, 0, 1) + 10 * np.clip(t - 1, 0, 1) + 3 * np.clip(t - 2, 0, 1)


def _pong_after_feedback(q: Q, own: Any) -> tuple[Any, Any]:
    coming = (q["ball_vx"] > 0) & np.isfinite(q["arrival_y"]) & np.isfinite(q["arrival_steps"])
    aim, t = np.where(coming, q["arrival_y"], 113.0), np.where(coming, q["arrival_steps"], 99.0)
    way, speed = np.sign(q["own_v"]), np.abs(q["own_v"])
    glide = np.select(
        [speed < 3.5, speed < 8, speed < 10.5, speed < 12, speed < 16], [0.2 * speed, 15, 8, 12, 3.5], 14
    )
    rest = q["own_y"] + way * glide
    miss, moving = aim - rest, speed >= 3.5
    n = np.arange(-5, 6)
    off, part = rest[:, None] + 23.5 * n - aim[:, None], (t % 1)[:, None]
    price = np.minimum(_cost(off), np.minimum(_pushed(off, part), _pushed(off, part + 1)))
    price = price + 0.6 * np.abs(n) + np.where(3 * np.abs(n) > t[:, None] + 1, 5 * np.abs(n), 0)
    planned = np.sign(n[np.argmin(price, axis=1)])
    home = np.where(np.abs(miss) < 14, 0, np.sign(miss))
    early = np.where(coming, planned, home)
    early = np.where(moving, np.where((np.sign(miss) == way) & (np.abs(miss) > 21), way, 0), early)
    off = rest - aim
    stay = np.minimum(_cost(off), np.minimum(_pushed(off, t - 1), _pushed(off, t - 2)) + 0.2)
    last = np.argmin([stay, _cost(off - _shift(t)) + 0.7, _cost(off + _shift(t)) + 0.7], axis=0)
    late = np.where(moving, np.where(np.abs(miss) > 9, np.sign(miss), 0), np.array([0, -1, 1])[last])
    push = np.where(t < 3, late, early)
    return np.where(push > 0, 2, np.where(push < 0, 1, 0)), q["in_play"] > 0.5


def _pong_after_feedback_reward(q: Q, after: Q) -> Any:
    def near(z: Q) -> tuple[Any, Any]:
        seen = (z["ball_vx"] > 0) & np.isfinite(z["arrival_y"]) & (z["in_play"] > 0.5)
        apart = np.abs(z["own_y"] + 0.9 * z["own_v"] - np.where(seen, z["arrival_y"], 0))
        return -np.clip(np.abs(apart - 6.5) / 80, 0, 1), seen

    (before, seen), (then, seen_then) = near(q), near(after)
    total = np.where(seen & seen_then, np.clip(2 * (then - before), -0.4, 0.4), 0)
    both = (q["in_play"] > 0.5) & (after["in_play"] > 0.5)
    steep = np.clip(np.abs(after["ball_vy"]) / 12, 0, 1)
    fast = np.clip((np.abs(after["ball_vx"]) - 4) / 4, 0, 1)
    total = np.where(both & (q["ball_vx"] > 0) & (after["ball_vx"] < 0), 0.4 + 0.3 * steep + 0.2 * fast, total)
    ended = (q["in_play"] > 0.5) & (after["in_play"] < 0.5)
    return np.where(ended, np.where(q["ball_vx"] > 0, -1.0, 1.0), total)


def _hopper_residual(q: Q, own: Any) -> tuple[Any, Any]:
    thigh = q["hip"] - q["lean"]
    shin = thigh + q["knee"]
    foot = shin + q["ankle"]
    joint = q["height"] - 0.2 * np.cos(q["lean"]) - 0.45 * np.cos(thigh) - 0.5 * np.cos(shin)
    contact = np.minimum(joint + 0.26 * np.sin(foot), joint - 0.13 * np.sin(foot)) < 0.08
    hip = own[:, 0] - q["lean"] - 0.3 * q["lean_v"]
    ankle = own[:, 2] - 1.6 * contact * np.clip(q["vx"] - 1, 0, 1)
    return np.stack([np.clip(hip, -1, 1), own[:, 1], np.clip(ankle, -1, 1)], 1), np.ones(len(hip), bool)


def _hopper_residual_reward(q: Q, after: Q) -> Any:
    return np.clip(0.3 * after["vx"] - 2 * np.abs(after["lean"]) - (after["height"] < 0.9), -1, 1)


ACTS: dict[str, Callable[[Q, Any], tuple[Any, Any]]] = {
    "acrobot": _acrobot,
    "cartpole": _cartpole,
    "mountain_car": _mountain_car,
    "pendulum": _pendulum,
    "pong": _pong,
    "pong_after_feedback": _pong_after_feedback,
    "hopper_residual": _hopper_residual,
    **BODY_ACTS,
}
REWARDS: dict[str, Callable[[Q, Q], Any]] = {
    "acrobot": _acrobot_reward,
    "cartpole": _cartpole_reward,
    "mountain_car": _mountain_car_reward,
    "pendulum": _pendulum_reward,
    "pong": _pong_reward,
    "pong_after_feedback": _pong_after_feedback_reward,
    "hopper_residual": _hopper_residual_reward,
    **BODY_REWARDS,
}
