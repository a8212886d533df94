"""ULTRA (arXiv 2505.20671): advice overrides actions (`ultra-a`), gives rewards (`ultra-r`), or both (`ultra-ra`).

What these add to training is the modulation engine (`ultra_agents.modulation`) over the run's advice table; everything
before that happens in stages 1 to 8 and is charged here.

Differs from the paper, each an option of the configuration. Advice is tested before it is believed
(`verification.mode: none` believes it), and a table before it acts, as it will act: each row at the states it will be
matched at, and all of it in whole episodes (`advice.in_force: always` leaves that out). Accepted plans are imitated
first, by methods that act on suggested actions, and a copy that proved better is refined without the table, whose rows
it has learnt already: on Pong the table beside the copy cost half of what the copy had won (`imitation.table: keep`
keeps it in force, `imitation.mode: never` leaves imitating out). The table is followed with a chance that falls to 0,
and the update knows which policy really acted (`modulation.*`). With testing and imitation switched off and
`modulation.probability: 1`, `modulation.schedule: constant`, `modulation.learn: policy` it is the paper read
literally.
"""

from __future__ import annotations

from typing import ClassVar

from ultra_agents.contracts import Advised, Method, Modulation, Prepared, Ruled, Setting, Terms, capabilities
from ultra_agents.records import Variant


class Ultra(Method):
    """What the three variants share."""

    advice: ClassVar[Variant]

    def missing(self, terms: Terms) -> list[str]:
        """A way of learning from overridden steps."""
        found = super().missing(terms)
        if terms.learn not in terms.algorithm.learns:
            known = ", ".join(sorted(terms.algorithm.learns)) or "in no way"
            found.append(
                f"the algorithm {terms.algorithm_name!r} does not learn from overridden steps by "
                f"modulation.learn: {terms.learn} (it does: {known})"
            )
        if terms.restart_probability and "snapshot" not in capabilities(terms.environment):
            found.append(
                f"the environment {terms.environment_name!r} has no snapshot (modulation.restart_probability starts "
                "episodes at restored critical states; set it to 0)"
            )
        return found

    def prepare(self, setting: Setting) -> Prepared:
        """The engine over the table; for variants that act, the policy that imitated the advice."""
        advised, terms = setting.advised, setting.terms
        assert advised is not None, "stages 1 to 7 come first"
        if advised.rules is not None:
            return self._ruled(advised, advised.rules, setting)
        spent, start, restarts = dict(advised.spent), setting.start, None
        engine: Modulation | None = None
        if "a" in self.advice:
            start = advised.copy or start
            spent |= {"imitate": advised.copying} if advised.copying else {}
        note = "from the copy that learnt the advice"
        if start is setting.start or terms.keep_table:
            if not advised.refused:
                engine, note = advised.engine(self.advice), "advice in force"
            elif start is setting.start:
                note = f"no advice in force: the table is {advised.refused}"
        if advised.critical:
            chance, states = terms.restart_probability, advised.critical
            restarts = setting.services.starts(lambda: states, chance, setting.streams.child("restarts"))
            note += f", {chance:.0%} of the episodes from one of {len(states)} critical states"
        return Prepared(start, engine, restarts, spent=spent, note=note)

    def _ruled(self, advised: Advised, ruled: Ruled, setting: Setting) -> Prepared:
        """Rules that held: from the start that tested best, under them where that is part of it."""
        if "a" not in self.advice:
            note = "the rules' implicit reward"
            return Prepared(setting.start, ruled.modulation(self.advice), spent=advised.spent, note=note)
        modulation = ruled.modulation(self.advice)
        return Prepared(
            ruled.start, modulation, spent=advised.spent, note=ruled.note, over=ruled.over, in_force=ruled.in_force,
            corrects=ruled.corrects, confirm=True,
        )  # fmt: skip


class UltraA(Ultra):
    """Advice overrides actions."""

    name: ClassVar[str] = "ultra-a"
    label: ClassVar[str] = "ULTRA-A"
    about: ClassVar[str] = "advice is followed at times"
    advice: ClassVar[Variant] = "a"
    colour: ClassVar[int | None] = 2


class UltraR(Ultra):
    """Advice gives rewards."""

    name: ClassVar[str] = "ultra-r"
    label: ClassVar[str] = "ULTRA-R"
    about: ClassVar[str] = "advice is rewarded only"
    advice: ClassVar[Variant] = "r"
    colour: ClassVar[int | None] = 3


class UltraRA(Ultra):
    """Both."""

    name: ClassVar[str] = "ultra-ra"
    label: ClassVar[str] = "ULTRA-RA"
    about: ClassVar[str] = "advice is followed at times, and rewarded"
    advice: ClassVar[Variant] = "ra"
    colour: ClassVar[int | None] = 0
