"""Atari Pong read from RAM: ball, paddles and their velocities instead of pixels, three actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np

from ultra_agents.contracts import Brief, DiscreteActions, Environment, Options, Quantity, ReferenceReturns
from ultra_agents.records import Array, FloatArray, Scalar

from .._mlp import load_expert, shipped
from . import ram as court
from .flight import paddle_in_words
from .vector import PongOptions, PongVectorEnv


class PongGame(Environment):
    """What Pong from RAM and Pong from pixels share: the game, its words, and its state."""

    options: PongOptions

    def _named(self, sees: str) -> str:
        """Id of the task; what the policy sees, frame skip and stickiness are part of it."""
        sticky = f"-sticky{self.options.sticky:g}" if self.options.sticky else ""
        return f"ALE/Pong-{sees}-3-skip{self.options.frame_skip}{sticky}-v1"

    @cached_property
    def action_space(self) -> gymnasium.Space[Any]:
        """STAY, UP, DOWN."""
        return gymnasium.spaces.Discrete(3)

    @property
    def brief(self) -> Brief:
        """The environment in words."""
        skip = self.options.frame_skip
        ms = round(1000 * skip / 60)
        return Brief(
            goal="Win points against the opponent on the left: first to 21 wins. I am the paddle on the right.",
            dynamics=(
                f"One step is {skip} video frames, about {ms} ms. The court is 160 px wide and "
                "160 px high; 'rising' is towards the top. The ball flies straight, 1 px per frame sideways, and "
                "bounces off the top and bottom walls. My paddle is 16 px high: a ball is returned when it arrives at "
                "most 8 px above or 9 px below the paddle's centre, or when the paddle gets there within 4 frames. "
                "Where it hits decides how it leaves (measured): 1 px above to 2 px below the centre level; 2 to 5 px "
                f"above or 3 to 6 below rising or falling {skip} px/step; farther out steeply, {2 * skip} px/step. "
                f"The opponent follows the ball but is slower than a steep one. {paddle_in_words(skip)}"
            ),
            actions="STAY: no push, a moving paddle coasts to rest. UP: push the paddle up. DOWN: push it down.",
            reward="+1 when the opponent misses the ball, -1 when I miss it, 0 otherwise.",
            termination="A game ends when one side has 21 points.",
            advice_scale=(
                "One step moves the paddle 5 to 20 px, so a push of 1 to 4 steps is usual, longer only from far away; "
                "pushes decide a point mostly in the last 5 to 15 steps before the ball arrives. Only missing no ball "
                "wins nothing: points are won by hitting with the paddle's edge."
            ),
        )

    @cached_property
    def actions(self) -> DiscreteActions:
        """STAY, UP, DOWN."""
        return DiscreteActions(("STAY", "UP", "DOWN"))

    @property
    def legend(self) -> Mapping[str, Quantity]:
        """Ball, paddles and where the ball arrives: pixels, agent steps, y downwards."""
        return court.LEGEND

    def segment_kind(self, trajectory_rewards: FloatArray) -> str | None:
        """`point lost`, `point won` or `rally`."""
        if np.any(trajectory_rewards < 0):
            return "point lost"
        return "point won" if np.any(trajectory_rewards > 0) else "rally"

    def snapshot(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int]) -> list[bytes]:
        """The complete state of the games at `indices`, about 300 bytes each."""
        assert isinstance(envs, PongVectorEnv)
        return [envs.snapshot(index) for index in indices]

    def restore(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Put `snapshots` into the games at `indices`."""
        assert isinstance(envs, PongVectorEnv)
        return envs.restore(indices, snapshots)

    @property
    def reference_returns(self) -> ReferenceReturns:
        """Random play as measured here; the best score the rules allow."""
        return ReferenceReturns(
            random=-20.3,
            reference=21.0,
            source="random: mean of 20 episodes of uniform actions, s.e. 0.3; reference: the highest score",
        )

    def render(self, envs: gymnasium.vector.VectorEnv, index: int) -> Array:
        """The screen, `(210, 160, 3)`."""
        assert isinstance(envs, PongVectorEnv)
        return envs.frame(index)


class Pong(PongGame):
    """Pong against the built-in opponent, first to 21 points.

    Observation, `(9,)` float32, see `ram.observe`: ball x, ball y, ball velocity x and y, own y, opponent's y,
    own velocity, opponent's velocity, ball in play (0 or 1); y grows downwards; all within +-2, mostly +-1.

    Actions: 0 STAY, 1 UP, 2 DOWN. Reward: +1 a point won, -1 a point lost, so returns are -21 to 21.

    Information beside each observation, one integer per environment: `ball_x`, `ball_y`, `own_y`, `opponent_y` (screen
    pixels of the centres; the ball is at -1, -1 while there is none), `own_score`, `opponent_score` (points),
    `rally_steps` (agent steps since the serve).

    With `sticky: 0` the emulator itself knows no chance: episodes differ by up to `noop_max` frames of waiting at the
    start only, so a deterministic policy has no more than `noop_max + 1` different episodes.
    """

    Options: ClassVar[type[Options]] = PongOptions
    options: PongOptions

    @property
    def env_id(self) -> str:
        """Id of the task; frame skip and stickiness are part of it."""
        return self._named("RAM")

    @cached_property
    def observation_space(self) -> gymnasium.Space[Any]:
        """Nine numbers, see the class."""
        return gymnasium.spaces.Box(-2.0, 2.0, (len(court.OBSERVATION),), np.float32)

    def make(self, num_envs: int) -> PongVectorEnv:
        """Build `num_envs` emulators in this process (about 80 ms each)."""
        return PongVectorEnv(num_envs, self.options, self.observation_space, self.action_space)

    def describe(self, observation: Array, info: Mapping[str, Scalar]) -> str:
        """Ball relative to the paddle, where it will arrive, and how the paddle moves; pixels and steps."""
        return court.Court.of(observation, self.options.frame_skip).in_words()

    def features(self, observations: Array) -> FloatArray:
        """Ball in play, ball x and y, its velocity, paddle relative to the ball, paddle velocity: `(n, 7)`."""
        x, y, vx, vy, own, _, own_vy, _, seen = np.asarray(observations, np.float32).T
        return np.stack([seen, x, y, vx, vy, 2 * (own - y) * seen, own_vy], axis=1)

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        """Ball, paddles and where the ball arrives, in pixels and agent steps; see `ram.LEGEND`."""
        return court.quantities(observations, self.options.frame_skip)

    def policies(self) -> Mapping[str, Path]:
        """`suboptimal`: where refinement starts (-6.4); `expert`: the oracle (+20.7); scores of sampled actions."""
        return shipped("pong")

    def expert(self) -> Callable[[Array], Array]:
        """The most likely action of the trained policy that ships with the plugin, which wins 21 to 0 that way.

        It was also trained from where the sub-optimal policy leads a game, so that it knows what to do there and not
        on its own path only (`benchmarks/train_pong_policies.py`).

        Raises:
            PolicyError: The policy file is missing or is not one of a three-layer perceptron.
        """
        logits = load_expert("pong", "Pong")
        return lambda observations: np.asarray(np.argmax(logits(observations), axis=-1))
