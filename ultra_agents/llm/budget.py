"""Spending caps: checked before a call is made, counting what calls under way may still cost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ultra_agents.config import BudgetConfig, LLMConfig
from ultra_agents.errors import BudgetReached
from ultra_agents.llm.cache import RawReply
from ultra_agents.records import Usage


def cost_of(config: LLMConfig, prompt_tokens: int, completion_tokens: int) -> float:
    """Money for one call, at prices per million tokens."""
    return (prompt_tokens * config.price_prompt + completion_tokens * config.price_completion) / 1e6


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, rather too many than too few: one per three bytes."""
    return len(text.encode("utf-8", "replace")) // 3 + 1


def usage_of(config: LLMConfig, reply: RawReply) -> Usage:
    """What a reply that came from a model cost."""
    money = cost_of(config, reply.prompt_tokens, reply.completion_tokens)
    return Usage(1, 0, reply.prompt_tokens, reply.completion_tokens, reply.seconds, money)


class Budget:
    """What a run may spend, and what it has.

    Args:
        caps: The limits; None is none.
        spent: What earlier parts of the same run spent.
    """

    def __init__(self, caps: BudgetConfig, spent: Usage) -> None:
        self._caps = caps
        self._spent = spent
        self._held = Usage()
        self._lock = threading.Lock()

    @property
    def spent(self) -> Usage:
        """Everything spent so far, earlier parts of the run included."""
        return self._spent

    def add(self, usage: Usage) -> None:
        """Count what a call cost."""
        with self._lock:
            self._spent += usage

    @contextmanager
    def hold(self, tokens: int, money: float) -> Iterator[None]:
        """Keep room for one call of up to `tokens` and `money` while it is made.

        Raises:
            BudgetReached: The call could exceed a cap.
        """
        call = Usage(calls=1, prompt_tokens=tokens, cost=money)
        with self._lock:
            self._check(self._spent + self._held + call)
            self._held += call
        try:
            yield
        finally:
            with self._lock:
                self._held += Usage(calls=-1, prompt_tokens=-tokens, cost=-money)

    def _check(self, after: Usage) -> None:
        spent = self._spent
        tokens = after.prompt_tokens + after.completion_tokens
        for name, cap, would, now in (
            ("calls", self._caps.calls, after.calls, f"{spent.calls} calls"),
            ("tokens", self._caps.tokens, tokens, f"{spent.prompt_tokens + spent.completion_tokens} tokens"),
            ("money", self._caps.money, after.cost, f"{spent.cost:.4f}"),
        ):
            if cap is not None and would > cap + 1e-9:
                raise BudgetReached(
                    f"the budget gateway.budget.{name} leaves no room for the next model call",
                    found=f"{now} spent, the next call could bring it to {would:.6g}",
                    expected=f"at most {cap:g}",
                    hint=f"everything is kept; go on with: ultra resume RUN --set gateway.budget.{name}=MORE",
                )
