"""What the others are held against: nothing at all, and the same algorithm for longer.

`none` evaluates the starting policy as it is and spends nothing. `continue` is "PPO fine-tuning" of RICE's tables: the
refining algorithm, the whole budget, no advice.
"""

from __future__ import annotations

from typing import ClassVar

from ultra_agents.contracts import Method, Prepared, Setting


class Unrefined(Method):
    """Last, best and starting policy are one; the budget is not touched."""

    name: ClassVar[str] = "none"
    label: ClassVar[str] = "the starting policy"
    about: ClassVar[str] = "the starting policy as it is, evaluated only"
    trains: ClassVar[bool] = False

    def prepare(self, setting: Setting) -> Prepared:
        """Leave everything as it is."""
        return Prepared(setting.start, note="not refined, nothing spent")


class Continued(Method):
    """Plain training for the whole budget."""

    name: ClassVar[str] = "continue"
    label: ClassVar[str] = "continued {algorithm}"
    about: ClassVar[str] = "the control: more training, no advice"
    baseline: ClassVar[bool] = True
    colour: ClassVar[int | None] = 1

    def prepare(self, setting: Setting) -> Prepared:
        """Nothing to prepare."""
        return Prepared(setting.start, note="plain training")
