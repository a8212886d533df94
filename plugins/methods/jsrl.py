"""Jump-start reinforcement learning (Uchendu et al. 2023, arXiv 2204.02372): a guide leads, the learner finishes.

The starting policy plays the first h steps of every episode, the policy being trained the rest; h falls in stages from
the length of the guide's episodes to 0, so that the learner first meets states near success.

Differs from the paper:
  - The thresholds are the paper's idea on another measure: h falls to its next stage when the mean return of the last
    `window` training episodes of this stage is at least the best such mean so far (the guide's own to begin with) less
    a `tolerance` share of its size. Training episodes are the mixed policy's own, so nothing is spent on evaluating;
    in the paper separate evaluations decide. `until` bounds it: h falls at least linearly, or an impatient budget
    would end before the learner ever stood alone. `schedule: linear` has nothing but that bound.
  - The learner begins as a copy of the guide (RICE's comparison gives all methods the same start); `learner: fresh`
    is the paper's.
  - The refining algorithm is on-policy: steps of the guide train its value function and not its policy (`mask`),
    where the paper's replay buffer learns from both. An entropy bonus, where the algorithm has one, counts there, too.
  - h starts one stage below the guide's mean episode length, since a learner that never acts learns nothing. An
    episode keeps the h it began with.
"""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ultra_agents.contracts import Learn, Method, Modulated, Options, Policy, Prepared, Setting, Terms
from ultra_agents.records import Array, FloatArray


class JsrlOptions(Options):
    """The `jsrl` section of a configuration."""

    schedule: Literal["thresholds", "linear"] = Field(
        "thresholds", description="the guide's share falls when returns allow and at latest linearly, or just linearly"
    )
    horizon: int | None = Field(None, gt=0, description="environment steps of the guide at first; null: its episodes'")
    stages: int = Field(10, gt=0, description="equal parts in which it falls to 0")
    window: int = Field(16, gt=0, description="episodes of a stage whose mean return is compared")
    tolerance: float = Field(0.05, ge=0, description="share of the best mean return so far that may be missing")
    until: float = Field(0.8, gt=0, le=1, description="share of the budget after which the guide never acts")
    learner: Literal["copy", "fresh"] = Field("copy", description="the learner begins as the guide, or untrained")


class JumpStart:
    """The guide's part, as a `Modulation`.

    Args:
        guide: Plays the first h steps; left alone.
        horizon: Steps of the guide that are divided into stages.
        guide_return: Mean undiscounted return of the guide alone.
        options: Stages and thresholds.
        rng: Draws the guide's actions.
    """

    learn: Learn = "mask"

    def __init__(
        self, guide: Policy, horizon: int, guide_return: float, options: JsrlOptions, rng: np.random.Generator
    ) -> None:
        self._guide, self._horizon, self._options, self._rng = guide, horizon, options, rng
        self._stage, self._best = 1, guide_return
        self._returns: deque[float] = deque(maxlen=options.window)
        self._clear_counts()
        self.begin(0)

    @property
    def horizon(self) -> int:
        """The guide's environment steps in episodes that begin now."""
        return round(self._horizon * (1 - self._stage / self._options.stages))

    def begin(self, num_envs: int) -> None:
        """Episodes start everywhere."""
        self._age, self._sums = np.zeros(num_envs, np.int64), np.zeros(num_envs)
        self._until = np.full(num_envs, self.horizon)
        self._stages = np.full(num_envs, self._stage)

    def set_progress(self, progress: float) -> None:
        """Let h fall to where it has to be at the latest."""
        stages = self._options.stages
        due = min(int(stages * progress / self._options.until + 1e-9) + 1, stages)
        if due > self._stage:
            self._enter(due)

    def act(self, observations: Array, actions: Array) -> Modulated:
        """The guide's actions in the first h steps of an episode, the learner's after."""
        guided = self._age < self._until
        self._age += 1
        self._states += len(actions)
        if not guided.any():
            nothing = np.zeros(len(actions))
            return Modulated(actions, guided, guided, nothing, actions, nothing)
        self._guided += int(np.count_nonzero(guided))
        executed = np.array(actions)
        executed[guided] = self._guide.act(observations, self._rng)[guided]
        return Modulated(executed, guided, guided, guided.astype(np.float64), executed, np.zeros(len(actions)))

    def behaviour_log_prob(self, policy_log_prob: FloatArray, modulated: Modulated) -> FloatArray:
        """The learner's own: guided steps have no policy loss."""
        return policy_log_prob

    def reward(self, rewards: FloatArray, modulated: Modulated, next_observations: Array, ended: Array) -> FloatArray:
        """The environment's, unchanged; episodes are counted."""
        self._sums += rewards
        for index in np.flatnonzero(ended):
            if self._stages[index] == self._stage:
                self._returns.append(float(self._sums[index]))
                self._consider()
        self._age[ended], self._sums[ended] = 0, 0.0
        self._until[ended], self._stages[ended] = self.horizon, self._stage
        return rewards

    def metrics(self) -> dict[str, float]:
        """Since the last call: `override_rate`, the share of the guide's steps; `strength`, h over where it began."""
        share = self._guided / max(self._states, 1)
        self._clear_counts()
        return {"override_rate": share, "strength": self.horizon / self._horizon, "guide_steps": float(self.horizon)}

    def state(self) -> dict[str, Any]:
        """JSON-able state for exact resume."""
        return {
            "stage": self._stage, "best": self._best, "returns": list(self._returns), "age": self._age.tolist(),
            "sums": self._sums.tolist(), "until": self._until.tolist(), "stages": self._stages.tolist(),
            "rng": self._rng.bit_generator.state,
        }  # fmt: skip

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self._stage, self._best = int(state["stage"]), float(state["best"])
        self._returns = deque(state["returns"], maxlen=self._options.window)
        self._age, self._until, self._stages = (np.asarray(state[key], np.int64) for key in ("age", "until", "stages"))
        self._sums = np.asarray(state["sums"], np.float64)
        self._rng.bit_generator.state = state["rng"]

    def _consider(self) -> None:
        """Go on to the next stage if the episodes of this one were good enough."""
        options = self._options
        if options.schedule == "linear" or self._stage >= options.stages or len(self._returns) < options.window:
            return
        mean = float(np.mean(self._returns))
        if mean >= self._best - options.tolerance * abs(self._best):
            self._best = max(self._best, mean)
            self._enter(self._stage + 1)

    def _enter(self, stage: int) -> None:
        self._stage = stage
        self._returns.clear()

    def _clear_counts(self) -> None:
        self._states = self._guided = 0


class JSRL(Method):
    """Guide and learner."""

    Options: ClassVar[type[Options]] = JsrlOptions
    options: JsrlOptions
    name: ClassVar[str] = "jsrl"
    label: ClassVar[str] = "JSRL"
    about: ClassVar[str] = "JSRL: the starting policy begins episodes, a learner ends them"

    def missing(self, terms: Terms) -> list[str]:
        """A policy loss that leaves out the guide's steps."""
        found = super().missing(terms)
        if "mask" not in terms.algorithm.learns:
            found.append(f"the algorithm {terms.algorithm_name!r} cannot leave the guide's steps out (`mask`)")
        return found

    def prepare(self, setting: Setting) -> Prepared:
        """The guide's length and return are those of the collected episodes, which are charged."""
        options, streams, start = self.options, setting.streams.child("jsrl"), setting.start
        lengths = [len(one) for one in setting.trajectories]
        horizon = options.horizon or max(round(float(np.mean(lengths))), 1)
        guide_return = float(np.mean([one.episode_return for one in setting.trajectories]))
        fresh = options.learner == "fresh"
        if fresh:
            spaces = setting.terms.environment.observation_space, setting.terms.environment.action_space
            start = setting.terms.algorithm.create_policy(*spaces, streams.integer("weights"))
        guide = JumpStart(setting.start, horizon, guide_return, options, streams.generator("guide"))
        note = f"the guide leads for {guide.horizon} steps at first"
        return Prepared(start, guide, spent={"collect": sum(lengths)}, note=note, fresh=fresh)
