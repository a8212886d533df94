"""What the others are held against: nothing at all, and the same algorithm for longer.

`none` evaluates the starting policy as it is and spends nothing. `continue` is "PPO fine-tuning" of RICE's tables: the
refining algorithm, the whole budget, no advice.
"""

from __future__ import annotations

from typing import ClassVar

from ultra_agents.methods.base import Method, Prepared, Setting


class Unrefined(Method):
    """Last, best and starting policy are one; the budget is not touched."""

    name: ClassVar[str] = "none"

    def prepare(self, setting: Setting) -> Prepared:
        """Leave everything as it is."""
        return Prepared(setting.start, note="not refined, nothing spent", trains=False)


class Continued(Method):
    """Plain training for the whole budget."""

    name: ClassVar[str] = "continue"

    def prepare(self, setting: Setting) -> Prepared:
        """Nothing to prepare."""
        return Prepared(setting.start, note="plain training")
