"""One seed, many independent named streams.

Every random draw in a run comes from a stream addressed by words and numbers ("collect", 3), so that adding a
draw in one place never shifts another, and parallel environments never share a seed
(`numpy.random.SeedSequence` with a spawn key derived from the address).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Streams:
    """Named random streams below one seed.

    Args:
        seed: Non-negative root seed.
        path: The address of this node; `()` at the root.
    """

    seed: int
    path: tuple[str | int, ...] = ()

    def child(self, *address: str | int) -> Streams:
        """The sub-tree of streams at `address`."""
        return Streams(self.seed, self.path + address)

    def sequence(self, *address: str | int) -> np.random.SeedSequence:
        """The `SeedSequence` at `address`; equal addresses give equal sequences."""
        text = "/".join(f"{type(part).__name__}:{part}" for part in self.path + address)
        digest = hashlib.sha256(text.encode()).digest()
        key = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
        return np.random.SeedSequence(entropy=self.seed, spawn_key=key)

    def generator(self, *address: str | int) -> np.random.Generator:
        """A fresh generator at `address`."""
        return np.random.default_rng(self.sequence(*address))

    def integer(self, *address: str | int) -> int:
        """A seed in [0, 2**31) for a library that wants a plain integer."""
        return int(self.sequence(*address).generate_state(1, np.uint32)[0] >> 1)

    def integers(self, count: int, *address: str | int) -> list[int]:
        """`count` seeds in [0, 2**31), one per parallel environment."""
        return [self.integer(*address, index) for index in range(count)]
