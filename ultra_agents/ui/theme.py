"""Colours and signs, in one place so that panels agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from zlib import crc32

AGENTS = {"identifier": "cyan", "advisor": "green", "critic": "magenta"}
PALETTE = (
    "bright_green", "bright_yellow", "bright_cyan", "bright_magenta", "bright_blue", "bright_red", "cyan", "magenta",
    "green", "yellow",
)  # fmt: skip
"""Colours of methods by their places."""
OTHERS = PALETTE[4:]
"""Those that no built-in method claims."""

GOOD, BAD, WARM, DIM, BORDER = "green", "red", "yellow", "bright_black", "bright_black"
FOCUS = "cyan"

SIGNS = {
    "waiting": ("○", DIM),
    "running": ("●", "bold cyan"),
    "done": ("✔", GOOD),
    "kept": ("✔", DIM),
    "stopped": ("■", WARM),
}

DECISIONS = {
    "accept": ("✔", GOOD),
    "accepted": ("✔", GOOD),
    "forward": ("→", DIM),
    "leave": ("=", DIM),
    "revise": ("↺", WARM),
    "revised": ("↺", WARM),
    "reject": ("✘", BAD),
    "rejected": ("✘", BAD),
    "drop": ("✘", DIM),
    "dropped": ("✘", DIM),
}


def agent_colour(agent: str) -> str:
    """The colour of an agent; any name gets one, always the same."""
    return AGENTS.get(agent) or OTHERS[crc32(agent.encode(errors="replace")) % len(OTHERS)]


def method_colours(methods: Iterable[str], places: Mapping[str, int]) -> dict[str, str]:
    """Colours of the methods on one chart: by their places; those without one take the others in order."""
    found: dict[str, str] = {}
    others = 0
    for method in methods:
        if method in places:
            found[method] = PALETTE[places[method] % len(PALETTE)]
        else:
            found[method] = OTHERS[others % len(OTHERS)]
            others += 1
    return found


def decision_sign(decision: str) -> tuple[str, str]:
    """Sign and colour of a decision about a suggestion."""
    return DECISIONS.get(decision, ("·", DIM))
