"""Goals in one run: what they may be about, for how long, and what searches for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ultra_agents.agents.legend import legend_lines
from ultra_agents.agents.prompts import GOALS_PROMPTS, fingerprint
from ultra_agents.config import SearchConfig
from ultra_agents.records import Goal, Searched, Trajectory
from ultra_agents.verification.goals import GoalMeter


@dataclass(frozen=True, eq=False)
class Goals:
    """Goals in one run: what they may speak of, and what searches for them.

    Attributes:
        meter: Checks them against the collected episodes.
        reach: The search for one from a step of an episode; called from several threads.
        least: Environment steps of a goal, at least.
        most: And at most.
        search: The numbers of the search.
    """

    meter: GoalMeter
    reach: Callable[[Trajectory, int, Goal], Searched]
    least: int
    most: int
    search: SearchConfig

    @property
    def legend(self) -> str:
        """The quantities, and what the collected episodes show of them."""
        return legend_lines(self.meter.environment, self.meter.interface.quantities, self.meter.columns)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What an explanation with goals depends on, as JSON."""
        search = self.search.model_dump(mode="json")
        return {"prompts": fingerprint(GOALS_PROMPTS), "legend": self.legend, "search": search,
                "steps": [self.least, self.most]}  # fmt: skip
