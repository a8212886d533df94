"""Steps, pictures and policies of a run on demand: what `ultra inspect` shows in addition to a `RunView`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ultra_agents.errors import EnvironmentFault, UltraError
from ultra_agents.records import Array, FloatArray, Trajectory
from ultra_agents.text import clean
from ultra_agents.ui.inspect.run_view import ModelCall, StepView

if TYPE_CHECKING:
    from ultra_agents.contracts import Environment, Policy
    from ultra_agents.rollout.simulators import Simulators
    from ultra_agents.rules.layer import BoundRules
    from ultra_agents.runs import RunFolder

CHARACTERS = 600
"""Longest description of a state."""
FEATURES = 16
"""Most quantities or features shown, of environments whose information has no scalars."""


class RunSource:
    """Answers from the stored trajectories, a simulator made when the first picture is asked for, and the policies.

    Args:
        folder: The run.
        environment: Its environment.
        trajectories: Its episodes.
        conversation: Model calls by segment.
        previous: An earlier reading of the run: its policies are shown until they are read again.
        rules: Those that the run found, where there are some.
    """

    def __init__(
        self,
        folder: RunFolder,
        environment: Environment,
        trajectories: Sequence[Trajectory],
        conversation: Mapping[str, tuple[ModelCall, ...]],
        previous: RunSource | None = None,
        rules: BoundRules | None = None,
    ) -> None:
        self.folder = folder
        self.environment = environment
        self._episodes = {one.episode: one for one in trajectories}
        self._conversation, self._rules = conversation, rules
        self._simulators: Simulators | None = None
        self._policies: dict[str, Policy] = dict(previous._policies) if previous is not None else {}
        self._cached = lru_cache(maxsize=256)(self._frame)

    def step(self, episode: int, step: int) -> StepView:
        """One step."""
        from ultra_agents.plugin_calls import action_word

        trajectory = self._episodes[episode]
        return StepView(
            episode,
            step,
            self._words(trajectory, step),
            clean(action_word(self.environment, trajectory, step)),
            float(trajectory.rewards[step]),
            float(trajectory.values[step]),
            self._choices(trajectory, step),
            self._ruled(trajectory, step),
        )

    def frame(self, episode: int, step: int) -> Array | str:
        """The picture of a step, drawn from its simulator state; or why there is none."""
        return self._cached(episode, step)

    def series(self, episode: int) -> Mapping[str, FloatArray]:
        """The scalars of `Trajectory.infos` by name; else named quantities, else features."""
        trajectory = self._episodes[episode]
        names = [key for key, value in (trajectory.infos[0] if trajectory.infos else {}).items() if _is_number(value)]
        found = {
            clean(name, 16): np.array([float(info.get(name, np.nan)) for info in trajectory.infos]) for name in names
        }
        if not found:
            try:
                found = self._measured(trajectory)
            except Exception:  # a plugin's defect: there are no numbers, everything else is shown
                found = {}
        return found

    def _measured(self, trajectory: Trajectory) -> dict[str, FloatArray]:
        from ultra_agents.contracts import capabilities

        if "quantities" in capabilities(self.environment):
            named = dict(self.environment.quantities(trajectory.observations))
            return {clean(name, 16): np.asarray(named[name], np.float64) for name in list(named)[:FEATURES]}
        features = np.asarray(self.environment.features(trajectory.observations), np.float64)
        return {f"feature {k}": features[:, k] for k in range(min(features.shape[1], FEATURES))}

    def conversation(self, segment: str) -> tuple[ModelCall, ...]:
        """All model calls about a segment."""
        return self._conversation.get(segment, ())

    def read_policies(self) -> None:
        """The starting policy, and the best of every method that has a checkpoint; what cannot be read is left out."""
        from ultra_agents.policies import load_policy

        config = self.folder.config
        for name, path in self._files().items():
            try:
                self._policies[name] = load_policy(path, config.environment.name, self.environment).policy
            except UltraError:
                continue

    def close(self) -> None:
        """Close the simulator."""
        if self._simulators is not None:
            self._simulators.close()
            self._simulators = None

    def _files(self) -> dict[str, Path]:
        from ultra_agents.contracts import capabilities

        policy, start = self.folder.config.policy, self.folder.checkpoint("start")
        files: dict[str, Path] = {}
        if policy.path is not None:
            files["starting"] = policy.path
        elif policy.shipped is not None and "policies" in capabilities(self.environment):
            files["starting"] = dict(self.environment.policies()).get(policy.shipped, start)
        else:
            files["starting"] = start
        for path in sorted(self.folder.checkpoints.glob("*-best.safetensors")):
            files[path.name.removesuffix("-best.safetensors")] = path
        return {name: path for name, path in files.items() if path.is_file()}

    def _choices(self, trajectory: Trajectory, step: int) -> tuple[tuple[str, str], ...]:
        observation = trajectory.observations[step : step + 1]
        found = []
        for name, policy in list(self._policies.items()):
            try:
                action = policy.act(observation, deterministic=True)[0]
                found.append((name, clean(str(self.environment.actions.decode(np.asarray(action))))))
            except Exception as error:  # somebody's algorithm plugin
                found.append((name, f"cannot act: {type(error).__name__}"))
        return tuple(found)

    def _ruled(self, trajectory: Trajectory, step: int) -> str:
        if self._rules is None:
            return ""
        from ultra_agents.stages.rules_overview import action_words

        here = slice(step, step + 1)
        try:
            action = self._rules.over(trajectory.observations[here], trajectory.actions[here])[0][0]
            return clean(action_words(self._rules, action))
        except Exception as error:  # somebody's environment plugin
            return f"cannot be told: {type(error).__name__}"

    def _words(self, trajectory: Trajectory, step: int) -> str:
        from ultra_agents.narration.wording import state_words

        try:
            return clean(state_words(self.environment, trajectory, step, CHARACTERS))
        except UltraError as error:
            return f"({clean(error.problem)})"

    def _frame(self, episode: int, step: int) -> Array | str:
        from ultra_agents.contracts import capabilities
        from ultra_agents.rollout.simulators import make_simulators

        offered, snapshots = capabilities(self.environment), self._episodes[episode].snapshots
        if "render" not in offered:
            return "this environment draws no pictures"
        if "snapshot" not in offered or snapshots is None:
            return "the episodes have no simulator states to draw"
        try:
            if self._simulators is None:
                self._simulators = make_simulators(self.environment, 1, 0)
                self._simulators.reset(seed=[0])
            self._simulators.restore([0], [snapshots[step]])
            frame = np.asarray(self._simulators.render_frame(0))
        except UltraError as error:
            return clean(f"no picture: {error.problem}" + (f" ({error.found})" if error.found else ""), 300)
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
            return f"no picture: {frame.shape} is not (height, width, 3)"
        return frame.astype(np.uint8, copy=False)


def check_fit(folder: RunFolder, environment: Environment, trajectories: Sequence[Trajectory]) -> None:
    """Refuse an environment that is not the one the run was made with.

    Raises:
        EnvironmentFault: It sees or does something else, or calls itself otherwise in a checkpoint.
    """
    from ultra_agents.policies import read_policy_file

    named: Any = None
    for path in sorted(folder.checkpoints.glob("*.safetensors")):
        if re.search(r"-(best|last)\.safetensors$|^start\.", path.name):
            try:
                named = read_policy_file(path)[0]["env_id"]
                break
            except UltraError:
                continue
    shape = trajectories[0].observations.shape[1:]
    found = None
    if named is not None and named != environment.env_id:
        found, expected = named, environment.env_id
    elif shape != environment.observation_space.shape:
        found, expected = f"observations of shape {shape}", str(environment.observation_space)
    if found is not None:
        raise EnvironmentFault(
            f"the environment {folder.config.environment.name!r} is of another version than in {folder.path}",
            found=f"{found} in the run",
            expected=f"{expected} of the plugin installed now",
            hint="install the version that versions.json in the run folder names",
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
