"""StateMask-R (Cheng et al., NeurIPS 2023): patch a policy by training on from the states that decide its episodes.

1. `statemask.episodes` fresh episodes of the starting policy are played, simulator states kept; charged.
2. A mask network is trained on it (`mask`, objective *gap*); charged.
3. Refining: every episode starts at the critical state of one of those episodes, the argmax of P(keep), drawn evenly.

Differs from the paper: the simulator's state is put back where the paper replays the actions up to it, which comes to
the same and costs no steps; the refining algorithm is the run's. As in the paper's patching, the critical states are
those of the policy to be patched, and stay; the policy is never trained on whole episodes, so that it may forget how
they begin, which is one of RICE's criticisms of it.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ultra_agents.contracts import Method, Options, Prepared, Setting, Terms
from ultra_agents.records import Trajectory

from ._mask import MaskOptions, mask_missing, train_mask


class GapMaskOptions(MaskOptions):
    """StateMask's own objective: a reward for randomising while the return stays where it was."""

    dual_rate: float = Field(0.1, gt=0, description="step of the multiplier per update, per spread of the returns")


class StateMaskOptions(Options):
    """The `statemask` section of a configuration."""

    mask: GapMaskOptions = GapMaskOptions()
    episodes: int = Field(8, gt=1, description="episodes of the starting policy, one critical state each")


class StateMaskR(Method):
    """Always from critical states."""

    Options: ClassVar[type[Options]] = StateMaskOptions
    options: StateMaskOptions
    name: ClassVar[str] = "statemask-r"
    label: ClassVar[str] = "StateMask-R"
    about: ClassVar[str] = "StateMask: episodes begin where a mask network sees a critical state"
    needs: ClassVar[dict[str, str]] = {"snapshot": "episodes start at critical states"}

    def missing(self, terms: Terms) -> list[str]:
        """What a mask network needs."""
        return super().missing(terms) + mask_missing(terms, self.options.mask)

    def prepare(self, setting: Setting) -> Prepared:
        """Episodes, mask, critical states."""
        options, services = self.options, setting.services
        episodes = self._play(setting)
        returns = [one.episode_return for one in episodes]
        mask = train_mask(setting, self.name, options.mask, (returns, options.mask.dual_rate), options.episodes)
        states = [(one.snapshots or ())[mask.critical_step(one)] for one in episodes]
        return Prepared(
            setting.start,
            restarts=services.starts(lambda: states, 1.0, setting.streams.child(self.name, "starts")),
            spent={"statemask-r episodes": sum(map(len, episodes)), "statemask-r mask": mask.env_steps},
            note=f"{len(states)} critical states",
            metrics=services.fidelity(episodes, lambda one: mask.keep(one.observations)),
        )

    def _play(self, setting: Setting) -> list[Trajectory]:
        count, done = self.options.episodes, 0

        def progress(episode: Trajectory) -> None:
            nonlocal done
            done += 1
            setting.check_stop()
            setting.on_progress(done, count, "episodes to be explained")

        return setting.services.collect(
            count, setting.streams.child(self.name, "episodes"), progress, setting.check_stop
        )
