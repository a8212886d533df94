"""What a describer says, held against what then happens: for the tests of an environment plugin's author.

A describer's sentences are listed as claims, each with what it says of the episode. Episodes are played, every state
is described, every claim found in a description is judged, and words that belong to no claim are an error, so that a
new sentence cannot go unchecked:

    claims = [Claim("still", "The car stands still", lambda said, one, step: one.quantities["velocity"][step] == 0)]
    episodes = play_episodes(environment, act, num_envs=8, steps=500)
    tallies = check_claims(environment, episodes, claims)
    assert not wrong_claims(tallies)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ultra_agents.contracts import Environment, capabilities
from ultra_agents.contracts.vector import before_reset
from ultra_agents.records import Array, FloatArray, Scalar
from ultra_agents.testing._report import Broken

Act: TypeAlias = Callable[[Array, np.random.Generator], Array]
"""What plays: observations `(n, ...)` and randomness -> actions `(n, ...)`."""
JOINTS = re.compile(r"[\s.,;:]*(?:\band\b)?[\s.,;:]*")
"""What may stand between claims."""
MOST_EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode, or the part of it that was played.

    Attributes:
        observations: Of all states, the last one included: `(steps + 1, ...)`.
        infos: The scalars beside each; empty beside the last one of an ended episode.
        rewards: `(steps,)`.
        terminated: Whether it ended by itself; neither this nor `truncated` where playing stopped.
        truncated: Whether the time limit ended it.
        quantities: Name -> `(steps + 1,)`; empty where the environment has none.
    """

    observations: Array
    infos: Sequence[Mapping[str, Scalar]]
    rewards: FloatArray
    terminated: bool
    truncated: bool
    quantities: Mapping[str, FloatArray]

    def __len__(self) -> int:
        """Steps."""
        return len(self.rewards)


@dataclass(frozen=True)
class Claim:
    """One kind of sentence.

    Attributes:
        name: For messages.
        pattern: Regular expression of the words.
        holds: Whether what the match says of the state at a step of an episode is so; None where what was played does
            not tell.
        least: Share of the sentences that must hold; less than 1 for what is called probable only.
    """

    name: str
    pattern: str
    holds: Callable[[re.Match[str], Episode, int], bool | None]
    least: float = 1.0


@dataclass
class Tally:
    """How often a claim was made and judged.

    Attributes:
        said: Times it was made and could be judged.
        wrong: Times it did not hold.
        examples: A few descriptions in which it did not.
    """

    said: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)


def play_episodes(environment: Environment, act: Act, *, num_envs: int, steps: int, seed: int = 0) -> list[Episode]:
    """Play `num_envs` environments for `steps` steps each; seeds are `seed`, `seed + 1`, ..."""
    rng = np.random.default_rng(seed)
    envs = environment.make(num_envs)
    found: list[Episode] = []
    try:
        first, info = envs.reset(seed=list(range(seed, seed + num_envs)))  # type: ignore[arg-type]
        observations = np.asarray(first)
        open_ones = [([observations[index]], [_scalars(info, index)], list[float]()) for index in range(num_envs)]
        for _ in range(steps):
            following, rewards, terminated, truncated, info = envs.step(act(observations, rng))
            ended = np.asarray(terminated) | np.asarray(truncated)
            last = before_reset(np.asarray(following), ended, info)
            for index, (states, infos, earned) in enumerate(open_ones):
                states.append(last[index])
                infos.append({} if ended[index] else _scalars(info, index))
                earned.append(float(rewards[index]))
                if ended[index]:
                    ends = bool(terminated[index]), bool(truncated[index])
                    found.append(_episode(environment, states, infos, earned, *ends))
                    open_ones[index] = [following[index]], [_scalars(info, index)], []
            observations = np.asarray(following)
    finally:
        envs.close()
    found += [_episode(environment, *one, False, False) for one in open_ones if one[2]]
    return found


def check_claims(
    environment: Environment,
    episodes: Sequence[Episode],
    claims: Sequence[Claim],
    describe: Callable[[Array, Mapping[str, Scalar]], str] | None = None,
) -> dict[str, Tally]:
    """Judge every claim in the descriptions of all states but the last of each episode.

    Args:
        environment: Whose describer it is.
        episodes: As `play_episodes` gives them.
        claims: Every kind of sentence.
        describe: In place of the environment's.

    Returns:
        By the claim's name; also of claims that were never made.

    Raises:
        Broken: Words of a description belong to no claim.
    """
    tallies = {one.name: Tally() for one in claims}
    patterns = [(one, re.compile(one.pattern)) for one in claims]
    for episode in episodes:
        for step in range(len(episode)):
            text = (describe or environment.describe)(episode.observations[step], episode.infos[step])
            left = list(text)
            for claim, pattern in patterns:
                for match in pattern.finditer(text):
                    left[match.start() : match.end()] = "|" * len(match[0])
                    _judge(tallies[claim.name], claim.holds(match, episode, step), text)
            unclaimed = [part for part in "".join(left).split("|") if not JOINTS.fullmatch(part)]
            if unclaimed:
                raise Broken(
                    f"describe() says {unclaimed[0].strip()!r} in {text!r}, which no claim covers",
                    "add a claim that says when this is so",
                )
    return tallies


def wrong_claims(tallies: Mapping[str, Tally], claims: Sequence[Claim]) -> dict[str, Tally]:
    """The claims that hold less often than they must."""
    least = {one.name: one.least for one in claims}
    return {name: one for name, one in tallies.items() if one.said - one.wrong < least[name] * one.said}


def _judge(tally: Tally, holds: bool | None, text: str) -> None:
    if holds is None:
        return
    tally.said += 1
    if not holds:
        tally.wrong += 1
        if len(tally.examples) < MOST_EXAMPLES:
            tally.examples.append(text)


def _episode(
    environment: Environment,
    states: Sequence[Array],
    infos: Sequence[Mapping[str, Scalar]],
    rewards: Sequence[float],
    terminated: bool,
    truncated: bool,
) -> Episode:
    observations = np.stack(states)
    named = environment.quantities(observations) if "quantities" in capabilities(environment) else {}
    return Episode(observations, list(infos), np.asarray(rewards), terminated, truncated, named)


def _scalars(info: Mapping[str, Any], index: int) -> dict[str, Scalar]:
    """One environment's part of the information, as plain values."""
    found: dict[str, Scalar] = {}
    for key, values in info.items():
        plain = isinstance(values, np.ndarray) and values.dtype != object
        if plain and key[0] != "_" and not key.startswith("final_"):
            found[key] = values[index].item()
    return found
