"""What was played before is not played again: returns by policy, kept in a file of the run folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from pydantic import TypeAdapter, ValidationError

from ultra_agents.contracts import Policy
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.records import Returns
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.runs import RunFolder
from ultra_agents.seeding import Streams
from ultra_agents.stages.context import RunContext

_KEPT = TypeAdapter(dict[str, Returns])


class PlayedOnce:
    """Plays policies on one set of seeds, each once, in all parts of a run and in the cells that took its file over.

    Args:
        context: The run.
        simulators: Parallel environments, reset here.
        seeds: One reset seed for each episode.
        streams: Source of the policies' randomness.
        file: Name of the file in the run folder that keeps the returns; one for each purpose.
        on_played: Told of a policy's returns and fingerprint when it was played, before they are kept.
    """

    def __init__(
        self,
        context: RunContext,
        simulators: Simulators,
        seeds: Sequence[int],
        streams: Streams,
        file: str,
        on_played: Callable[[Returns, str], None] = lambda returns, weights: None,
    ) -> None:
        self._context, self._simulators, self._seeds, self._streams = context, simulators, seeds, streams
        self._file, self._on_played = file, on_played
        self._played = {
            key: found for key, found in _kept(context.folder, file).items() if found.seeds == tuple(map(int, seeds))
        }

    def play(self, policy: Policy, keep: bool = True) -> Returns:
        """Its returns; with `keep` they are looked up first, and kept."""
        context = self._context
        context.check_stop()
        weights = fingerprint(policy) if keep else ""
        if weights not in self._played:
            found = evaluate_returns(
                policy, context.environment, self._simulators, self._seeds, self._streams,
                poll=context.check_stop, on_note=partial(context.note, "cut episodes"),
            )  # fmt: skip
            if not keep:
                return found
            self._played[weights] = found
            self._on_played(found, weights)
            context.folder.write_json(self._file, _KEPT.dump_python(self._played, mode="json"))
        return self._played[weights]


def fingerprint(policy: Policy) -> str:
    """Equal for policies that are known to act alike: of everything they are made of that acts."""
    arrays, description = policy.acting_state()
    found = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()


def _kept(folder: RunFolder, file: str) -> dict[str, Returns]:
    """What was played before; nothing, where the file is not what was written there."""
    try:
        return _KEPT.validate_json((folder.path / file).read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}
