"""Episodes of a method that begin at critical states; the mechanism is `ultra_agents.rollout.restarts`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ultra_agents.methods.base import Restarts
from ultra_agents.records import Array
from ultra_agents.rollout.restarts import Restarts as CriticalStarts
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.seeding import Streams

__all__ = ["CriticalStarts", "Watch", "critical_starts"]

Watch = Callable[[Simulators, Callable[[], Array]], None]


def critical_starts(
    states: Callable[[], Sequence[bytes]], probability: float, streams: Streams, watch: Watch | None = None
) -> Restarts:
    """What puts `CriticalStarts` around training environments, for `Prepared.restarts`.

    Args:
        states: The stored states as they are now.
        probability: The chance of one.
        streams: Source of the draws.
        watch: Told of the bare environments, and how to ask which running episodes began at a stored state.
    """

    def around(simulators: Simulators) -> CriticalStarts:
        made = CriticalStarts(simulators, states, probability, streams)
        if watch is not None:
            watch(simulators, lambda: made.restored)
        return made

    return around
