"""Before a run begins: can its caps on money be kept at all?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.errors import LLMError
from ultra_agents.llm.budget import Budget
from ultra_agents.llm.errors import price_unknown
from ultra_agents.llm.model import Model


def check_prices(llms: Mapping[str, LLMConfig], config: GatewayConfig, asked: Iterable[str]) -> None:
    """Where money is capped, find out whether the price of every model in `asked` is known.

    Only a model without a price in the configuration, and without one in a table, is looked for on its server. One
    that cannot be reached now is left to the first question: the answers may all be in the cache.

    Raises:
        LLMError: A price is not known; the model is named.
    """
    if config.mode == "replay" or not Budget(config.budget, {}).capped_money:
        return
    for name in dict.fromkeys(asked):
        model = Model(name, llms[name])
        try:
            if model.prices is None and _reached(model) and model.prices is None:
                raise price_unknown(model)
        finally:
            model.close()


def _reached(model: Model) -> bool:
    try:
        model.check()
    except LLMError:
        return False
    return True
