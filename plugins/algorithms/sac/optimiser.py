"""Adam as `sac.py` uses it, and its moments as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from ultra_agents.records import Array


def adam_of(parameters: Iterable[torch.Tensor], learning_rate: float) -> torch.optim.Adam:
    """Adam with torch's (and the paper's) defaults, in one call per step."""
    return torch.optim.Adam(list(parameters), lr=learning_rate, fused=True)


def moments(adam: torch.optim.Adam) -> dict[str, Array]:
    """Copies of what Adam remembers: `index of the parameter/slot`; nothing before its first step."""
    state = adam.state_dict()["state"]
    return {
        f"{index}/{slot}": np.array(value.numpy()) for index, slots in state.items() for slot, value in slots.items()
    }


def load_moments(adam: torch.optim.Adam, arrays: Mapping[str, Array]) -> None:
    """Inverse of `moments`."""
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in arrays.items():
        index, slot = name.split("/")
        slots.setdefault(int(index), {})[slot] = torch.from_numpy(np.array(array))
    adam.load_state_dict({"state": slots, "param_groups": adam.state_dict()["param_groups"]})


def below(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
