"""MuJoCo tasks of Gymnasium's version 5 with dense or sparse reward: Hopper, Walker2d, HalfCheetah, Reacher."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
from pydantic import Field

from ultra_agents.contracts import Brief, Environment, Options, Quantity, ReferenceReturns
from ultra_agents.records import Array, FloatArray, Scalar

from .._box_actions import BoxActions
from .._mlp import shipped
from . import naming
from .draw import side_view, top_view
from .oracle import ShippedExpert
from .vector import (
    Locomotion,
    LocomotionVectorEnv,
    MujocoOptions,
    MujocoVectorEnv,
    Physics,
    ReacherVectorEnv,
)
from .wording import RunnerWords, reacher_in_words

RICE = "reference: best mean in RICE (arXiv 2405.03064, table 1), there on version"


class RunnerOptions(MujocoOptions):
    """Options of the tasks that are about running forward."""

    reward: Literal["dense", "sparse"] = Field(
        "dense", description="dense: Gymnasium's reward on every step; sparse: that reward beyond a line, 0 before it"
    )


class ReacherOptions(MujocoOptions):
    """Options of `Reacher`."""

    max_steps: int = Field(50, ge=1, description="steps after which an episode is truncated")
    reward: Literal["dense", "sparse"] = Field(
        "dense", description="dense: Gymnasium's; sparse: 1 for each step with the fingertip within the radius"
    )
    radius: float = Field(0.02, gt=0, le=0.4, description="m from the target that count as success, sparse only")


class MujocoEnvironment(Environment):
    """What all tasks share; observations are Gymnasium's, float64 and unbounded, actions are torques in [-1, 1].

    Bit-identical to Gymnasium's environment of the same version. Snapshots hold MuJoCo's complete integration state,
    the solver's warm start included, with clock, generator and the observation: 0.5 to 1 kB.
    """

    gym_id: ClassVar[str]
    policy_files: ClassVar[str]
    obs_dim: ClassVar[int]
    joints: ClassVar[tuple[str, ...]]
    physics: ClassVar[Physics]
    options: Any

    @property
    def env_id(self) -> str:
        """Gymnasium's id; the sparse version and another time limit are named in it."""
        usual = type(self.options).model_fields["max_steps"].default
        limit = "" if self.options.max_steps == usual else f"-{self.options.max_steps}steps"
        return self.gym_id + ("-sparse" if self.options.reward == "sparse" else "") + limit

    @cached_property
    def observation_space(self) -> gymnasium.Space[Any]:
        """As Gymnasium has it."""
        return gymnasium.spaces.Box(-np.inf, np.inf, (self.obs_dim,), np.float64)

    @cached_property
    def action_space(self) -> gymnasium.Space[Any]:
        """A torque for each joint, as a share of the strongest one."""
        return gymnasium.spaces.Box(-1.0, 1.0, (len(self.joints),), np.float32)

    @cached_property
    def actions(self) -> BoxActions:
        """`rest`, and torques by joint."""
        one = np.ones(len(self.joints))
        return BoxActions(self.joints, self.presets(), -one, one)

    def policies(self) -> Mapping[str, Path]:
        """`suboptimal`: where refinement starts; `expert`: the oracle, where one was trained. None for odd options.

        All were trained on the dense reward; the sparse version's are the same networks, scored there.
        """
        version = {self.gym_id: "", f"{self.gym_id}-sparse": "_sparse"}.get(self.env_id)
        return {} if version is None else shipped(self.policy_files + version)

    @abstractmethod
    def presets(self) -> Sequence[Sequence[float]]:
        """The actions that are listed by name, rest first."""

    def snapshot(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int]) -> list[bytes]:
        """The complete state of the worlds at `indices`."""
        assert isinstance(envs, MujocoVectorEnv)
        return [envs.snapshot(index) for index in indices]

    def restore(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Put `snapshots` into the worlds at `indices`."""
        assert isinstance(envs, MujocoVectorEnv)
        return envs.restore(indices, snapshots)


class Runner(MujocoEnvironment):
    """What Hopper, Walker2d and HalfCheetah share.

    Observation: positions without x (height of the torso in m, its lean in rad, then each joint's angle in rad), then
    the velocities of x, height, lean and joints. Information: `x_position` (m), `x_velocity` (m/s).

    The sparse version pays the whole dense reward (progress, survival, cost of torques) while the torso is beyond the
    line and nothing before it. RICE (appendix on sparse MuJoCo) says only that progress is rewarded beyond the line; a
    survival bonus before it would leave the task dense.
    """

    Options: ClassVar[type[Options]] = RunnerOptions
    options: RunnerOptions
    physics: ClassVar[Locomotion]
    words: ClassVar[RunnerWords]
    feet: ClassVar[dict[str, str]]
    scales: ClassVar[tuple[float, ...]]
    centres: ClassVar[tuple[float, ...]]
    returns: ClassVar[tuple[ReferenceReturns, ReferenceReturns]]

    def make(self, num_envs: int) -> LocomotionVectorEnv:
        """Build `num_envs` worlds in this process."""
        sparse = self.options.reward == "sparse"
        return LocomotionVectorEnv(
            num_envs, self.physics, self.options, sparse, self.observation_space, self.action_space
        )

    @property
    def brief(self) -> Brief:
        """The environment in words."""
        return self.words.brief(
            self.options.reward == "sparse", self.options.max_steps, self.actions.names, self._named
        )

    def describe(self, observation: Array, info: Mapping[str, Scalar]) -> str:
        """Height, lean, speed, where the feet are, joint angles and stops."""
        return self.words.describe(observation, info, self._named)

    def features(self, observations: Array) -> FloatArray:
        """Every observation over its usual spread, within +-10."""
        centres, scales = self._usual
        values = np.asarray(observations, np.float64)
        if not math.isfinite(float(values.sum())):
            values = np.nan_to_num(values, posinf=1e9, neginf=-1e9)
        scaled = (values - centres) / scales
        return np.minimum(np.maximum(scaled, -10.0), 10.0).astype(np.float32)

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        """The observation by name, and how the feet stand, from the model's geometry."""
        return self._named.of(observations)

    @property
    def legend(self) -> Mapping[str, Quantity]:
        """Units, signs, and where joints stop."""
        return self._named.legend

    @cached_property
    def _named(self) -> naming.RunnerNames:
        return naming.RunnerNames(self.words, self.physics, self.feet, self.centres, self.scales)

    @cached_property
    def _usual(self) -> tuple[FloatArray, FloatArray]:
        return np.array(self.centres), np.array(self.scales)

    @property
    def reference_returns(self) -> ReferenceReturns:
        """Random play as measured here; a good policy's figure from the literature."""
        return self.returns[self.options.reward == "sparse"]

    def render(self, envs: gymnasium.vector.VectorEnv, index: int) -> Array:
        """Seen from the side, `(240, 320, 3)`; drawn without OpenGL."""
        assert isinstance(envs, MujocoVectorEnv)
        line = self.physics.line if self.options.reward == "sparse" else None
        return side_view(envs.model, envs.qpos[index], line)


def _leg_presets(pairs: Sequence[tuple[int, int]], count: int) -> list[list[float]]:
    """Rest, each joint alone, and each pair of matching joints together and against each other, at full torque."""
    found = [[0.0] * count]
    for joint, sign in product(range(count), (1.0, -1.0)):
        found.append([sign if index == joint else 0.0 for index in range(count)])
    for (one, other), sign, second in product(pairs, (1.0, -1.0), (1.0, -1.0)):
        found.append([sign if i == one else second if i == other else 0.0 for i in range(count)])
    return found


class Hopper(ShippedExpert, Runner):
    """One leg hopping forward; episodes end when it falls."""

    gym_id = "Hopper-v5"
    policy_files = "hopper"
    obs_dim = 11
    joints = ("hip", "knee", "ankle")
    feet: ClassVar = {"": "foot"}
    physics = Locomotion("hopper.xml", 4, height=(0.7, math.inf), lean=0.2, bound=100.0, velocity_clip=10.0, line=0.6)
    words = RunnerWords(
        body="a one-legged robot (torso, thigh, shin, foot)",
        joints=joints,
        step_ms=8,
        height=(0.7, None),
        lean=0.2,
        line=0.6,
        forward=1,
        hold="5 to 20 steps (40 to 160 ms)",
        rest_height=1.25,
    )
    centres = (1.2, 0.0, -0.3, -0.3, 0.1, 1.5, 0.0, 0.0, 0.0, 0.0, 0.0)
    scales = (0.2, 0.1, 0.3, 0.4, 0.4, 1.0, 1.2, 1.5, 3.0, 4.0, 5.0)
    returns = (
        ReferenceReturns(16.0, 3664.0, f"random: 103 episodes of uniform actions here, s.e. 1.7; {RICE} 3"),
        ReferenceReturns(0.1, 3664.0, f"random: 103 episodes of uniform actions here, s.e. 0.1; {RICE} 3, dense"),
    )

    def presets(self) -> list[list[float]]:
        """Every combination of no torque and full torque both ways."""
        return [list(each) for each in product((0.0, 1.0, -1.0), repeat=3)]


class Walker2d(ShippedExpert, Runner):
    """Two legs walking forward; episodes end when it falls."""

    gym_id = "Walker2d-v5"
    policy_files = "walker2d"
    obs_dim = 17
    joints = ("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle")
    feet: ClassVar = {"right_": "foot", "left_": "foot_left"}
    physics = Locomotion("walker2d_v5.xml", 4, height=(0.8, 2.0), lean=1.0, velocity_clip=10.0, line=0.6)
    words = RunnerWords(
        body=(
            "a two-legged robot (torso of 3.7 kg, 20 cm from hip to centre; two legs, each with a thigh of 45 cm and "
            "4.1 kg, a shin of 50 cm and 2.8 kg and a foot of 3.2 kg that reaches 20 cm ahead of the ankle)"
        ),
        joints=joints,
        step_ms=8,
        height=(0.8, 2.0),
        lean=1.0,
        line=0.6,
        forward=1,
        hold="5 to 20 steps (40 to 160 ms)",
        rest_height=1.25,
    )
    centres = (1.2, 0.0, -0.3, -0.3, 0.1, -0.3, -0.3, 0.1, 1.5) + (0.0,) * 8
    scales = (0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 1.5, 1.0, 2.0, 4.0, 4.0, 5.0, 4.0, 4.0, 5.0)
    returns = (
        ReferenceReturns(1.3, 3983.0, f"random: 100 episodes of uniform actions here, s.e. 0.6; {RICE} 3"),
        ReferenceReturns(0.0, 3983.0, f"random: 100 episodes of uniform actions here, all 0; {RICE} 3, dense"),
    )

    def presets(self) -> list[list[float]]:
        """Each joint alone, and right and left together or against each other."""
        return _leg_presets(((0, 3), (1, 4), (2, 5)), 6)


class HalfCheetah(ShippedExpert, Runner):
    """A running animal cut in half lengthwise; it cannot fall, episodes end with the time."""

    gym_id = "HalfCheetah-v5"
    policy_files = "half_cheetah"
    obs_dim = 17
    joints = ("back_hip", "back_knee", "back_ankle", "front_hip", "front_knee", "front_ankle")
    feet: ClassVar = {"back_": "bfoot", "front_": "ffoot"}
    physics = Locomotion("half_cheetah.xml", 5, 14.0, control_cost=0.1, healthy_reward=0.0, reset_noise=0.1, line=5.0)
    words = RunnerWords(
        body="a flat four-part runner with a back and a front leg (thigh, shin and foot each)",
        joints=joints,
        step_ms=50,
        height=None,
        lean=None,
        line=5.0,
        forward=-1,
        hold="2 to 6 steps (100 to 300 ms)",
        rest_height=0.0,
    )
    centres = (0.0, 0.0) + (0.0,) * 6 + (2.0,) + (0.0,) * 8
    scales = (0.15, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 2.0, 1.0, 2.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0)
    returns = (
        ReferenceReturns(-253.0, 2139.0, f"random: 20 episodes of uniform actions here, s.e. 17; {RICE} 3"),
        ReferenceReturns(-4.5, 2139.0, f"random: 20 episodes of uniform actions here, s.e. 5.2; {RICE} 3, dense"),
    )

    def presets(self) -> list[list[float]]:
        """Each joint alone, and back and front together or against each other."""
        return _leg_presets(((0, 3), (1, 4), (2, 5)), 6)


class Reacher(ShippedExpert, MujocoEnvironment):
    """A two-part arm on a table brings its fingertip to a target that is elsewhere in each episode.

    Observation, `(10,)`: cosines and sines of shoulder and elbow, target x and y (m), both angular velocities (rad/s),
    fingertip minus target x and y (m). Information: `distance` (m).

    Sparse: 1 for each step that ends with the fingertip within `radius` of the target (holding it counts, passing it
    pays once), 0 otherwise, and no cost of torques; episodes do not end at the target.
    """

    Options: ClassVar[type[Options]] = ReacherOptions
    options: ReacherOptions
    gym_id = "Reacher-v5"
    policy_files = "reacher"
    obs_dim = 10
    joints = ("shoulder", "elbow")
    physics = Physics("reacher.xml", 2)

    @property
    def env_id(self) -> str:
        """Gymnasium's id; an unusual radius is named in it too."""
        unusual = self.options.reward == "sparse" and self.options.radius != 0.02
        return super().env_id + (f"-radius{self.options.radius:g}" if unusual else "")

    def make(self, num_envs: int) -> ReacherVectorEnv:
        """Build `num_envs` arms in this process."""
        radius = self.options.radius if self.options.reward == "sparse" else None
        return ReacherVectorEnv(
            num_envs, self.physics, self.options, radius, self.observation_space, self.action_space
        )

    @property
    def brief(self) -> Brief:
        """The environment in words."""
        sparse = self.options.reward == "sparse"
        cm = 100 * self.options.radius
        reward = (
            f"1 for every step that ends with the fingertip within {cm:g} cm of the target, 0 otherwise."
            if sparse
            else "On every step minus the distance of the fingertip from the target in m, minus the squared torques."
        )
        return Brief(
            goal="Bring the fingertip of a two-part arm to the target quickly and hold it there.",
            dynamics=(
                "The arm lies flat on a table, seen from above; the shoulder is fixed at the origin, the upper arm is "
                "10 cm long, the forearm with the fingertip 11 cm. One step is 20 ms. Torques turn the joints, "
                "positive counter-clockwise; a moving arm keeps swinging and loses about two thirds of its speed in a "
                "second."
            ),
            actions=(
                "Torque of the joints shoulder and elbow as a share of full torque, -1 to 1; positive turns "
                "counter-clockwise, a joint not mentioned gets none. Named actions: " + _listed(self.actions.names)
            ),
            reward=reward,
            termination=f"After {self.options.max_steps} steps.",
            advice_scale="A step of full torque changes a joint's speed by 200°/s; 1 to 5 steps of 0.3 are usual.",
        )

    def describe(self, observation: Array, info: Mapping[str, Scalar]) -> str:
        """Where the target is from the fingertip, and how the joints stand and turn."""
        elbow = self.legend["elbow"]
        return reacher_in_words(observation, (elbow.low, elbow.high))

    def features(self, observations: Array) -> FloatArray:
        """Cosines and sines, target over 10 cm, angular velocities over 5 rad/s, offset over 10 cm: `(n, 10)`."""
        scales = np.array([1, 1, 1, 1, 0.1, 0.1, 5, 5, 0.1, 0.1])
        values = np.nan_to_num(np.asarray(observations, np.float64), posinf=1e9, neginf=-1e9)
        return np.asarray(np.clip(values / scales, -10, 10), np.float32)

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        """Angles, the target, and where it is from the fingertip."""
        return naming.reacher(observations)

    @property
    def legend(self) -> Mapping[str, Quantity]:
        """Units and signs."""
        return naming.REACHER

    def presets(self) -> list[list[float]]:
        """Every combination of five torques."""
        return [list(each) for each in product((0.0, 0.3, -0.3, 1.0, -1.0), repeat=2)]

    @property
    def reference_returns(self) -> ReferenceReturns:
        """Random play as measured here; a good policy's figure from the literature, or every step on the target."""
        if self.options.reward == "sparse":
            most = float(self.options.max_steps)
            played = "random: 100 episodes of uniform actions here at a radius of 2 cm, s.e. 0.05"
            return ReferenceReturns(0.2, most, f"{played}; reference: every step on the target")
        return ReferenceReturns(-42.6, -2.66, f"random: 100 episodes of uniform actions here, s.e. 0.4; {RICE} 2")

    def render(self, envs: gymnasium.vector.VectorEnv, index: int) -> Array:
        """Seen from above, `(240, 240, 3)`; drawn without OpenGL."""
        assert isinstance(envs, MujocoVectorEnv)
        return top_view(envs.model, envs.qpos[index])


def _listed(names: Sequence[str]) -> str:
    return "; ".join(names) + "."
