"""How sets of rules are tested: `verification.rules`."""

from __future__ import annotations

from pydantic import Field, model_validator

from ultra_agents.config.models import Section


class RuleTestConfig(Section):
    """The test of a set of rules in whole episodes, and what is chosen before it.

    A spread is the standard deviation of the returns-to-go along an episode of the policy alone.
    """

    pairs: int = Field(16, gt=1, description="paired episodes of the confirmation, at most")
    min_pairs: int = Field(4, gt=1, description="paired episodes at its first look; then doubled")
    horizon: int = Field(1500, gt=0, description="environment steps from reset of an episode, value at the cut")
    discount: float = Field(1.0, gt=0, le=1, description="of rewards within an episode")
    confidence: float = Field(0.9, gt=0.5, lt=1, description="one-sided, that an accepted gain is positive: all looks")
    min_gain: float = Field(0.1, ge=0, description="gain not worth finding, in spreads")
    noise: float = Field(0.2, ge=0, description="noise of a pair taken for granted, in spreads")
    max_steps: int = Field(
        40_000,
        ge=0,
        description="environment steps of a test, at most; half of them for choosing among sets",
    )
    windows: int = Field(24, ge=0, description="stored states from which several sets are compared first; 0: none")
    window_steps: int = Field(64, gt=0, description="environment steps of each such window, value at the cut")
    race_pairs: int = Field(2, gt=0, description="episodes of each set in the first heat among several; then doubled")
    weigh_pairs: int = Field(
        4,
        ge=0,
        description="episodes with each rule left out in turn, where a set did not hold; 0: it is not taken apart",
    )
    trial_pairs: int = Field(4, gt=0, description="paired episodes of the short test that a model gets to hear of")
    trial_steps: int = Field(
        20_000, ge=0, description="environment steps of all those short tests of a run, shared out evenly; 0: none"
    )
    tune: bool = Field(False, description="move the declared constants within their bounds")
    tune_settings: int = Field(24, gt=1, description="settings of the constants to begin with")
    tune_pairs: int = Field(2, gt=0, description="episodes of each of them, and of each setting drawn later")
    settle_pairs: int = Field(8, gt=1, description="fresh episodes of the best settings and of the one written")
    tune_max_steps: int = Field(80_000, ge=0, description="environment steps of tuning, at most")

    reward_pairs: int = Field(
        0, ge=0, description="pairs of training arms, with and without an implicit reward, at most; 0: none is raced"
    )
    reward_steps: int = Field(10_000, gt=0, description="environment steps of each such arm")
    reward_max_steps: int = Field(
        100_000, ge=0, description="environment steps of the race, at most, the scoring of its arms included"
    )

    @model_validator(mode="after")
    def _looks_are_in_order(self) -> RuleTestConfig:
        if self.min_pairs > self.pairs:
            raise ValueError(f"min_pairs ({self.min_pairs}) is above pairs ({self.pairs})")
        if self.reward_pairs == 1:
            raise ValueError("reward_pairs: 1 decides nothing: 0 races none, 2 or more are needed")
        return self
