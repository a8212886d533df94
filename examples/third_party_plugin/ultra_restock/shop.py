"""The shop itself: one product, a delivery time of two days, customers who come on weekends, and goods that spoil.

Each step is a day. In the morning the order of the day before yesterday has arrived and the next one is placed; during
the day customers buy what is there; at night some of the rest spoils.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from ultra_agents.contracts import Options
from ultra_agents.contracts.vector import (
    GENERATOR_BYTES,
    SameStepVectorEnv,
    pack_generator,
    unpack_generator,
    unpack_snapshot,
)
from ultra_agents.records import Array, FloatArray

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DEMAND = np.array([5.0, 5.0, 6.0, 7.0, 12.0, 18.0, 3.0])
"""Mean number of customers by weekday; each buys one piece."""
ORDERS = np.array([0, 10, 20, 30])
"""Pieces ordered by the actions 0 to 3."""
SHELF = 60
"""Pieces the shop can hold; what is delivered beyond is lost."""
PRICE, COST, DELIVERY, ANNOYED = 3.0, 1.2, 6.0, 1.0
"""Euros: earned per piece, paid per piece ordered, paid per delivery, lost per customer who finds nothing."""
UNIT = 10.0
"""Euros per unit of reward."""

_MAGIC = b"RST1"
_LAYOUT = struct.Struct(f"<4sIIIQ{GENERATOR_BYTES}s")


class ShopOptions(Options):
    """Options of the shop."""

    weeks: int = Field(8, ge=1, le=520, description="length of an episode, in weeks")
    spoilage: float = Field(0.08, ge=0, le=1, description="share of the unsold pieces that spoils in a night")


class Shops(SameStepVectorEnv):
    """`num_envs` shops; observations `(n, 3)` float32: pieces in stock, pieces due tomorrow, weekday from 0."""

    def __init__(self, num_envs: int, options: ShopOptions, observation_space: Any, action_space: Any) -> None:
        super().__init__(num_envs, observation_space, action_space)
        self.options = options
        self.stock, self.due, self.day, self.sold_out = (np.zeros(num_envs, np.int64) for _ in range(4))

    def _begin(self, indices: Sequence[int]) -> None:
        for i in indices:
            self.stock[i] = self._generators[i].integers(5, 26)
            self.due[i] = self.day[i] = self.sold_out[i] = 0

    def _advance(self, actions: Array) -> tuple[FloatArray, Array, Array]:
        ordered = ORDERS[actions]
        customers = np.array(
            [rng.poisson(DEMAND[day % 7]) for rng, day in zip(self._generators, self.day, strict=True)]
        )
        sold = np.minimum(customers, self.stock)
        missed = customers - sold
        left = self.stock - sold
        # One number a night, whatever is left: what chance decides must not depend on what was ordered, or two futures
        # of one day would meet different customers, and comparing them would say little.
        chance = np.array([rng.random() for rng in self._generators])
        spoilt = np.floor(left * self.options.spoilage + chance).astype(np.int64)
        euros = PRICE * sold - COST * ordered - DELIVERY * (ordered > 0) - ANNOYED * missed
        self.stock = np.minimum(left - spoilt + self.due, SHELF)
        self.due = ordered.astype(np.int64)
        self.sold_out = missed
        self.day += 1
        return euros / UNIT, np.zeros(self.num_envs, bool), self.day >= 7 * self.options.weeks

    def observe(self) -> Array:
        """Stock, due tomorrow, weekday."""
        return np.stack([self.stock, self.due, self.day % 7], axis=1).astype(np.float32)

    def info(self) -> dict[str, Any]:
        """`sold_out`: customers who found nothing the day before."""
        return {"sold_out": self.sold_out.copy()}

    def snapshot(self, index: int) -> bytes:
        """Everything the future of one shop depends on."""
        numbers = int(self.stock[index]), int(self.due[index]), int(self.sold_out[index]), int(self.day[index])
        return _LAYOUT.pack(_MAGIC, *numbers, pack_generator(self._generators[index]))

    def _restore(self, index: int, snapshot: bytes) -> None:
        fields = unpack_snapshot(_LAYOUT, snapshot, _MAGIC, "Restock")
        self.stock[index], self.due[index], self.sold_out[index], self.day[index], generator = fields
        unpack_generator(self._generators[index], generator)
