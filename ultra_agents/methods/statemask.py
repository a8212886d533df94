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

from ultra_agents.config import Config
from ultra_agents.contracts import Algorithm, Environment
from ultra_agents.methods.base import Method, Prepared, Setting
from ultra_agents.methods.mask import fidelity_metrics, mask_fidelity, mask_missing, train_mask
from ultra_agents.methods.starts import critical_starts
from ultra_agents.records import Trajectory
from ultra_agents.rollout.collect import collect


class StateMaskR(Method):
    """Always from critical states."""

    name: ClassVar[str] = "statemask-r"
    needs: ClassVar[dict[str, str]] = {"snapshot": "episodes start at critical states"}

    def missing(self, config: Config, environment: Environment, algorithm: Algorithm) -> list[str]:
        """What a mask network needs."""
        found = super().missing(config, environment, algorithm)
        return found + mask_missing(config, config.statemask.mask, environment)

    def prepare(self, setting: Setting) -> Prepared:
        """Episodes, mask, critical states."""
        config, streams = setting.config.statemask, setting.streams.child("statemask-r")
        episodes = self._play(setting)
        returns = [one.episode_return for one in episodes]
        mask = train_mask(setting, self.name, config.mask, (returns, config.mask.dual_rate))
        states = [(one.snapshots or ())[mask.critical_step(one)] for one in episodes]
        return Prepared(
            setting.start,
            restarts=critical_starts(lambda: states, 1.0, streams.child("starts")),
            spent={"statemask-r episodes": sum(map(len, episodes)), "statemask-r mask": mask.env_steps},
            note=f"{len(states)} critical states",
            metrics=fidelity_metrics(mask_fidelity(setting, mask, episodes)),
        )

    def _play(self, setting: Setting) -> list[Trajectory]:
        config, streams = setting.config, setting.streams.child(self.name, "episodes")
        count = config.statemask.episodes
        done = 0

        def progress(episode: Trajectory) -> None:
            nonlocal done
            done += 1
            setting.check_stop()
            setting.on_progress(done, count, "episodes to be explained")

        with setting.simulators(min(count, config.refine.num_envs)) as simulators:
            seeds = streams.integers(count, "reset")
            return collect(
                setting.start, setting.environment, simulators, seeds, streams, config.collect.max_steps,
                on_episode=progress, poll=setting.check_stop,
            )  # fmt: skip
