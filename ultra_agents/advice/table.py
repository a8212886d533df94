"""The advice table: which states are covered, what is suggested there, and what it is worth.

ULTRA section 3 keeps (critical state -> suggested action) pairs in a lookup table; how a visited state finds its row
is not stated by the paper. Here rows live in the environment plugin's feature space, each column divided by its spread
over the visited states, and a state matches its nearest row within a radius calibrated to hit a chosen share of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter
from scipy.spatial import cKDTree

from ultra_agents.contracts import Environment
from ultra_agents.records import Advice, Array, FloatArray, Trajectory

_ROW = TypeAdapter(Advice)
Match: TypeAlias = Literal["nearest", "exact"]

EXACT_L1 = 1e-4
"""L1 distance below which two states are one in `exact` matching (EDGE, as in StateMask's re-run of it)."""
LEAF = 16
"""Rows compared one by one at the end of a search."""
MANY = 50_000
"""Rows from which on a search is content with less than the nearest: among a million it takes a third of the time."""
SAME = 1e-6
"""Distance in spreads below which two states are one in `nearest` matching, whatever the radius: in a world of few
states the very states of the table are often enough, and a radius of 0 would match nothing."""


@dataclass(frozen=True, eq=False)
class AdviceTable:
    """Accepted advice as arrays; `m` rows of `k` features.

    Attributes:
        features: `(m, k)` divided by `scale`.
        scale: `(k,)` spread of each feature over the visited states.
        plans: `(m, longest, ...)` the suggested action of every step of the plan, encoded; shorter plans repeat their
            last action.
        holds: `(m,)` steps each plan takes.
        rewards: `(m,)` implicit reward of the suggested action, in [-1, 1].
        taken_actions: `(m, ...)` what the policy did there.
        taken_rewards: `(m,)` implicit reward of that.
        weights: `(m,)` measured gain clipped to [0, 1]; 1 where no test ran.
        radius: Largest distance at which a state matches, as calibrated on the collected episodes or as tested.
        target: Share of visited states the engine keeps hitting by moving the radius; None leaves it alone.
        match: How a state finds its row.
        reach: `(m,)` distance up to which each row was tested, which nothing may exceed; None sets no such limit.
    """

    features: FloatArray
    scale: FloatArray
    plans: Array
    holds: npt.NDArray[np.int64]
    rewards: FloatArray
    taken_actions: Array
    taken_rewards: FloatArray
    weights: FloatArray
    radius: float
    match: Match
    target: float | None = None
    reach: FloatArray | None = None

    def __post_init__(self) -> None:
        # Cells split in the middle of their space, not of their rows: of a million rows of 11 features a state finds
        # its nearest in two thirds of the time.
        tree = cKDTree(self.features, leafsize=LEAF, balanced_tree=False) if len(self.features) else None
        object.__setattr__(self, "_tree", tree)

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def actions(self) -> Array:
        """`(m, ...)` the first action of each plan."""
        return np.asarray(self.plans[:, 0])

    @property
    def same(self) -> float:
        """Distance up to which two states are one, whatever the radius."""
        return EXACT_L1 if self.match == "exact" else SAME

    def __repr__(self) -> str:
        return f"AdviceTable(rows={len(self)}, match={self.match!r}, radius={self.radius:.3g})"

    def lookup(self, features: FloatArray, radius: float | None = None) -> npt.NDArray[np.int64]:
        """Row of the nearest match for each of `(n, k)` unscaled features; -1 where none is within the radius.

        `radius` stands in for the table's own; a row whose own `reach` ends before it is not matched. From `MANY` rows
        on, the row may be up to twice as far as the nearest, and a state is sure to be matched within half the radius
        only.
        """
        tree = self._tree  # type: ignore[attr-defined]
        if tree is None:
            return np.full(len(features), -1, dtype=np.int64)
        distances, rows = tree.query(
            features / self.scale,
            k=1,
            eps=1.0 if len(self) >= MANY and self.match == "nearest" else 0.0,
            p=1.0 if self.match == "exact" else 2.0,
            distance_upper_bound=math.nextafter(max(self.radius if radius is None else radius, SAME), math.inf),
        )
        found: npt.NDArray[np.int64] = rows.astype(np.int64, copy=False)
        found[found == len(self)] = -1
        if self.reach is not None:
            found[distances > np.maximum(self.reach, self.same)[found]] = -1  # -1 stays what it is
        return found


def build_table(
    advice: Sequence[Advice],
    trajectories: Sequence[Trajectory],
    environment: Environment,
    *,
    match: Match = "nearest",
    hit_rate: float = 0.1,
    hit_per_entry: float = 1.0,
    adaptive: bool = True,
    reach: Sequence[float] | None = None,
) -> AdviceTable:
    """Tabulate accepted advice.

    Args:
        advice: Rows; each names an episode and step found in `trajectories`.
        trajectories: The collected episodes: the states of the rows, and the visited states that calibrate
            scale and radius.
        environment: Gives features and encodes actions.
        match: `nearest` within the calibrated radius, or `exact` (L1 distance below 1e-4).
        hit_rate: Share of the visited states that `nearest` shall hit.
        hit_per_entry: The same share, per row: a few rows must not speak for states that are nothing like theirs.
        adaptive: Keep that share while the policy, and with it the visited states, moves away from the episodes.
        reach: By row, the distance up to which it was tested; the calibrated radius holds as well.
    """
    share = min(hit_rate, hit_per_entry * len(advice))
    by_episode = {trajectory.episode: trajectory for trajectory in trajectories}
    visited = environment.features(np.concatenate([t.observations for t in trajectories])).astype(np.float64)
    spread = visited.std(axis=0)
    scale = np.where(spread > 1e-8, spread, 1.0)
    states = [environment.features(by_episode[row.episode].observations[row.step][None])[0] for row in advice]
    features = np.asarray(states, dtype=np.float64).reshape(len(advice), visited.shape[1]) / scale
    if match == "exact":
        radius = EXACT_L1
    elif len(advice):
        distances, _ = cKDTree(features).query(visited / scale, k=1)
        radius = float(np.quantile(distances, share))
    else:
        radius = 0.0
    limits = None if reach is None else np.minimum(np.asarray(reach, dtype=np.float64), radius)
    shape = environment.action_space.shape or ()
    kind = environment.action_space.dtype
    plans, holds = _plans(advice, environment)
    return AdviceTable(
        features=features,
        scale=scale,
        plans=plans,
        holds=holds,
        rewards=np.array([row.reward for row in advice], dtype=np.float64),
        taken_actions=np.array([by_episode[r.episode].actions[r.step] for r in advice], kind).reshape(-1, *shape),
        taken_rewards=np.array([row.taken_reward for row in advice], dtype=np.float64),
        weights=np.array([1.0 if r.test is None else float(np.clip(r.test.gain, 0, 1)) for r in advice]),
        radius=radius if limits is None else float(limits.max(initial=0.0)),
        match=match,
        target=share if adaptive and match == "nearest" else None,
        reach=limits,
    )


def _plans(advice: Sequence[Advice], environment: Environment) -> tuple[Array, npt.NDArray[np.int64]]:
    """The actions `(m, longest, ...)` of every step of each plan, and how many steps `(m,)` it takes."""
    holds = np.array([row.plan.steps for row in advice], dtype=np.int64)
    longest = int(holds.max()) if len(advice) else 1
    shape = (len(advice), longest, *(environment.action_space.shape or ()))
    plans = np.zeros(shape, dtype=environment.action_space.dtype)
    for plan, row in zip(plans, advice, strict=True):
        actions = environment.actions.encode_plan(row.plan.moves)
        plan[: len(actions)], plan[len(actions) :] = actions, actions[-1]
    return plans, holds


def measured_rewards(advice: Sequence[Advice]) -> list[Advice]:
    """Ground implicit rewards in measured gains: the largest absolute gain becomes 1, the policy's own action 0.

    Rows without a test keep the critic's rewards.
    """
    largest = max((abs(row.test.gain) for row in advice if row.test is not None), default=0.0) or 1.0
    return [
        row if row.test is None else replace(row, reward=row.test.gain / largest, taken_reward=0.0) for row in advice
    ]


def advice_to_lines(advice: Sequence[Advice]) -> str:
    """One JSON object per row and line, the content of `advice.jsonl`."""
    return "".join(json.dumps(_ROW.dump_python(row, mode="json"), ensure_ascii=False) + "\n" for row in advice)


def advice_from_lines(text: str) -> list[Advice]:
    """Inverse of `advice_to_lines`."""
    return [_ROW.validate_json(line) for line in text.splitlines()]
