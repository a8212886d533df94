"""The parts of a run's configuration that say what advice looks like and how it acts on training."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field, field_validator

from ultra_agents.config.models import Section

AdviceForm: TypeAlias = Literal["moves", "rules", "both", "goals"]


class AdviceConfig(Section):
    """What advice looks like, how it is applied, and the table of moves (stage 7)."""

    form: AdviceForm | None = Field(
        None,
        description="moves at single steps, closed-loop rules, or both; or goals at single steps, for which a search "
        "finds the moves; null: rules for proposer file or constants",
    )
    file: Path | None = Field(
        None, description="a set of rules (YAML) for proposer file, and constants: its structure"
    )
    candidates: int = Field(24, gt=0, description="sets of rules that the proposers random and constants draw")
    draws: Literal["rules", "reward"] = Field(
        "rules", description="what the proposer random draws as rules: rules that act, or a reward alone"
    )
    apply: Literal["auto", "layer", "imitate", "both"] = Field(
        "auto", description="rules: in force over the policy, imitated by it, the copy under them, or what tests best"
    )
    match: Literal["nearest", "exact"] = Field("nearest", description="how a visited state finds its row")
    hit_rate: float = Field(0.1, gt=0, le=1, description="share of visited states the radius is calibrated to hit")
    hit_per_entry: float = Field(0.005, gt=0, le=1, description="the same share, per row of the table, at most")
    adaptive: bool = Field(True, description="keep hitting that share while the policy moves; else a fixed radius")
    reward: Literal["llm", "measured"] = Field("llm", description="implicit reward: the critic's, or the gain")
    in_force: Literal["tested", "always"] = Field(
        "tested",
        description="the table acts in training if it held in whole episodes, its rows as far as they were tested; "
        "or always, untested",
    )


class ImitationConfig(Section):
    """Stage 8: learning from accepted plans, replayed in the simulator."""

    mode: Literal["tested", "better", "always", "never"] = Field(
        "tested",
        description="start refining from a copy that does as advised: if it is better with the confidence asked; also "
        "if, undecided after all pairs, it earned more; always, untested; never",
    )
    weights: Literal["equal", "gain"] = Field(
        "equal", description="how much a replayed plan's steps count: all alike, or by the plan's measured gain"
    )
    iterations: int = Field(
        1,
        gt=0,
        description="times advice is found, tested and imitated, from the second on for new episodes of the better "
        "copy (expert iteration; proposer search, random, value or oracle)",
    )
    rounds: int = Field(2, ge=0, description="rounds in which rules label what their copy meets (DAgger)")
    round_steps: int = Field(3200, gt=0, description="environment steps of each")
    widen: Literal["none", "quantities", "margins"] = Field(
        "none",
        description="further inputs of a copy of rules: the quantities they speak of, or these and how far a state is "
        "from where the rules would decide otherwise",
    )
    table: Literal["retire", "keep"] = Field(
        "retire", description="where refining starts from the copy: the table no longer acts, or it acts all the same"
    )

    @field_validator("widen", mode="before")
    @classmethod
    def _once_yes_or_no(cls, value: object) -> object:
        """Runs of before there were margins said false or true."""
        return {False: "none", True: "quantities"}[value] if isinstance(value, bool) else value


class ModulationConfig(Section):
    """Stage 9 (`docs/method.md`, "Choices the paper leaves open"; the first named is the default)."""

    probability: float = Field(0.3, ge=0, le=1, description="chance p of following the table at a match")
    schedule: Literal["linear", "constant", "cosine"] = Field("linear", description="how p falls to 0 over training")
    until: float = Field(0.8, gt=0, le=1, description="share of the budget after which p is 0 (not for constant)")
    hold: bool = Field(True, description="hold suggestions for as long as the advisor said; else one step")
    beta: float = Field(0.2, ge=0, description="scale of the implicit reward, in units of environment reward")
    reward: Literal["add", "replace", "potential"] = Field("add", description="what the implicit reward does")
    learn: Literal["mixture", "policy", "mask", "imitate"] = Field(
        "mixture", description="how overridden steps enter the update"
    )
    discount: float | None = Field(
        None, gt=0, le=1, description="of potential shaping; null: the algorithm's own gamma, 0.99 where it names none"
    )
    warmup_updates: int = Field(4, ge=0, description="critic-only updates at first, where rules act in training")
    action_noise: float = Field(0.1, gt=0, description="spread of a followed continuous suggestion, action units")
    restart_probability: float = Field(
        0.0, ge=0, le=1, description="chance that a training episode of ultra-* starts at a restored critical state"
    )

    @property
    def shaping_discount(self) -> float:
        """What potentials are discounted by."""
        return 0.99 if self.discount is None else self.discount
