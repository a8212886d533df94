"""Spending caps: checked before a call is made, counting what calls under way may still cost."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from ultra_agents.config import BudgetConfig, CapsConfig
from ultra_agents.errors import BudgetReached
from ultra_agents.llm.replies import RawReply
from ultra_agents.records import Usage

Prices: TypeAlias = tuple[float, float] | None
"""Money per million prompt and completion tokens; None where no price is known."""


def cost_of(prices: Prices, prompt_tokens: int, completion_tokens: int) -> float:
    """Money for one call; 0 where no price is known."""
    prompt, completion = prices or (0.0, 0.0)
    return (prompt_tokens * prompt + completion_tokens * completion) / 1e6


def usage_of(prices: Prices, reply: RawReply) -> Usage:
    """What a reply that came from a model cost."""
    money = cost_of(prices, reply.prompt_tokens, reply.completion_tokens)
    return Usage(1, 0, reply.prompt_tokens, reply.completion_tokens, reply.seconds, money)


class Budget:
    """What a run and each of its agents may spend, and have spent.

    Args:
        caps: The limits; None is none.
        spent: What earlier parts of the same run spent, by agent.
    """

    def __init__(self, caps: BudgetConfig, spent: Mapping[str, Usage]) -> None:
        self._caps = caps
        self._spent = dict(spent)
        self._held: dict[str, Usage] = {}
        self._lock = threading.Lock()

    @property
    def capped_money(self) -> bool:
        """A cap on money is set somewhere, so that prices must be known."""
        return any(caps.money is not None for caps in (self._caps, *self._caps.agents.values()))

    def add(self, agent: str, usage: Usage) -> None:
        """Count what a call of `agent` cost."""
        with self._lock:
            self._spent[agent] = self._spent.get(agent, Usage()) + usage

    @contextmanager
    def hold(self, agent: str, tokens: int, money: float) -> Iterator[None]:
        """Keep room for one call of up to `tokens` and `money` while it is made.

        Raises:
            BudgetReached: The call could exceed a cap.
        """
        call = Usage(calls=1, prompt_tokens=tokens, cost=money)
        with self._lock:
            before = self._held.get(agent, Usage())
            total, held = sum(self._spent.values(), Usage()), sum(self._held.values(), Usage())
            _check(self._caps, "gateway.budget", total, total + held + call)
            if (caps := self._caps.agents.get(agent)) is not None:  # type: ignore[call-overload]
                own = self._spent.get(agent, Usage())
                _check(caps, f"gateway.budget.agents.{agent}", own, own + before + call)
            self._held[agent] = before + call
        try:
            yield
        finally:
            with self._lock:
                self._held[agent] += Usage(calls=-1, prompt_tokens=-tokens, cost=-money)


def _check(caps: CapsConfig, where: str, spent: Usage, after: Usage) -> None:
    """Raise `BudgetReached` if `after` is beyond one of the caps at `where`."""
    tokens = after.prompt_tokens + after.completion_tokens
    for name, cap, would, now in (
        ("calls", caps.calls, after.calls, f"{spent.calls} calls"),
        ("tokens", caps.tokens, tokens, f"{spent.prompt_tokens + spent.completion_tokens} tokens"),
        ("money", caps.money, after.cost, f"{spent.cost:.4f}"),
    ):
        if cap is not None and would > cap + 1e-9:
            raise BudgetReached(
                f"the budget {where}.{name} leaves no room for the next model call",
                found=f"{now} spent, the next call could bring it to {would:.6g}",
                expected=f"at most {cap:g}",
                hint=f"everything is kept; raise the cap and go on: ultra resume RUN --set {where}.{name}=MORE",
            )
