"""A training by Stable-Baselines3 as named arrays and JSON, and back: exact, and without a pickle."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import VecNormalize

from ultra_agents.contracts import Modulation
from ultra_agents.records import Array

from .._episodes import RunningEpisodes
from .policy import SB3Policy
from .random_state import PrivateRandomness

COUNTERS = (
    "num_timesteps", "_n_updates", "_episode_num", "_current_progress_remaining", "_n_calls", "exploration_rate",
)  # fmt: skip
"""Plain numbers of a model that change in training, where it has them."""
PLACES = ("_last_obs", "_last_original_obs", "_last_episode_starts")
"""Arrays of a model that say where the running episodes stand; observations as SB3 was given them."""
REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class Training(Protocol):
    """What of a training in progress is taken and set here; `SB3Trainer` is one."""

    model: BaseAlgorithm
    policy: SB3Policy
    normalizer: VecNormalize | None
    episodes: RunningEpisodes
    randomness: PrivateRandomness
    modulation: Modulation | None
    steps: int
    updates: int

    def start(self) -> None:
        """Begin an episode everywhere."""


def take_state(training: Training) -> tuple[dict[str, Array], dict[str, Any]]:
    """Everything needed to go on exactly."""
    model, normalizer = training.model, training.normalizer
    if training.episodes.obs is not None and not training.episodes.can_save:
        _cut_episodes(model)
    weights, description = training.policy.state()
    arrays = {f"policy/{name}": array for name, array in weights.items()}
    for name, optimizer in _optimizers(model).items():
        for index, slots in optimizer.state_dict()["state"].items():
            arrays |= {f"optimizer/{name}/{index}/{slot}": _array(value) for slot, value in slots.items()}
    for name in model._get_torch_save_params()[1]:
        arrays[f"variable/{name}"] = _array(getattr(model, name))
    drawn, randomness = training.randomness.state()
    arrays |= {f"random/{name}": array for name, array in drawn.items()}
    rest: dict[str, Any] = {
        "steps": training.steps,
        "updates": training.updates,
        "description": description,
        "counters": counters(model),
        "random": randomness,
        "actions": model.action_space.np_random.bit_generator.state,
        "modulation": None if training.modulation is None else training.modulation.state(),
    }
    if isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None:
        buffer = model.replay_buffer
        rest["replay"] = {"position": buffer.pos, "full": buffer.full}
        arrays |= {f"replay/{name}": getattr(buffer, name)[: buffer.size()].copy() for name in REPLAY}
    if normalizer is not None:
        rms = normalizer.ret_rms
        rest["rewards"] = {"mean": float(rms.mean), "var": float(rms.var), "count": float(rms.count)}
    arrays |= training.episodes.state()
    if training.episodes.obs is not None:
        arrays |= {f"place/{name}": np.array(getattr(model, name)) for name in PLACES if _kept(model, name)}
        if normalizer is not None:
            arrays["episode/discounted"] = np.array(normalizer.returns)
    return arrays, rest


def load_state(training: Training, arrays: dict[str, Array], rest: dict[str, Any]) -> None:
    """Inverse of `take_state`, into a training that has not begun."""
    model, normalizer, restorable = training.model, training.normalizer, training.episodes.restorable(arrays)
    _load_policy(training, arrays, rest)
    training.steps, training.updates = int(rest["steps"]), int(rest["updates"])
    if restorable:
        with training.randomness.active():
            training.start()
    _load_policy(training, arrays, rest)  # statistics moved when the episodes began
    for name, optimizer in _optimizers(model).items():
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for key, array in _below(f"optimizer/{name}/", arrays).items():
            index, slot = key.split("/")
            slots.setdefault(int(index), {})[slot] = torch.from_numpy(np.array(array))
        optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    for name in model._get_torch_save_params()[1]:
        with torch.no_grad():
            getattr(model, name).copy_(torch.from_numpy(np.array(arrays[f"variable/{name}"])))
    set_counters(model, rest["counters"])
    training.randomness.load_state(_below("random/", arrays), rest["random"])
    model.action_space.np_random.bit_generator.state = rest["actions"]
    if "replay" in rest:
        _load_replay(model, arrays, rest)
    if normalizer is not None:
        for name, value in rest["rewards"].items():
            setattr(normalizer.ret_rms, name, np.asarray(value) if name != "count" else value)
    if not training.updates:
        return
    training.episodes.load(arrays, rest["modulation"], training.updates)
    if restorable:
        for name, array in _below("place/", arrays).items():
            setattr(model, name, np.array(array))
        if normalizer is not None:
            normalizer.returns = np.array(arrays["episode/discounted"])
            normalizer.old_obs = np.array(arrays["obs"])
    else:
        _cut_episodes(model)


def counters(model: BaseAlgorithm) -> dict[str, float]:
    """The model's `COUNTERS`."""
    return {name: float(getattr(model, name)) for name in COUNTERS if hasattr(model, name)}


def set_counters(model: BaseAlgorithm, counted: dict[str, float]) -> None:
    """Inverse of `counters`."""
    for name, value in counted.items():
        setattr(model, name, type(getattr(model, name))(value))


def _load_policy(training: Training, arrays: dict[str, Array], rest: dict[str, Any]) -> None:
    training.policy.load(_below("policy/", arrays), rest["description"])
    if training.normalizer is not None and training.normalizer.norm_obs and training.policy.rms is not None:
        training.normalizer.obs_rms = training.policy.rms  # type: ignore[assignment]


def _load_replay(model: Any, arrays: dict[str, Array], rest: dict[str, Any]) -> None:
    buffer = model.replay_buffer
    for name in REPLAY:
        rows = arrays[f"replay/{name}"]
        getattr(buffer, name)[: len(rows)] = rows
    buffer.pos, buffer.full = int(rest["replay"]["position"]), bool(rest["replay"]["full"])


def _cut_episodes(model: BaseAlgorithm) -> None:
    """The episodes under way are lost: in a replay buffer their last steps end them, as a time limit."""
    buffer = model.replay_buffer if isinstance(model, OffPolicyAlgorithm) else None
    if buffer is not None and buffer.size():
        last = buffer.pos - 1
        buffer.timeouts[last] = np.maximum(buffer.timeouts[last], 1.0 - buffer.dones[last])
        buffer.dones[last] = 1.0


def _optimizers(model: Any) -> dict[str, torch.optim.Optimizer]:
    names = [name for name in model._get_torch_save_params()[0] if name != "policy"]
    return {name: recursive_getattr(model, name) for name in names}


def _kept(model: Any, name: str) -> bool:
    return getattr(model, name, None) is not None


def _array(value: torch.Tensor) -> Array:
    return np.array(value.detach().cpu().numpy())


def _below(prefix: str, arrays: dict[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
