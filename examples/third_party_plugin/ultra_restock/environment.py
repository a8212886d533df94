"""The plugin: what agents and trainers are told about the shop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import gymnasium
import numpy as np

from ultra_agents.contracts import Brief, DiscreteActions, Environment, Options, Quantity, ReferenceReturns
from ultra_agents.contracts.quantities import columns
from ultra_agents.records import Array, FloatArray, Scalar
from ultra_restock.shop import (
    ANNOYED,
    COST,
    DELIVERY,
    DEMAND,
    ORDERS,
    PRICE,
    SHELF,
    UNIT,
    WEEKDAYS,
    ShopOptions,
    Shops,
)

SAFETY = 9.0
"""Pieces the expert wants on top of the expected sales; the best of 0, 1, ..., 20 over 500 episodes each."""


RANDOM, EXPERT = 5.7, 50.7
"""Mean returns over eight weeks of random orders and of the expert, 2,000 episodes each (standard errors 0.3, 0.1)."""


class Restock(Environment):
    """A shop that orders a perishable product; an order arrives after two days, on Saturdays three times as many buy.

    Observation, `(3,)` float32: pieces in stock (0 to 60), pieces due tomorrow (0 to 30), weekday (0 Monday to 6).
    Actions: 0 ORDER_0, 1 ORDER_10, 2 ORDER_20, 3 ORDER_30. Reward: the day's profit in tens of euros. Information:
    `sold_out`, yesterday's customers who found nothing.
    """

    Options: ClassVar[type[Options]] = ShopOptions
    options: ShopOptions

    @property
    def env_id(self) -> str:
        """Id with everything that changes the task."""
        return f"Restock-{self.options.weeks}weeks-spoil{self.options.spoilage:g}-v1"

    @cached_property
    def observation_space(self) -> gymnasium.Space[Any]:
        """Stock, due tomorrow, weekday."""
        return gymnasium.spaces.Box(np.zeros(3, np.float32), np.array([SHELF, ORDERS[-1], 6], np.float32))

    @cached_property
    def action_space(self) -> gymnasium.Space[Any]:
        """ORDER_0 to ORDER_30."""
        return gymnasium.spaces.Discrete(len(ORDERS))

    @cached_property
    def actions(self) -> DiscreteActions:
        """Named by the number of pieces."""
        return DiscreteActions([f"ORDER_{pieces}" for pieces in ORDERS])

    def make(self, num_envs: int) -> Shops:
        """Build `num_envs` shops."""
        return Shops(num_envs, self.options, self.observation_space, self.action_space)

    @property
    def brief(self) -> Brief:
        """The shop in words."""
        means = ", ".join(f"{day} {mean:g}" for day, mean in zip(WEEKDAYS, DEMAND, strict=True))
        return Brief(
            goal="Earn as much as possible: have enough for the customers who come, and little that spoils.",
            dynamics=f"One step is one day. Customers by weekday, on average: {means}. What is ordered in the morning "
            f"arrives two mornings later. The shop holds {SHELF} pieces; {100 * self.options.spoilage:g} % of what is "
            "left in the evening spoils.",
            actions="; ".join(f"ORDER_{pieces}: order {pieces} pieces this morning" for pieces in ORDERS) + ".",
            reward=f"The day's profit in units of {UNIT:g} euros: +{PRICE:g} euros per piece sold, -{COST:g} per "
            f"piece ordered, -{DELIVERY:g} per delivery (so few large orders beat many small ones), -{ANNOYED:g} per "
            "customer who finds nothing.",
            termination=f"After {self.options.weeks} weeks.",
            advice_scale="One order decides the sales of the day it arrives, two days later, and of the day after; "
            "holding an order for several days repeats it every day.",
        )

    def describe(self, observation: Array, info: Mapping[str, Scalar]) -> str:
        """Stock against what will be asked for until the next order can arrive."""
        stock, due, day = self._pieces(np.asarray(observation, np.float64)[None])[0]
        asked = self._expected(np.array([day]))[0]
        have = stock + due
        judged = "too few" if have < asked - 3 else "plenty" if have > asked + 15 else "about enough"
        missed = int(info.get("sold_out", 0) or 0)
        sold_out = f" Yesterday {missed} customers found nothing." if missed else ""
        return (
            f"{WEEKDAYS[day]} morning: {stock} in stock, {due} due tomorrow; about {asked:.0f} will be asked for "
            f"until the evening of the day today's order arrives, so that is {judged}.{sold_out}"
        )

    def features(self, observations: Array) -> FloatArray:
        """Stock, due, and the weekday on a circle: `(n, 4)`."""
        stock, due, day = np.asarray(observations, np.float32).reshape(-1, 3).T
        angle = day * np.float32(2 * np.pi / 7)
        return np.stack([(stock - 15) / 12, (due - 10) / 10, np.sin(angle), np.cos(angle)], axis=1)

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        """Pieces, the day, and what is missing for the customers expected until today's order is sold."""
        stock, due, day = self._pieces(np.asarray(observations, np.float64)).T
        return columns(self.legend, [stock, due, day, self._expected(day) - stock - due])

    @property
    def legend(self) -> Mapping[str, Quantity]:
        """Pieces and days."""
        return {
            "stock": Quantity("pieces", "on the shelf this morning", "", 0, SHELF),
            "due": Quantity("pieces", "ordered yesterday, here tomorrow", "", 0, float(ORDERS[-1])),
            "weekday": Quantity("index", "0 Monday to 6 Sunday", "", 0, 6),
            "short": Quantity(
                "pieces", "customers expected today and on the two days after, minus stock and due", "too few", -30, 60
            ),
        }

    def segment_kind(self, trajectory_rewards: FloatArray) -> str | None:
        """Did these days pay?"""
        return "days at a loss" if float(np.sum(trajectory_rewards)) < 0 else "profitable days"

    def snapshot(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int]) -> list[bytes]:
        """Complete states of the shops at `indices`."""
        assert isinstance(envs, Shops)
        return [envs.snapshot(index) for index in indices]

    def restore(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Put `snapshots` into the shops at `indices`."""
        assert isinstance(envs, Shops)
        return envs.restore(indices, snapshots)

    def expert(self) -> Callable[[Array], Array]:
        """Order up to a level (the base-stock rule of inventory theory): expected sales until the order is sold."""

        def act(observations: Array) -> Array:
            stock, due, day = self._pieces(np.asarray(observations, np.float64)).T
            short = self._expected(day) + SAFETY - stock - due
            orders: Array = np.clip(np.rint(short / 10), 0, len(ORDERS) - 1).astype(np.int64)
            return orders

        return act

    @property
    def reference_returns(self) -> ReferenceReturns:
        """Measured for eight weeks and usual spoilage; in proportion for other lengths."""
        share = self.options.weeks / 8
        source = "random orders; the order-up-to rule of `expert`; 2,000 episodes of 8 weeks each, in proportion"
        return ReferenceReturns(RANDOM * share, EXPERT * share, source)

    def render(self, envs: gymnasium.vector.VectorEnv, index: int) -> Array:
        """Shelf (blue), due tomorrow (grey), seven days with today in orange: `(96, 140, 3)`."""
        assert isinstance(envs, Shops)
        frame = np.full((96, 140, 3), 255, np.uint8)
        frame[10:30, 10 : 10 + 2 * int(envs.stock[index])] = (50, 90, 200)
        frame[38:58, 10 : 10 + 2 * int(envs.due[index])] = (150, 150, 150)
        for day in range(7):
            height = round(DEMAND[day])
            colour = (240, 140, 30) if day == envs.day[index] % 7 else (215, 215, 215)
            frame[90 - height : 90, 10 + 17 * day : 22 + 17 * day] = colour
        return frame

    @staticmethod
    def _pieces(observations: FloatArray) -> Array:
        """Whole numbers `(n, 3)` within the space, whatever is given."""
        highest = [SHELF, int(ORDERS[-1]), 6]
        pieces: Array = np.clip(np.rint(np.nan_to_num(observations)), 0, highest).astype(np.int64)
        return pieces

    @staticmethod
    def _expected(day: Array) -> FloatArray:
        """Customers expected today, tomorrow and the day after."""
        return np.asarray(sum(DEMAND[(day + ahead) % 7] for ahead in range(3)))
