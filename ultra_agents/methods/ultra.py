"""ULTRA (arXiv 2505.20671): advice overrides actions (`ultra-a`), gives rewards (`ultra-r`), or both (`ultra-ra`).

What these add to training is the modulation engine (`ultra_agents.modulation`) over the run's advice table; everything
before that happens in stages 1 to 8 and is charged here.

Differs from the paper, each an option of the configuration. Advice is tested before it is believed
(`verification.mode: none` believes it). Accepted plans are imitated first, by methods that act on suggested actions,
and a copy that proved better is refined without the table, whose rows it has learnt already: on Pong the table beside
the copy cost half of what the copy had won (`imitation.table: keep` keeps it in force, `imitation.mode: never` leaves
imitating out). The table is followed with a chance that falls to 0, and the update knows which policy really acted
(`modulation.*`). With testing and imitation switched off and `modulation.probability: 1`,
`modulation.schedule: constant`, `modulation.learn: policy` it is the paper read literally.
"""

from __future__ import annotations

from ultra_agents.config import Config, follows_actions
from ultra_agents.contracts import Algorithm, Environment, Modulation, capabilities
from ultra_agents.methods.base import Method, Prepared, Setting
from ultra_agents.methods.starts import critical_starts
from ultra_agents.records import Variant


class Ultra(Method):
    """One of the three variants.

    Args:
        variant: `a`, `r` or `ra`.
    """

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.name = f"ultra-{variant}"  # type: ignore[misc]

    def missing(self, config: Config, environment: Environment, algorithm: Algorithm) -> list[str]:
        """A way of learning from overridden steps."""
        found = super().missing(config, environment, algorithm)
        if config.modulation.learn not in algorithm.learns:
            known = ", ".join(sorted(algorithm.learns)) or "in no way"
            found.append(
                f"the algorithm {config.refine.algorithm.name!r} does not learn from overridden steps by "
                f"modulation.learn: {config.modulation.learn} (it does: {known})"
            )
        if config.modulation.restart_probability and "snapshot" not in capabilities(environment):
            found.append(
                f"the environment {config.environment.name!r} has no snapshot (modulation.restart_probability starts "
                "episodes at restored critical states; set it to 0)"
            )
        return found

    def prepare(self, setting: Setting) -> Prepared:
        """The engine over the table; for variants that act, the policy that imitated the advice."""
        advised = setting.advised
        assert advised is not None, "stages 1 to 7 come first"
        spent, start, restarts = dict(advised.spent), setting.start, None
        engine: Modulation | None = None
        if follows_actions(self.name):
            start = advised.copy or start
            spent |= {"imitate": advised.copying} if advised.copying else {}
        note = "from the copy that learnt the advice"
        if start is setting.start or setting.config.imitation.table == "keep":
            engine, note = advised.engine(self.variant), "advice in force"
        if advised.critical:
            chance, states = setting.config.modulation.restart_probability, advised.critical
            restarts = critical_starts(lambda: states, chance, setting.streams.child("restarts"))
            note += f", {chance:.0%} of the episodes from one of {len(states)} critical states"
        return Prepared(start, engine, restarts, spent=spent, note=note)
