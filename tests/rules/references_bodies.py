"""The example rules for MuJoCo's bodies once more, as plain numpy, beside those of `references`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ultra_agents.registry import create_environment
from ultra_agents.rules import Interface, interface_of

Q = dict[str, Any]
BODIES = {"walker2d_residual": "walker2d", "half_cheetah_residual": "half-cheetah", "reacher": "reacher"}


def interface(name: str) -> Interface:
    """What a rule for this body may name: the names the environment gives, in its order."""
    return interface_of(create_environment(BODIES[name], {}))


def body_states(name: str, n: int, rng: np.random.Generator) -> Q:
    """Random states, `(n,)` per quantity, wide enough to reach every branch."""
    q = {quantity: rng.normal(0, 0.5, n) for quantity in interface(name).quantities}
    for quantity in q:
        if quantity.endswith("_v"):
            q[quantity] *= 12
        if quantity.endswith("contact") or quantity == "stance":
            q[quantity] = rng.integers(0, 2, n) * 1.0
    if name == "walker2d_residual":
        q["height"] = rng.uniform(0.9, 1.4, n)
    if name == "half_cheetah_residual":
        q["lean"] = rng.choice([0.0, np.pi], n) + rng.normal(0, 0.3, n)
        q["vx"] = rng.normal(1, 2, n)
    if name == "reacher":
        shoulder, elbow = rng.uniform(-3, 3, (2, n))
        x, y = rng.uniform(-0.15, 0.15, (2, n))
        tip = [0.1 * np.cos(shoulder) + 0.11 * np.cos(shoulder + elbow)]
        tip += [0.1 * np.sin(shoulder) + 0.11 * np.sin(shoulder + elbow)]
        q |= dict(shoulder=shoulder, elbow=elbow, target_x=x, target_y=y, offset_x=tip[0] - x, offset_y=tip[1] - y)
        q["distance"] = np.hypot(q["offset_x"], q["offset_y"])
    return q


def _walker2d(q: Q, own: Any) -> tuple[Any, Any]:
    lean = q["lean"]
    rise = np.clip((lean - 0.02) / 0.25, 0, 1)
    back = rise * np.clip(1.2 * (lean - 0.3) + 0.12 * (np.maximum(q["lean_v"], -3) + 0.5), 0, 2)
    aim = np.clip(0.6 * (0.3 + lean), 0, 0.75)
    actions, ground = own.copy(), q["stance"] > 0.5
    for first, side in ((0, "right"), (3, "left")):
        hip, knee, ankle = q[f"{side}_hip"], q[f"{side}_knee"], q[f"{side}_ankle"]
        actions[:, first] -= np.where(ground, back * np.clip((hip + 0.2) / 0.15, 0, 1), 0)
        actions[:, first + 1] += 2 * np.clip(0.03 - knee, 0, 0.5)
        mine = own[:, first + 2]
        held = np.clip(2.5 * (aim - ankle) - 0.06 * q[f"{side}_ankle_v"], -1, 1)
        flying = mine + 0.7 * np.clip((aim - ankle) / 0.2, 0, 1) * (held - mine)
        pushing = mine - 1.1 * np.clip((lean - 0.08) / 0.15, 0, 1) * np.clip((ankle + 0.3) / 0.3, 0, 1)
        actions[:, first + 2] = np.where(ground & (q[f"{side}_contact"] > 0), pushing, flying)
    bounded = np.clip(actions, -1, 1)
    hips = bounded[:, [0, 3]]
    bounded[:, [0, 3]] = np.where(ground[:, None], hips, own[:, [0, 3]])  # in the air no rule names them
    return bounded, np.ones(len(lean), bool)


def _walker2d_potential(q: Q, after: Q) -> Any:
    lean, bent = after["lean"], np.minimum(after["right_knee"], after["left_knee"])
    toes = np.minimum(after["right_ankle"], after["left_ankle"])
    lost = 1.4 * np.maximum(0, lean - 0.2) + 1.2 * np.maximum(0, -lean - 0.2) + 0.6 * np.maximum(0, -0.1 - bent)
    lost += 0.4 * (1 - after["stance"]) * np.maximum(0, 0.2 - toes) + 2 * np.maximum(0, 1.05 - after["height"])
    return np.clip(0.9 - lost, -1, 1)


def _half_cheetah(q: Q, own: Any) -> tuple[Any, Any]:
    angles = np.stack([q["back_hip"], q["back_knee"], q["back_hip_v"], q["back_knee_v"]])
    fits = {  # offset, and by angle and speed of the back hip and knee
        "bh": (-0.09, -1.15, 0.31, 0.027, -0.026),
        "bk": (-0.05, 1.2, -0.215, -0.035, 0.029),
        "fh": (-0.26, -0.07, 0.376, -0.045, -0.015),
        "fk": (-0.03, -0.8, 0.264, -0.026, -0.013),
    }
    fit = {name: np.clip(first + np.array(rest) @ angles, -1, 1) for name, (first, *rest) in fits.items()}
    at = q["back_hip"] / 0.57
    ankle = 0.7 * 0.43 * q["back_knee"]
    lying = np.stack([
        0.8 * own[:, 0] + 0.2 * fit["bh"],
        0.8 * own[:, 1] + 0.2 * fit["bk"],
        0.3 * own[:, 2] + ankle,
        0.6 * own[:, 3] + 0.4 * fit["fh"] + 0.12 - 0.3 * at,
        0.6 * own[:, 4] + 0.4 * fit["fk"] - 0.2 * at - 0.1 * q["back_hip_v"] / 16,
        0.3 * own[:, 5] - ankle,
    ], axis=1)  # fmt: skip
    back, upright = np.cos(q["lean"]) < -0.9, np.cos(q["lean"]) > 0.4
    front = np.where(np.isin(np.arange(6), (3, 4)), np.clip(own, -1, 1), own)  # `dive` is 0 as written
    return np.where(back[:, None], np.clip(lying, -1, 1), front), back | upright


def _half_cheetah_potential(q: Q, after: Q) -> Any:
    legs = (
        0.077 * after["back_hip_v"]
        + 0.016 * after["back_knee_v"]
        + 0.062 * after["front_hip_v"]
        + 0.023 * after["front_knee_v"]
    )
    return np.tanh((after["vx"] - np.cos(after["lean"]) * legs) / 2.5)


def _goals(q: Q) -> tuple[Any, Any]:
    """`(2, n)` turns of the shoulder and of the elbow to the target, the elbow bent one way and the other."""
    x, y = q["target_x"], q["target_y"]
    cosine = np.clip((x**2 + y**2 - 0.1**2 - 0.11**2) / (2 * 0.1 * 0.11), -0.99, 0.99)
    bend = np.arccos(cosine) * np.array([[1], [-1]])
    shoulder = np.arctan2(y, x) - np.arctan2(0.11 * np.sin(bend), 0.1 + 0.11 * np.cos(bend)) - q["shoulder"]
    return (shoulder + np.pi) % (2 * np.pi) - np.pi, bend - q["elbow"]


def _reacher(q: Q, own: Any) -> tuple[Any, Any]:
    s, e = _goals(q)
    steps = np.arange(3, 24)[:, None, None]
    t = 0.02 * steps

    def effort(d: Any, v: Any) -> Any:
        return (12 * d**2 - 12 * d * v * t + 4 * v**2 * t**2) / (800 * t**3)

    cost = (0.045 * (np.abs(s) + 0.55 * np.abs(e)) + 0.3 * q["distance"]) * steps
    cost = cost + effort(s, q["shoulder_v"]) + effort(e, q["elbow_v"])
    shortest, rows = cost.argmin(axis=0), np.arange(len(q["shoulder"]))
    side = np.where(cost.min(axis=0)[0] <= cost.min(axis=0)[1], 0, 1)
    left = 0.02 * (3 + shortest[side, rows])
    turn = q["shoulder"] + q["elbow"]
    slopes = [q["offset_y"] * q["target_x"] - q["offset_x"] * q["target_y"]]
    slopes += [0.11 * (q["offset_y"] * np.cos(turn) - q["offset_x"] * np.sin(turn))]
    torques = []
    for error, speed, slope, kick in zip((s, e), ("shoulder_v", "elbow_v"), slopes, (2.3, 0.2), strict=True):
        planned = (6 * error[side, rows] / left**2 - 4 * q[speed] / left) / 200
        torques.append(np.clip(planned - kick * slope / (q["distance"] + 0.005) * left, -0.9, 0.9))
    return np.stack(torques, axis=1), np.ones(len(rows), bool)


def _reacher_potential(q: Q, after: Q) -> Any:
    s, e = _goals(after)
    off = np.abs(s - 0.03 * after["shoulder_v"]) + 0.55 * np.abs(e - 0.03 * after["elbow_v"])
    return np.clip(1 - 3 * after["distance"] - 0.2 * off.min(axis=0), -1, 1)


BODY_ACTS = {"walker2d_residual": _walker2d, "half_cheetah_residual": _half_cheetah, "reacher": _reacher}
BODY_REWARDS = {
    "walker2d_residual": _walker2d_potential,
    "half_cheetah_residual": _half_cheetah_potential,
    "reacher": _reacher_potential,
}
