"""The corridor with changes to what its environments return."""

from __future__ import annotations

from ultra_agents.testing.corridor import Corridor, CorridorVectorEnv


class Modified(Corridor):
    """A corridor whose vector environment is tampered with by `tamper`."""

    def tamper(self, envs: CorridorVectorEnv) -> None:
        pass

    def make(self, num_envs: int) -> CorridorVectorEnv:
        envs = super().make(num_envs)
        self.tamper(envs)
        return envs
