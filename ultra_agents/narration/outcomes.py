"""How stretches of an episode end: what was decided, when, and where nothing could be gained any more."""

from __future__ import annotations

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.narration.rewards import reward_events, usual_reward
from ultra_agents.narration.wording import number, reward_word
from ultra_agents.records import Segment, Trajectory


def next_event(trajectory: Trajectory, step: int) -> int | None:
    """The first step from `step` on with a distinct reward; None where there is none up to the end of the episode."""
    later = np.flatnonzero(reward_events(trajectory.rewards)[step:])
    return step + int(later[0]) if len(later) else None


def won_steps(trajectory: Trajectory, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Those of `steps` after which the next event was a reward better than the usual one.

    Where rewards are events of both kinds, points won and lost, nothing more can be gained there. In an episode whose
    events are all of one kind (bricks hit, a goal reached) they may come sooner, more often or be worth more: none of
    its steps counts as won.
    """
    usual = usual_reward(trajectory.rewards)
    events = np.flatnonzero(reward_events(trajectory.rewards))
    if usual is None or len(events) == 0:
        return ()
    better = trajectory.rewards[events] > usual
    if better.all() or not better.any():
        return ()
    following = np.searchsorted(events, steps)
    return tuple(step for step, at in zip(steps, following, strict=True) if at < len(events) and better[at])


def ending(trajectory: Trajectory, segment: Segment, environment: Environment, short: bool = False) -> str:
    """How a stretch ended, or what came of it after its last step; in a line.

    Args:
        trajectory: The episode.
        segment: The stretch.
        environment: The words for rewards.
        short: In a few words, for a narration that has no room for more.
    """
    last, length = segment.stop - 1, len(trajectory)
    event = next_event(trajectory, last)
    earned = "" if event is None else _earned(trajectory, event, environment)
    here = "" if segment.stop < length else _closed(trajectory, "The episode terminated here.",
        "The time limit cut the episode here.", "The record of the episode was cut here.")  # fmt: skip
    if event == last:
        return f"End: {earned}." if short else " ".join([f"This stretch ends at step {last}: {earned}.", here]).strip()
    if here:
        return here if short else f"This stretch ends at step {last}. {here}"
    if event is not None:
        if short:
            return f"Next: {earned} at step {event}."
        when = f"{_steps(event - last)} later, at step {event}"
        return f"This stretch ends at step {last}, undecided: {earned} came {when}."
    if short:
        return f"The episode went on for {_steps(length - segment.stop)}."
    rest = ""
    if usual_reward(trajectory.rewards) is None:
        rest = f", with a return of {number(float(np.sum(trajectory.rewards[segment.stop :])))}"
    closed = _closed(trajectory, "terminated", "was cut by the time limit", "was cut")
    left = _steps(length - segment.stop)
    return f"This stretch ends at step {last}. The episode went on for {left}{rest}; then it {closed}."


def _earned(trajectory: Trajectory, step: int, environment: Environment) -> str:
    reward = trajectory.rewards[step : step + 1]
    word = reward_word(environment, reward)
    told = f"reward {number(reward[0])}"
    return f"{word} ({told})" if word else told


def _closed(trajectory: Trajectory, terminated: str, truncated: str, cut: str) -> str:
    return terminated if trajectory.terminated else truncated if trajectory.truncated else cut


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"
