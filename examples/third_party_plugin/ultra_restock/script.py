"""A stand-in for a language model that knows one rule of shopkeeping: order what will be missing.

For the provider `scripted` (`callable: "ultra_restock.script:shopkeeper"`), so that the whole flow runs offline and in
seconds. It reads the describer's sentence, as a language model would, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_STATE = re.compile(r"(\d+) in stock, (\d+) due tomorrow; about (\d+) will be asked for")


def shopkeeper(messages: Sequence[tuple[str, str]], schema: dict[str, Any]) -> dict[str, Any]:
    """Fill whichever agent's schema is asked for."""
    fields = schema["properties"]
    if "cases" in fields:  # the identifier: spread over the steps shown
        case = fields["cases"]["items"]["properties"]
        steps, most = case["step"]["enum"], fields["cases"].get("maxItems", 1)
        chosen = dict.fromkeys(steps[index * len(steps) // most] for index in range(most))
        return {"cases": [{"case_analysis": "orders decide sales", "step": s, "importance": 0.5} for s in chosen]}
    if "hold" in fields:  # the advisor
        found = _STATE.search(messages[-1][1])
        stock, due, asked = map(int, found.groups()) if found else (0, 0, 0)
        names = [f"ORDER_{pieces}" for pieces in (0, 10, 20, 30)]
        action = names[min(max(round((asked + 5 - stock - due) / 10), 0), 3)]
        return {"reasoning": f"{stock + due} for {asked}", "action": action, "hold": fields["hold"].get("minimum", 1)}
    return {"reasoning": "what is missing is ordered", "reward": 0.5, "taken_reward": -0.5, "verdict": "accept"}
