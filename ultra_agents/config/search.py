"""How the simulator searches plans: `agents.search`."""

from __future__ import annotations

from pydantic import Field, model_validator

from ultra_agents.config.models import Section


class SearchConfig(Section):
    """The search of plans from stored states: as a proposer, for goals, or around what a model suggests."""

    refine: bool = Field(False, description="improve holds and torques of a model's suggestion before it is tested")
    moves: int | None = Field(
        None, gt=0, le=64, description="moves of a searched plan, at most; null: max_moves; for goals 4 at least"
    )
    max_hold: int | None = Field(None, gt=0, description="environment steps of each, at most; null: agents.max_hold")
    population: int = Field(16, gt=1, description="plans drawn in each round")
    rounds: int = Field(3, gt=0, description="rounds of drawing around the best plans (cross-entropy method)")
    elites: int = Field(4, gt=0, description="plans of a round that the next one is drawn around")
    pairs: int = Field(2, gt=0, description="paired rollouts of a plan that is among the best")
    horizon: int = Field(16, gt=0, description="environment steps after a plan, value function at the cut")
    max_steps: int = Field(1500, gt=0, description="environment steps of one search, at most")
    total_steps: int = Field(60_000, gt=0, description="environment steps for all searches of a run, shared out")

    @model_validator(mode="after")
    def _elites_are_some(self) -> SearchConfig:
        if self.elites > self.population:
            raise ValueError(f"elites ({self.elites}) is above population ({self.population})")
        return self

    def longest(self, moves: int, hold: int, steps: int | None = None) -> int:
        """Environment steps of the longest plan that is searched.

        Args:
            moves: `agents.max_moves`.
            hold: `agents.max_hold`.
            steps: `agents.plan_steps`.
        """
        most = (self.moves or moves) * (self.max_hold or hold)
        return most if steps is None else min(most, steps)

    def one_rollout(self, moves: int, hold: int, steps: int | None = None) -> int:
        """Environment steps of the longest plan with its horizon and of the policy alone beside it."""
        return 2 * (self.longest(moves, hold, steps) + self.horizon)
