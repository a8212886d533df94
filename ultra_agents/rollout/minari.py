"""Episodes to and from Minari datasets (https://minari.farama.org), the common format of offline episodes.

What goes: observations, actions, rewards, ends, reset seeds, the policy's value estimates (`infos/policy_value`) and
every piece of information that each step has in the same type. What cannot go: simulator states. A dataset therefore
can be explained, but its advice cannot be tested in the simulator.

Minari keeps one observation more than there are actions. The last one is found by playing the last action again from
its snapshot where there is one; else the one before it is repeated, and the dataset's metadata says so.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ultra_agents.contracts import Environment, capabilities
from ultra_agents.contracts.spaces import Actions, actions_of, flat, flat_space, numeric
from ultra_agents.errors import ConfigError, RunError, UltraError
from ultra_agents.records import Array, FloatArray, Scalar, Trajectory
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.version import __version__

VALUE = "policy_value"
"""Name under which the policy's value estimates are kept among the information."""


def export_dataset(
    trajectories: Sequence[Trajectory],
    dataset_id: str,
    environment: Environment,
    simulators: Simulators | None = None,
    root: Path | None = None,
    description: str = "",
    algorithm: str = "",
) -> Path:
    """Write episodes as the Minari dataset `dataset_id`; it appears whole or not at all.

    Args:
        trajectories: The episodes, in order.
        dataset_id: `(namespace/)name-v0`, as Minari has it.
        environment: What they were played in.
        simulators: At least one environment, to find each episode's last observation; None repeats the one before.
        root: Folder of all datasets; Minari's own by default (`MINARI_DATASETS_PATH`, or `~/.minari/datasets`).
        description: For people.
        algorithm: What played.

    Returns:
        The dataset's folder.

    Raises:
        ConfigError: Minari is not installed, or the id is not one.
        RunError: The dataset exists already, or cannot be written.
    """
    _needed()
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    folder = _place(dataset_id, root)
    if folder.exists():
        raise RunError(f"the dataset {folder} exists already", hint="export under another name or version (-v1)")
    last = _last_observations(trajectories, simulators)
    ends = [trajectory.observations[-1:] for trajectory in trajectories] if last is None else last
    shared = _shared_infos(trajectories)
    everything = {key for trajectory in trajectories for info in trajectory.infos for key in info}
    about = {
        "version": __version__, "env_id": environment.env_id, "snapshots": "left out",
        "last_observation": "repeated" if last is None else "replayed",
        "infos_left_out": sorted(everything - set(shared)),
        "cut": [index for index, one in enumerate(trajectories) if not (one.terminated or one.truncated)],
    }  # fmt: skip
    metadata: dict[str, Any] = {
        "dataset_id": dataset_id, "minari_version": version("minari"), "ultra_agents": about,
        "description": description or f"episodes of {environment.env_id}, exported by ultra-agents {__version__}",
        "requirements": [f"ultra-agents=={__version__}"],
        **({"algorithm_name": algorithm} if algorithm else {}),
    }  # fmt: skip
    if "reference_returns" in capabilities(environment):
        known = environment.reference_returns
        metadata |= {"ref_min_score": known.random, "ref_max_score": known.reference}
    draft: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        draft.chmod(0o755)
        storage = MinariStorage.new(
            draft / "data", environment.observation_space, environment.action_space, jpeg_encoding=False
        )
        storage.update_metadata(metadata)
        storage.update_episodes(
            EpisodeBuffer(
                seed=trajectory.seed,
                observations=np.concatenate([trajectory.observations, end]),
                actions=trajectory.actions,
                rewards=trajectory.rewards,
                terminations=_ends(trajectory, trajectory.terminated),
                truncations=_ends(trajectory, trajectory.truncated or not trajectory.terminated),
                infos=_infos(trajectory, shared),
            )
            for trajectory, end in zip(trajectories, ends, strict=True)
        )
        draft.rename(folder)
    except (OSError, NotImplementedError) as error:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
        raise RunError(f"cannot write the dataset {folder}", found=f"{type(error).__name__}: {error}") from error
    return folder


def import_dataset(
    dataset_id: str,
    environment: Environment,
    root: Path | None = None,
    episodes: int | None = None,
    on_note: Callable[[str], None] | None = None,
) -> list[Trajectory]:
    """Read the first `episodes` whole episodes of a Minari dataset; they have no snapshots.

    Where the dataset is not one of ours, seeds that were not kept are -1 and values are zeros. Observations and
    actions are flattened as Gymnasium's environments are (`contracts.spaces`). An episode that is not whole (its last
    observation is missing, numbers are not finite) is left out; `on_note` is told how many were.

    Raises:
        ConfigError: Minari is not installed, the id is not one, or the dataset is of another environment.
        RunError: There is no such dataset, or it is damaged.
    """
    _needed()
    from minari.dataset.minari_storage import MinariStorage

    folder = _place(dataset_id, root)
    if not (folder / "data").is_dir():
        there = sorted(str(path.parent.parent.relative_to(folder.parents[dataset_id.count("/")]))
                       for path in folder.parents[dataset_id.count("/")].glob("**/data/metadata.json"))  # fmt: skip
        raise RunError(
            f"there is no dataset {folder}",
            expected=f"one of: {', '.join(there)}" if there else None,
            hint=f"fetch it: minari download {dataset_id}; or name the folder of datasets: --root DIR",
        )
    try:
        storage = MinariStorage.read(folder / "data")
        spaces = _Spaces.of(storage.observation_space, storage.action_space, environment, dataset_id)
        cut = (storage.metadata.get("ultra_agents") or {}).get("cut", [])
        made: list[Trajectory] = []
        broken: list[str] = []
        for index in range(storage.total_episodes):
            if len(made) == episodes:
                break
            (seed,) = (row.get("seed") for row in storage.get_episode_metadata([index]))
            try:
                (row,) = storage.get_episodes([index])
                made.append(_trajectory(len(made), row, seed, index in cut, spaces))
            except _NotWhole as problem:
                broken.append(f"episode {index} has {problem}")
    except UltraError:
        raise
    except Exception as error:
        raise RunError(
            f"the dataset {folder} cannot be read",
            found=f"{type(error).__name__}: {error}",
            expected="a Minari dataset of arrays (Box or Discrete spaces)",
        ) from error
    if not made:
        raise RunError(f"the dataset {folder} holds no whole episode", found=broken[0] if broken else "it is empty")
    if broken and on_note is not None:
        on_note(f"{len(broken)} of {len(made) + len(broken)} episodes are not whole and were left out: {broken[0]}")
    return made


class _NotWhole(Exception):
    """An episode cannot be used; says why."""


def _needed() -> None:
    try:
        import h5py  # noqa: F401
        import minari  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "Minari datasets need the packages minari and h5py",
            found=f"{type(error).__name__}: {error}",
            hint="pip install 'ultra-agents[minari]'",
        ) from error


def _place(dataset_id: str, root: Path | None) -> Path:
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage.datasets_root_dir import get_dataset_path

    try:
        parse_dataset_id(dataset_id)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{dataset_id!r} is not the id of a Minari dataset",
            expected="(namespace/)name-v0: letters, digits, - and _, a version at the end",
        ) from error
    return Path(get_dataset_path(dataset_id)) if root is None else root / dataset_id


def _last_observations(trajectories: Sequence[Trajectory], simulators: Simulators | None) -> list[Array] | None:
    """What followed each episode's last action, `(1, ...)` each; None where it cannot be found."""
    if simulators is None or not simulators.can_snapshot:
        return None
    found = []
    simulators.reset(seed=list(range(simulators.num_envs)))
    for trajectory in trajectories:
        if trajectory.snapshots is None:
            return None
        simulators.restore([0], [trajectory.snapshots[-1]])
        actions = np.repeat(trajectory.actions[-1:], simulators.num_envs, axis=0)
        observations, _, terminated, truncated, info = simulators.step(actions)
        ended = bool(terminated[0] or truncated[0])
        found.append(np.asarray(info["final_obs"][0] if ended else observations[0])[None])
    return found


def _ends(trajectory: Trajectory, here: bool) -> Any:
    """False but for the last step. Minari's episodes end: one that was merely cut counts as truncated."""
    flags = np.zeros(len(trajectory), bool)
    flags[-1] = here
    return flags


def _shared_infos(trajectories: Sequence[Trajectory]) -> dict[str, type]:
    """Information every step of every episode has, always in one type."""
    kinds: dict[str, set[type]] = {}
    counts: dict[str, int] = {}
    for trajectory in trajectories:
        for info in trajectory.infos:
            for key, value in info.items():
                kinds.setdefault(key, set()).add(type(value))
                counts[key] = counts.get(key, 0) + 1
    steps = sum(map(len, trajectories))
    usable = {key: next(iter(types)) for key, types in kinds.items() if len(types) == 1 and counts[key] == steps}
    return {key: kind for key, kind in usable.items() if "/" not in key and key not in ("", ".", VALUE)}


def _infos(trajectory: Trajectory, shared: dict[str, type]) -> dict[str, Any]:
    """Columns of length `T + 1`, as Minari has them; the last entry stands beside the last observation."""
    columns: dict[str, Any] = {VALUE: np.append(trajectory.values, trajectory.values[-1])}
    for key, kind in shared.items():
        values = [info[key] for info in trajectory.infos]
        columns[key] = [*values, values[-1]] if kind is str else np.array([*values, values[-1]])
    return columns


@dataclass(frozen=True, eq=False)
class _Spaces:
    """How a dataset's observations and actions become the environment's."""

    inner: gymnasium.Space[Any]
    actions: Actions | None
    """None: as they are."""

    @classmethod
    def of(
        cls,
        observations: gymnasium.Space[Any],
        actions: gymnasium.Space[Any],
        environment: Environment,
        dataset_id: str,
    ) -> _Spaces:
        """Shapes and kinds of numbers, flattened, must be the environment's; bounds may differ."""

        def shape(space: gymnasium.Space[Any]) -> str:
            number = f" of {space.n}" if isinstance(space, gymnasium.spaces.Discrete) else ""
            return f"{type(space).__name__}{number} {space.shape} {space.dtype}"

        expected = shape(environment.observation_space), shape(environment.action_space)
        here = environment.observation_space, environment.action_space
        inner = observations if observations == here[0] else numeric(observations, dataset_id)
        made = None if actions == here[1] else actions_of(actions, dataset_id, np.inf)
        found = shape(flat_space(inner)), shape(actions if made is None else made.space)
        if found != expected:
            raise ConfigError(
                f"the dataset {dataset_id} was recorded in something else than {environment.env_id}",
                found=f"observations {shape(observations)}, actions {shape(actions)}",
                expected=f"observations {expected[0]}, actions {expected[1]}",
                hint="name the environment and the options it was recorded with",
            )
        return cls(inner, made)

    def observations(self, rows: Any) -> Array:
        """The observations of an episode, `(T + 1, ...)`; nested as the dataset has them."""
        if isinstance(self.inner, gymnasium.spaces.Box):
            return np.asarray(rows)
        count = _length(rows)
        return np.stack([flat(self.inner, _at(rows, step)) for step in range(count)])


def _length(rows: Any) -> int:
    """Steps of all parts of nested columns; the shortest counts."""
    parts = rows.values() if isinstance(rows, dict) else rows if isinstance(rows, tuple) else None
    return len(rows) if parts is None else min(_length(part) for part in parts)


def _at(rows: Any, step: int) -> Any:
    """One step of nested columns."""
    if isinstance(rows, dict):
        return {key: _at(part, step) for key, part in rows.items()}
    return tuple(_at(part, step) for part in rows) if isinstance(rows, tuple) else rows[step]


def _trajectory(index: int, row: dict[str, Any], seed: Any, cut: bool, spaces: _Spaces) -> Trajectory:
    rewards: FloatArray = np.asarray(row["rewards"], np.float64)
    steps = len(rewards)
    observations, actions = spaces.observations(row["observations"]), np.asarray(row["actions"])
    if len(observations) != steps + 1 or len(actions) != steps or steps == 0:
        raise _NotWhole(f"{len(observations)} observations and {len(actions)} actions for {steps} rewards")
    if spaces.actions is not None:
        actions = spaces.actions.from_inner(actions)
    for name, values in (("observations", observations), ("rewards", rewards)):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise _NotWhole(f"{name} that are not finite")
    columns = {key: values for key, values in (row["infos"] or {}).items() if np.ndim(values) == 1}
    values = columns.pop(VALUE, np.zeros(steps))
    infos = tuple(
        {key: _scalar(column[step]) for key, column in columns.items() if len(column) >= steps}
        for step in range(steps)
    )
    return Trajectory(
        episode=index,
        seed=-1 if seed is None else int(seed),
        observations=observations[:steps],
        actions=actions,
        rewards=rewards,
        values=np.asarray(values[:steps], np.float64),
        infos=infos,
        terminated=bool(row["terminations"][-1]),
        truncated=bool(row["truncations"][-1]) and not cut,
    )


def _scalar(value: Any) -> Scalar:
    plain = value.item() if isinstance(value, np.generic) else value
    return plain.decode() if isinstance(plain, bytes) else plain
