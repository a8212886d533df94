"""Prices that the configuration does not give: the table of the package `genai-prices`, where it is installed."""

from __future__ import annotations

from functools import cache

from ultra_agents.llm.budget import Prices

_TOKENS = 1000
"""Tokens the table is asked about: some models cost more per token in very long prompts."""


@cache
def table_prices(address: str, model: str) -> Prices:
    """Money (USD) per million prompt and completion tokens of `model` at `address`; None where the table has none."""
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    where = address if address.startswith("http") else None
    try:
        found = calc_price(Usage(input_tokens=_TOKENS, output_tokens=_TOKENS), model, provider_api_url=where)
        return float(found.input_price) * 1e6 / _TOKENS, float(found.output_price) * 1e6 / _TOKENS
    except (LookupError, ValueError, TypeError, AttributeError):
        return None
