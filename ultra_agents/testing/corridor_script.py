"""Scripted answers for the corridor: advice known to be good, and advice known to be bad.

For the provider `scripted` (`callable: "ultra_agents.testing.corridor_script:good"`): they run the whole flow offline
in seconds, where the right outcome is known; rules are answered as text (`agents.rules: text`). Nothing here is a
language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def good(messages: Sequence[Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Advice to walk to the goal at the right end."""
    return _answer(schema, action="RIGHT")


def bad(messages: Sequence[Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Advice to walk away from the goal, praised by a critic that knows no better."""
    return _answer(schema, action="LEFT")


def _answer(schema: dict[str, Any], action: str) -> dict[str, Any]:
    """Fill whichever agent's schema is asked for."""
    fields = schema["properties"]
    if "cases" in fields:
        case = fields["cases"]["items"]["properties"]
        steps, most = case["step"]["enum"], fields["cases"].get("maxItems", 1)
        spread = [steps[index * len(steps) // most] for index in range(min(most, len(steps)))]
        return {"cases": [{"case_analysis": "scripted", "step": s, "importance": 0.5} for s in dict.fromkeys(spread)]}
    if "situations" in fields:
        example = fields["situations"]["items"]["properties"]["examples"]["items"]["properties"]
        shown = [{"episode": episode, "step": 0} for episode in example["episode"]["enum"][:1]]
        return {"situations": [{"rationale": "scripted", "name": "on the way", "examples": shown}]}
    if "rules" in fields:
        potential = "cell / 1000" if action == "RIGHT" else "-cell / 1000"
        return {
            "reasoning": "scripted",
            "rules": f"rules: [{{when: cell >= 0, do: {action}}}]\npotential: {potential}\n",
        }
    if "expression" in fields:
        return {"reasoning": "scripted", "implicit": "none", "expression": "", "verdict": "accept"}
    if "quantity" in fields:
        goal = {"quantity": "cell", "aim": "maximise" if action == "RIGHT" else "minimise", "when": "at the end"}
        return {"reasoning": "scripted", **goal, "steps": fields["steps"].get("maximum", 1)}
    if "hold" in fields:
        return {"reasoning": "scripted", "action": action, "hold": fields["hold"].get("maximum", 1)}
    if "moves" in fields:
        move = fields["moves"]["items"].get("properties") or schema["$defs"]["Move"]["properties"]
        hold = move["hold"].get("maximum", 1)
        return {"reasoning": "scripted", "moves": [{"action": action, "hold": hold}]}
    return {"reasoning": "scripted", "reward": 1.0, "taken_reward": -1.0, "verdict": "accept"}
