"""The trained policies that ship, as experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.records import Array

from .._mlp import load_expert


class ShippedExpert(Environment):
    """A task for which a strong policy ships; named before the other bases."""

    policy_files: ClassVar[str]

    def expert(self) -> Callable[[Array], Array]:
        """The mean action of that policy; the sparse version's is the same."""
        outputs = load_expert(self.policy_files, type(self).__name__)
        return lambda observations: np.clip(outputs(observations), -1, 1).astype(np.float32)
