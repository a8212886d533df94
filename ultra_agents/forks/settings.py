"""Which stages read which settings: what a fork may change, and from which stage on.

`READS` errs towards the earlier stage: a setting that a shared stage may have read is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ultra_agents.config import Config, NarrationConfig, follows_actions, settled, variant_of
from ultra_agents.config.methods import SECTIONS
from ultra_agents.errors import UltraError
from ultra_agents.runs.files import leaves
from ultra_agents.yaml_text import write_yaml

FREE = (
    "name", "engine", "trackers", "gateway", "agents.concurrency", "agents.checkpoints", "refine.workers",
    "verification.workers", "verification.slots",
)  # fmt: skip
"""Settings that change how fast, where and for how much a number comes, never the number."""
ASKING = ("proposer", "agents", "llms", "gateway.mode", "gateway.missing", "advice.form")
ASKED = ("llms", "agents.identifier", "agents.advisor", "agents.critic")
"""Which models are asked; how much a narration tells goes by the smallest of them."""
MATCHING = ("advice.match", "advice.hit_rate", "advice.hit_per_entry", "advice.adaptive")
READS: Mapping[str, tuple[str, ...]] = {
    "policy": ("seed", "environment", "policy"),
    "collect": ("collect",),
    "effects": ("narration.effects", "narration.effects_max_steps", "narration.effects_tokens"),
    "narrate": ("narration",),
    "explain": (*ASKING, "verification"),
    "approve": ("agents.approve",),
    "tabulate": ("advice.reward",),
    "rules": (
        *ASKING,
        "verification.mode",
        "verification.rules",
        "advice.file",
        "advice.candidates",
        "advice.draws",
        "refine.steps",
    ),
    "measure": ("evaluate.fidelity", "evaluate.confidence", "verification.horizon", "verification.discount"),
    "start": ("imitation", "advice.apply", "refine", "verification.rules"),
    "imitate": ("imitation", "refine.algorithm", "refine.steps", "methods", "verification"),
    "iterate": (
        "imitation",
        "refine.algorithm",
        "refine.steps",
        "methods",
        "verification",
        "collect",
        "narration",
        "agents",
    ),
    "table": ("advice", "imitation.table", "modulation", "refine.steps", "methods", "verification"),
    "refine": ("refine", "modulation", "imitation", "advice", "verification"),
    "evaluate": ("methods", "evaluate"),
}
"""By stage the settings it reads besides those of the stages before it; a section stands for all that is in it."""
LATER = {
    "explain": (
        "verification.rules", "verification.reach_rings", "verification.reach_states", "verification.reach_max_steps",
        "agents.rules", "agents.max_repairs", "agents.improve", "agents.approve",
    ),
    "rules": ("agents.approve", "agents.search"),
    "start": ("refine.evaluate_every", "refine.curve_episodes"),
    "imitate": (
        "imitation.table", "verification.rules", "verification.reach_rings", "verification.reach_states",
        "verification.reach_max_steps",
    ),
    "iterate": (
        "imitation.table", "verification.rules", "verification.reach_rings", "verification.reach_states",
        "verification.reach_max_steps",
    ),
    "table": ("verification.rules",),
}  # fmt: skip
"""Of these sections, what the stage does not read."""


@dataclass(frozen=True)
class Change:
    """One setting of a fork that is not its parent's.

    Attributes:
        key: `section.name`.
        old: Its value in the parent.
        new: In the fork.
        stage: The first stage of the fork that reads it; None: it changes no result.
    """

    key: str
    old: Any
    new: Any
    stage: str | None

    @property
    def words(self) -> tuple[str, str]:
        """Both values as YAML, on one line."""
        return _in_yaml(self.old), _in_yaml(self.new)


def changes(old: Config, new: Config, plan: Sequence[str], joint: Mapping[str, Any] | None) -> list[Change]:
    """The settings of `new` that are not those of `old`, the name aside.

    Args:
        old: Of the parent.
        new: Of the fork.
        plan: Stages of the fork, in order.
        joint: What the parent's test of suggestions together found; None where none ran.
    """
    before, after = (leaves(one.model_dump(mode="json", exclude={"name"})) for one in (old, new))
    keys = dict.fromkeys([*before, *after])
    different = [key for key in keys if before.get(key) != after.get(key)]
    first = {key: next((stage for stage in plan if _reads(stage, key, old, new, joint)), None) for key in different}
    return [Change(key, before.get(key), after.get(key), first[key]) for key in different]


def _reads(stage: str, key: str, old: Config, new: Config, joint: Mapping[str, Any] | None) -> bool:
    """Whether a stage reads a setting, under either configuration."""
    kind, _, method = stage.partition(" ")
    if _within(key, FREE) and not _within(key, ASKING):
        return False
    if key == "methods" and kind not in ("evaluate", "report") and _kinds(old) == _kinds(new):
        return False  # what other methods there are is nothing to the stages before
    if _within(key, LATER.get(kind, ())):
        return False
    if kind == "report" or _within(key, READS.get(kind, ())):
        return True
    both = old, new
    match kind:
        case "policy":
            trained = any(one.policy.train_steps is not None for one in both)
            return trained and _within(key, ("refine.algorithm", "refine.num_envs"))
        case "narrate":
            looks = any(one.narration.prescreen != "none" for one in both)
            tries = any(one.narration.prescreen == "simulator" for one in both)
            more = [*(["proposer"] if looks else []), *(["agents.max_hold", "verification.discount"] if tries else [])]
            return _within(key, more) or (_within(key, ASKED) and _narration(old) != _narration(new))
        case "explain" if joint is not None:
            as_table = () if joint.get("imitated") else ("modulation", *MATCHING)
            return _within(key, ("imitation.mode", "refine.algorithm", "refine.steps", "methods", *as_table))
        case "rules":  # a reward is raced by training with it and without
            raced = any(one.verification.rules.reward_pairs for one in both)
            return raced and _within(key, ("modulation", "refine.algorithm", "refine.num_envs"))
        case "refine":
            own = [section for section, name in SECTIONS.items() if name == method]
            return _within(key, ("collect.max_steps", "evaluate.fidelity", f"method_options.{method}", *own))
    return False


def _narration(config: Config) -> NarrationConfig | None:
    """How episodes are told; None where a model cannot be built, which a run says in its own words."""
    try:
        return settled(config).narration
    except UltraError:
        return None


def _kinds(config: Config) -> tuple[bool, bool, bool]:
    """What stages before refining ask of the methods."""
    variants = [variant_of(method) for method in config.methods]
    return any(variants), "r" in variants, any(map(follows_actions, config.methods))


def _within(key: str, sections: Sequence[str]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in sections)


def _in_yaml(value: Any) -> str:
    text = " ".join(write_yaml({"x": value}, flow=True).strip()[4:-1].split())
    return text if len(text) <= 60 else f"{text[:57]}..."
