"""How advice is tested: `verification`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ultra_agents.config.models import Section
from ultra_agents.config.rules import RuleTestConfig


class VerificationConfig(Section):
    """Stage 6, and the critic's own reflection.

    The defaults are those of `benchmarks/verification.py`. On Pong the value function is right about what follows 16
    steps after a state, or the end of a longer plan; most suggestions gain nothing, longer horizons only add noise,
    and two looks miss less than three. `both` since on MountainCar no row passes alone, and all of a good table
    together.
    """

    mode: Literal["none", "reflect", "simulate", "both"] = Field(
        "both", description="none/reflect are the paper's; simulate tests in the simulator"
    )
    max_pairs: int = Field(8, gt=1, description="paired rollouts per suggestion, at most")
    min_pairs: int = Field(4, gt=1, description="pairs at the first look at the full horizon; then doubled")
    horizon: int = Field(32, gt=0, description="environment steps after the plan, value function at the cut")
    screen_pairs: int = Field(2, ge=0, description="pairs of the first, short look; 0: none")
    screen_horizon: int = Field(16, ge=0, description="environment steps of the first look; at least the plan's")
    confidence: float = Field(0.8, gt=0.5, lt=1, description="one-sided, that an accepted gain is positive: all looks")
    min_gain: float = Field(0.1, ge=0, description="gain not worth finding, in spreads of the episode's returns-to-go")
    noise: float = Field(0.2, ge=0, description="noise of a pair taken for granted, in the same spreads")
    discount: float = Field(0.99, gt=0, le=1, description="of rewards within a rollout, and of the value at its cut")
    max_steps: int = Field(60_000, ge=0, description="environment steps for all tests of a run, shared out evenly")
    max_test_steps: int = Field(1000, ge=0, description="environment steps of one test, at most")
    decide: Literal["single", "joint", "both"] = Field(
        "both", description="rows tested one by one, all together, or together if undecided one by one"
    )
    joint_pairs: int = Field(16, gt=1, description="paired episodes of a joint test, at most")
    joint_min_pairs: int = Field(4, gt=1, description="paired episodes at its first look; then doubled")
    joint_horizon: int = Field(300, gt=0, description="environment steps from reset of each, value at the cut")
    joint_discount: float = Field(1.0, gt=0, le=1, description="of rewards there: 1 makes use of every step paid for")
    joint_max_steps: int = Field(
        10_000, ge=0, description="environment steps for all joint tests of suggestions, and as many for the table"
    )
    joint_min_rows: int = Field(4, gt=0, description="rows below which a failed set is not split further")
    joint_as: Literal["copy", "table"] = Field(
        "copy", description="where advice is imitated, sets are tested as the imitating copy, or as the table in force"
    )
    reach_rings: int = Field(
        3, gt=0, description="growing distances at which an accepted row is tested around its state"
    )
    reach_states: int = Field(4, gt=0, description="collected states tested at each such distance, at most")
    reach_max_steps: int = Field(10_000, ge=0, description="environment steps of these tests in a run, at most")
    workers: int = Field(0, ge=0, description="processes that play the tests; 0 plays them in this one")
    slots: int = Field(32, gt=1, description="rollouts played side by side, in each process")
    rules: RuleTestConfig = RuleTestConfig()

    @property
    def simulates(self) -> bool:
        """Whether advice is tested in the simulator."""
        return self.mode in ("simulate", "both")

    @property
    def longest_plan(self) -> int:
        """Most steps a plan may have to be tested: one pair of rollouts must fit into a test."""
        return self.max_test_steps // 2
