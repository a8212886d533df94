"""Checks of the environment kit that play: shapes, seeds, neighbours, resets, snapshots."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from ultra_agents.contracts import Environment, capabilities
from ultra_agents.contracts.vector import SameStepVectorEnv
from ultra_agents.records import Array, Scalar
from ultra_agents.testing._report import Broken, Skip, require

OFFERING = {
    "snapshot": "override snapshot() and restore() to have advice tested in the simulator before it is used",
    "expert": "override expert() for the control that proposes the expert's actions (proposer: oracle)",
    "reference_returns": "override reference_returns to see returns as a share of what is possible",
    "render": "override render() to see critical states as pictures in the report",
    "quantities": "override quantities() and legend so that rules can speak of the state (advice.form: rules)",
    "policies": "override policies() to ship starting policies with the plugin",
}
"""What offering an optional capability brings."""


def need(environment: Environment, capability: str) -> None:
    """Skip the check unless the plugin offers `capability`."""
    if capability not in capabilities(environment):
        raise Skip("not offered", OFFERING[capability])


@dataclass(frozen=True)
class Play:
    """What a vector environment said, from reset on: index 0 of everything but rewards and ends is the reset."""

    observations: list[Array]
    rewards: list[Array]
    ends: list[Array]
    infos: list[dict[str, Any]]


class made:
    """`with made(environment, n) as envs:` builds and closes."""

    def __init__(self, environment: Environment, num_envs: int) -> None:
        self._envs: Any = environment.make(num_envs)

    def __enter__(self) -> Any:
        return self._envs

    def __exit__(self, *_: object) -> None:
        self._envs.close()


def random_actions(environment: Environment, steps: int, num_envs: int, seed: int = 0) -> list[Array]:
    """`steps` batches of `num_envs` random actions."""
    space = copy.deepcopy(environment.action_space)
    space.seed(seed)
    return [np.stack([np.asarray(space.sample()) for _ in range(num_envs)]) for _ in range(steps)]


def _step(envs: gymnasium.vector.VectorEnv, actions: Array, play: Play) -> None:
    observations, rewards, terminated, truncated, info = envs.step(actions)
    play.observations.append(np.array(observations))
    play.rewards.append(np.array(rewards))
    play.ends.append(np.stack([terminated, truncated]))
    play.infos.append(info)


def play_from(envs: gymnasium.vector.VectorEnv, seeds: Sequence[int], actions: Sequence[Array]) -> Play:
    """Reset with `seeds` and play `actions`."""
    # gymnasium annotates `seed` as one integer although vector environments take one per environment.
    observations, info = envs.reset(seed=list(seeds))  # type: ignore[arg-type]
    play = Play([np.array(observations)], [], [], [info])
    for batch in actions:
        _step(envs, batch, play)
    return play


def _same(one: Play, i: int, other: Play, j: int, what: str) -> None:
    """Environment `i` of a play and `j` of another must have gone exactly alike."""
    for step, (a, b) in enumerate(zip(one.observations, other.observations, strict=True)):
        if not np.array_equal(a[i], b[j]):  # writing out images that are alike would take longer than comparing them
            raise Broken(f"{what}: observations differ after {step} steps: {a[i]} and {b[j]}")
    for step, (a, b) in enumerate(zip(one.rewards, other.rewards, strict=True)):
        require(a[i] == b[j], f"{what}: rewards of step {step} differ: {a[i]} and {b[j]}")
    for step, (a, b) in enumerate(zip(one.ends, other.ends, strict=True)):
        require(np.array_equal(a[:, i], b[:, j]), f"{what}: only one of two episodes ended at step {step}")


def scalars(info: dict[str, Any], index: int) -> dict[str, Scalar]:
    """One environment's part of a vector environment's information, as plain values."""
    plain = {key: values[index] for key, values in info.items() if key[0] != "_" and not key.startswith("final_")}
    return {key: value.item() for key, value in plain.items() if isinstance(value, np.generic)}


def first_episode(environment: Environment, max_steps: int, seed: int = 0) -> tuple[int, bool]:
    """Steps of random play until an episode ends (`max_steps` if none does), and whether it was truncated."""
    with made(environment, 1) as envs:
        envs.reset(seed=[seed])
        for step, actions in enumerate(random_actions(environment, max_steps, 1), start=1):
            _, _, terminated, truncated, _ = envs.step(actions)
            if terminated[0] or truncated[0]:
                return step, bool(truncated[0])
    return max_steps, False


PLAYED = 101
"""How many of `sample_observations` were met in play; these come first."""


def sample_observations(environment: Environment) -> tuple[list[Array], dict[str, Scalar]]:
    """Played, random and extreme observations, and one step's information."""
    with made(environment, 1) as envs:
        play = play_from(envs, [3], random_actions(environment, PLAYED - 1, 1))
    space = copy.deepcopy(environment.observation_space)
    space.seed(0)
    found = [batch[0] for batch in play.observations] + [np.asarray(space.sample()) for _ in range(100)]
    if isinstance(space, gymnasium.spaces.Box):
        for bound in (space.low, space.high):
            found.append(np.nan_to_num(bound, posinf=1e6, neginf=-1e6).astype(space.dtype))
        found.append(np.clip(np.zeros(space.shape), space.low, space.high).astype(space.dtype))
    return found, scalars(play.infos[0], 0)


def check_spaces(environment: Environment, _: int) -> str:
    space, steps = environment.observation_space, 50
    with made(environment, 3) as envs:
        require(envs.num_envs == 3, f"make(3) built {envs.num_envs} environments")
        require(envs.single_observation_space == space, "single_observation_space is not observation_space")
        require(envs.single_action_space == environment.action_space, "single_action_space is not action_space")
        mode = envs.metadata.get("autoreset_mode")
        require(mode == AutoresetMode.SAME_STEP, f"metadata['autoreset_mode'] is {mode}, not SAME_STEP")
        play = play_from(envs, [1, 2, 3], random_actions(environment, steps, 3))
    for observations in play.observations:
        require(observations.shape == (3, *(space.shape or ())), f"observations have shape {observations.shape}")
        require(observations.dtype == space.dtype, f"observations are {observations.dtype}, not {space.dtype}")
        for one in observations:
            if not space.contains(one):
                raise Broken(f"observation {one} is outside its space")
    for rewards in play.rewards:
        require(rewards.shape == (3,) and np.isfinite(rewards).all(), f"rewards are {rewards}")
    for ends in play.ends:
        require(ends.shape == (2, 3) and ends.dtype == np.bool_, f"terminated, truncated are {ends}")
    for info in play.infos:
        for key, values in info.items():
            require(isinstance(values, dict) or len(values) == 3, f"info[{key!r}] does not have one entry each")
    return f"{space}, {environment.action_space}, {steps} steps"


def check_autoreset(environment: Environment, max_steps: int) -> str:
    ended, space = 0, environment.observation_space
    with made(environment, 2) as envs:
        envs.reset(seed=[0, 1])
        for actions in random_actions(environment, max_steps, 2):
            _, _, terminated, truncated, info = envs.step(actions)
            for index in np.flatnonzero(terminated | truncated):
                last = info.get("final_obs", [None, None])[index]
                require(last is not None, "an episode ended and info['final_obs'] does not hold its last observation")
                require(space.contains(np.asarray(last)), f"final_obs {last} is outside the observation space")
                ended += 1
            for index in np.flatnonzero(~(terminated | truncated)):
                require(
                    "final_obs" not in info or info["final_obs"][index] is None,
                    "info['final_obs'] is set where no episode ended",
                )
            if ended >= 2:
                return f"{ended} episodes ended"
    if ended:
        return f"{ended} episode ended"
    raise Skip(f"no episode ended in {max_steps} steps")


def check_seeding(environment: Environment, _: int) -> str:
    actions = random_actions(environment, 50, 2)
    with made(environment, 2) as envs:
        first = play_from(envs, [5, 6], actions)
        again = play_from(envs, [5, 6], actions)
        swapped = play_from(envs, [6, 5], [batch[::-1] for batch in actions])
        require(len(envs.reset()[0]) == 2, "reset() without a seed does not start both environments")
    _same(first, 0, again, 0, "reset with the same seed twice")
    _same(first, 0, swapped, 1, "the same seed in another place")
    return "a reset seed decides what follows"


def check_determinism(environment: Environment, max_steps: int) -> str:
    steps = min(first_episode(environment, max_steps)[0] + 20, max_steps)
    actions = random_actions(environment, steps, 1)
    plays = []
    for _ in range(2):
        with made(environment, 1) as envs:
            plays.append(play_from(envs, [0], actions))
    _same(plays[0], 0, plays[1], 0, "two environments with the same seed and actions")
    return f"{steps} steps alike"


def check_independence(environment: Environment, max_steps: int) -> str:
    steps = min(first_episode(environment, max_steps)[0] + 20, max_steps)
    alone, crowd = random_actions(environment, steps, 1), random_actions(environment, steps, 3, seed=1)
    for mine, batch in zip(alone, crowd, strict=True):
        batch[1] = mine[0]
    with made(environment, 1) as envs:
        one = play_from(envs, [0], alone)
    with made(environment, 3) as envs:
        three = play_from(envs, [11, 0, 12], crowd)
    _same(one, 0, three, 1, "alone and among others")
    return f"{steps} steps alike, alone and among others"


def check_workers(environment: Environment, _: int) -> str:
    # What a spawned worker gets is what pickling makes of the plugin; nothing here comes from a file.
    data = ForkingPickler.dumps(environment)
    twin = ForkingPickler.loads(data)
    require(type(twin) is type(environment), f"what arrives in a worker process is a {type(twin).__name__}")
    require(twin.env_id == environment.env_id, f"{environment.env_id} arrives in a worker process as {twin.env_id}")
    actions = random_actions(environment, 50, 2)
    with made(environment, 2) as here, made(twin, 2) as there:
        one, other = play_from(here, [5, 6], actions), play_from(there, [5, 6], actions)
    for index in range(2):
        _same(one, index, other, index, "in this process and as it arrives in a worker")
    return f"{len(data):,} bytes, plays alike"


def check_snapshot(environment: Environment, max_steps: int) -> str:
    need(environment, "snapshot")
    # An episode cut by the time limit shows most: a restore that forgets the clock goes unnoticed in others.
    episodes = {seed: first_episode(environment, max_steps, seed) for seed in range(4)}
    seed = max(episodes, key=lambda one: (episodes[one][1], episodes[one][0]))
    length = episodes[seed][0]
    steps, sizes = min(length + 20, max_steps), []
    actions = random_actions(environment, steps, 1)
    for start in sorted({0, 1, length // 2, max(length - 2, 0)}):
        sizes.append(_restored_elsewhere(environment, seed, actions, start))
    _restored_in_order(environment)
    _restored_after_idling(environment)
    return f"exact over {steps} steps, about {round(float(np.mean(sizes)))} bytes each"


def _restored_elsewhere(environment: Environment, seed: int, actions: Sequence[Array], start: int) -> int:
    """Snapshot after `start` steps, restore among others, and play both to the end; the snapshot's bytes."""
    with made(environment, 1) as source, made(environment, 1) as plain, made(environment, 3) as target:
        before = play_from(source, [seed], actions[:start])
        play_from(plain, [seed], actions[:start])
        target.reset(seed=[21, 22, 23])
        for batch in random_actions(environment, 3, 3, seed=2):
            target.step(batch)
        (state,) = environment.snapshot(source, [0])
        require(type(state) is bytes, f"a snapshot is {type(state).__name__}, not bytes")
        restored = environment.restore(target, [2], [state])
        require(
            np.array_equal(restored, before.observations[-1]),
            f"restored after {start} steps: the observation is {restored[0]}, it was {before.observations[-1][0]}",
        )
        went, disturbed, untouched = (Play([np.array(restored)], [], [], []) for _ in range(3))
        for batch in actions[start:]:
            _step(source, batch, disturbed)
            _step(plain, batch, untouched)
            _step(target, np.repeat(batch, 3, axis=0), went)
        went.observations[0] = np.repeat(went.observations[0], 3, axis=0)
        _same(untouched, 0, disturbed, 0, "with a snapshot taken and without")
        _same(untouched, 0, went, 2, f"restored elsewhere after {start} steps")
    return len(state)


def _restored_in_order(environment: Environment) -> None:
    """Several states at once keep their order, and environments that are not restored keep their own state."""
    steps, before, after = 30, random_actions(environment, 5, 3), random_actions(environment, 30, 3, seed=4)
    with made(environment, 3) as source, made(environment, 3) as target, made(environment, 3) as plain:
        play_from(source, [31, 32, 33], before)
        play_from(target, [41, 42, 43], before)
        play_from(plain, [41, 42, 43], before)
        states = environment.snapshot(source, [2, 0])
        environment.restore(target, [0, 2], states)
        here, there, still = (Play([], [], [], []) for _ in range(3))
        for batch in after[:steps]:
            _step(source, batch[[2, 1, 0]], here)
            _step(target, batch, there)
            _step(plain, batch, still)
    _same(here, 2, there, 0, "several restored at once, in the order given")
    _same(here, 0, there, 2, "several restored at once, in the order given")
    _same(still, 1, there, 1, "an environment beside restored ones")


def _restored_after_idling(environment: Environment) -> None:
    """Where environments can be left out of steps, the others go on as ever, and a restored one is as good as any."""
    before, after = random_actions(environment, 5, 2), random_actions(environment, 30, 2, seed=5)
    with made(environment, 2) as plain, made(environment, 2) as resting:
        if not isinstance(resting, SameStepVectorEnv):
            return
        play_from(plain, [51, 52], before)
        play_from(resting, [51, 53], before)
        resting.idle[:] = [False, True]
        beside, alone = Play([], [], [], []), Play([], [], [], [])
        for batch in after[:15]:
            _step(plain, batch, beside)
            _step(resting, batch, alone)
        _same(beside, 0, alone, 0, "beside one that is stepped and one that is idle")
        environment.restore(resting, [1], environment.snapshot(plain, [1]))
        resting.idle[:] = False
        awake, restored = Play([], [], [], []), Play([], [], [], [])
        for batch in after[15:]:
            _step(plain, batch, awake)
            _step(resting, batch, restored)
    for index in range(2):
        _same(awake, index, restored, index, "restored after it was idle, and its neighbour")


def check_close(environment: Environment, _: int) -> str:
    envs = environment.make(2)
    envs.reset(seed=[0, 1])  # type: ignore[arg-type]  # see `play_from`
    envs.close()
    envs.close()
    return "twice without complaint"
