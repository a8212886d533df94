"""Before the first call: can every chain of models be reached, and is every price known that a cap needs?"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from ultra_agents.contracts.llm import Unreachable
from ultra_agents.events import Emit, Warned
from ultra_agents.llm.errors import price_unknown
from ultra_agents.llm.model import Model


class Availability:
    """Checks models once, spending nothing.

    Args:
        chains: Models that stand in for each other: each chain must have one that can be reached.
        prices_needed: Money is capped somewhere.
        emit: Told of models that cannot be reached although their chain can.
    """

    def __init__(self, chains: Iterable[Sequence[Model]], prices_needed: bool, emit: Emit) -> None:
        self._unchecked = list(chains)
        self._prices_needed = prices_needed
        self._emit = emit
        self._lock = threading.Lock()

    def check(self, asked: Sequence[Model]) -> None:
        """Check every chain not checked yet, and the one that is `asked` now.

        Raises:
            LLMError: No model of a chain can be reached, or one is misconfigured.
        """
        with self._lock:
            for chain in (*self._unchecked, asked):
                self._check(chain)
            self._unchecked = []

    def _check(self, chain: Sequence[Model]) -> None:
        problem: Unreachable | None = None
        reached = False
        for model in chain:
            if len(chain) > 1 and model.breaker.state == "open":
                continue  # waiting for it at every question would be the price of a fallback
            try:
                model.check()
            except Unreachable as error:
                self._emit(Warned(f"the model {model.name!r} cannot be reached: {error.problem}"))
                model.breaker.open()
                problem = problem or error
                continue
            reached = True
            if self._prices_needed and model.prices is None:
                raise price_unknown(model)
        if problem is not None and not reached:
            raise problem
