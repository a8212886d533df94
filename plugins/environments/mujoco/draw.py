"""MuJoCo bodies drawn with numpy: planar worlds need no OpenGL, and a machine without a display often has none."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from ultra_agents.records import Array, FloatArray

_SKY, _GROUND, _TICK, _LINE = (235, 240, 246), (188, 170, 140), (150, 132, 104), (200, 60, 60)
_CAPSULE, _SPHERE, _CYLINDER = (
    int(kind) for kind in (mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CYLINDER)
)
_COLOURS = ((50, 90, 200), (80, 150, 90), (220, 130, 50), (150, 80, 170), (90, 160, 180), (190, 80, 110), (90, 90, 90))


def side_view(model: Any, positions: FloatArray, line: float | None, height: int = 240, width: int = 320) -> Array:
    """The x-z plane around the torso, 2.4 m high; `line` is marked on the ground."""
    scratch = _posed(model, positions)
    metres = 2.4 / height
    middle, floor = float(scratch.qpos[0]), height - 30
    xs = middle + (np.arange(width) - width / 2) * metres
    zs = (floor - np.arange(height)) * metres
    frame = np.full((height, width, 3), _SKY, np.uint8)
    frame[floor:] = _GROUND
    frame[floor : floor + 8, np.abs(xs - np.round(xs)) < metres] = _TICK
    if line is not None:
        frame[floor - 40 : floor + 8, np.abs(xs - line) < 1.5 * metres] = _LINE
    _bodies(frame, model, scratch, (0, 2), xs, zs)
    return frame


def top_view(model: Any, positions: FloatArray, size: int = 240) -> Array:
    """The x-y plane, 60 cm wide: arm and target."""
    scratch = _posed(model, positions)
    across = (np.arange(size) - size / 2) * (0.6 / size)
    frame = np.full((size, size, 3), _SKY, np.uint8)
    _bodies(frame, model, scratch, (0, 1), across, -across, skip=("root", "sideS", "sideE", "sideN", "sideW"))
    return frame


def _posed(model: Any, positions: FloatArray) -> Any:
    """A scratch copy of the world at these positions `(nq,)`."""
    scratch = mujoco.MjData(model)
    scratch.qpos[:] = positions
    mujoco.mj_kinematics(model, scratch)
    return scratch


def _bodies(
    frame: Array,
    model: Any,
    data: Any,
    axes: tuple[int, int],
    across: FloatArray,
    upward: FloatArray,
    skip: tuple[str, ...] = (),
) -> None:
    """Fill the outlines of all capsules and balls seen along the axis that is left out."""
    points = np.stack(np.broadcast_arrays(across[None, :], upward[:, None]), axis=2)
    for geom in range(model.ngeom):
        kind = int(model.geom_type[geom])
        if kind not in (_CAPSULE, _SPHERE, _CYLINDER) or model.geom(geom).name in skip:
            continue
        centre = data.geom_xpos[geom][list(axes)]
        axis = data.geom_xmat[geom].reshape(3, 3)[list(axes), 2]
        half = axis * (model.geom_size[geom][1] if kind == _CAPSULE else 0.0)
        radius = float(model.geom_size[geom][0])
        along = np.clip(((points - centre) @ half) / max(float(half @ half), 1e-12), -1, 1)
        apart = np.linalg.norm(points - centre - along[..., None] * half, axis=2)
        frame[apart <= radius] = _COLOURS[int(model.geom_bodyid[geom]) % len(_COLOURS)]
