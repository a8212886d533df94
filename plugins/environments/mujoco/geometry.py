"""Where the feet are, from joint angles: the model's own geometry, for many states at once.

A runner moves in a plane, so the height of a point of its body is a sum over the joints above it: each link between
two joints, turned by all angles so far. Two matrix products give every foot of every state.
"""

from __future__ import annotations

from functools import cache

import mujoco
import numpy as np

from ultra_agents.records import FloatArray

from .vector import Physics, load_model


class Feet:
    """The ends of the capsules that are a runner's feet.

    Args:
        physics: Of the task; its model must be a tree of hinges across the x-z plane under a body that slides.
        bodies: Names of the feet in the model.

    Attributes:
        margin: Height below which an end touches the ground, m, `(feet, 1)`.
    """

    def __init__(self, physics: Physics, bodies: tuple[str, ...]) -> None:
        model = load_model(physics)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        hinges = [joint for joint in range(model.njnt) if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE]
        self._rest = float(data.qpos[1])
        chains, ends = [], []
        self._radius, self.margin = np.zeros((len(bodies), 1)), np.zeros((len(bodies), 1))
        for foot, name in enumerate(bodies):
            body = model.body(name).id
            geom = int(model.body_geomadr[body])
            self._radius[foot] = model.geom_size[geom, 0]
            self.margin[foot] = model.geom_margin[geom] + model.geom_margin[model.geom("floor").id]
            along = data.geom_xmat[geom].reshape(3, 3)[:, 2] * model.geom_size[geom, 1]
            above = []
            while body:
                above += [joint for joint in hinges if model.jnt_bodyid[joint] == body]
                body = int(model.body_parentid[body])
            for sign in (-1.0, 1.0):
                chains.append(above[::-1])
                ends.append(data.geom_xpos[geom] + sign * along)
        # One column per link of a chain: which angles turn it, and what its cosine and sine add to which end's height.
        links = [(end, place) for end, chain in enumerate(chains) for place in range(len(chain))]
        self._turns = np.zeros((len(hinges), len(links)))
        self._cosines, self._sines = np.zeros((len(links), len(ends))), np.zeros((len(links), len(ends)))
        for link, (end, place) in enumerate(links):
            chain = chains[end]
            for joint in chain[: place + 1]:
                self._turns[hinges.index(joint), link] = data.xaxis[joint, 1]
            last = place + 1 == len(chain)
            reach = (ends[end] if last else data.xanchor[chain[place + 1]]) - data.xanchor[chain[place]]
            self._cosines[link, end], self._sines[link, end] = reach[2], -reach[0]
        self._above = float(data.xanchor[hinges[0], 2])

    def heights(self, height: FloatArray, angles: FloatArray) -> FloatArray:
        """How high the lowest point of both ends of each foot is over the ground, m: `(n, feet, 2)`.

        Args:
            height: As observed, `(n,)`.
            angles: Lean and joints, rad, `(n, joints + 1)`.
        """
        turned = angles @ self._turns
        ends = np.cos(turned) @ self._cosines + np.sin(turned) @ self._sines
        ends += (height + (self._above - self._rest))[:, None]
        return ends.reshape(len(height), -1, 2) - self._radius


@cache
def feet_of(physics: Physics, bodies: tuple[str, ...]) -> Feet:
    """One per task and process."""
    return Feet(physics, bodies)
