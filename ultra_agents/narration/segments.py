"""Which segments of a long episode are explained.

A critic that is only shown failures fixes on one of them (salience bias: `docs/method.md`, "How a comparison is
made"), so the segments of one episode are of different kinds: one that ends with a punishment, one that ends with a
reward, one of median length, and the same again from the rest. Where rewards give no such marks (dense, or the same on
every step), segments are where the policy's own value changed most, at the start, at the end, and at random. Not
stated by the ULTRA paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ultra_agents.config import NarrationConfig
from ultra_agents.contracts import Environment
from ultra_agents.narration.rewards import reward_events, usual_reward
from ultra_agents.narration.wording import reward_word
from ultra_agents.records import FloatArray, Segment, Trajectory

SHORTEST = 4
"""Steps below which a segment shows too little to explain anything."""


@dataclass(frozen=True)
class _Span:
    """Steps `start .. stop - 1`, and why they were chosen."""

    start: int
    stop: int
    why: str

    def meets(self, other: _Span) -> bool:
        return self.start < other.stop and other.start < self.stop


def choose_segments(
    trajectory: Trajectory, environment: Environment, config: NarrationConfig, rng: np.random.Generator
) -> list[Segment]:
    """At most `segments_per_episode` segments without overlap, each at most `segment_steps` long, in order of time.

    Args:
        trajectory: The episode.
        environment: Names the kinds (`segment_kind`).
        config: Sizes and numbers.
        rng: Chooses among equals.
    """
    length, rewards = len(trajectory), trajectory.rewards
    if length == 0:
        return []
    if length <= config.segment_steps:
        return [Segment(trajectory.episode, 0, length, reward_word(environment, rewards) or "whole episode")]
    chosen: list[_Span] = []
    candidates = [*_rallies(rewards, config, rng), *_windows(trajectory, config)]
    for span in candidates:
        if len(chosen) == config.segments_per_episode:
            break
        if not any(span.meets(other) for other in chosen):
            chosen.append(span)
    while len(chosen) < config.segments_per_episode:
        filler = _somewhere(length, config, chosen, rng)
        if filler is None:
            break
        chosen.append(filler)
    chosen.sort(key=lambda span: span.start)
    return [Segment(trajectory.episode, span.start, span.stop, _kind(span, rewards, environment)) for span in chosen]


def _kind(span: _Span, rewards: FloatArray, environment: Environment) -> str:
    """The environment's word for a segment that ends in a reward; ours, with its word added, for the others."""
    word = reward_word(environment, rewards[span.start : span.stop])
    if span.why in ("punishment", "reward"):
        return word or f"ends in a {span.why}"
    return f"{span.why}: {word}" if word else span.why


def _rallies(rewards: FloatArray, config: NarrationConfig, rng: np.random.Generator) -> Iterator[_Span]:
    """Stretches that end with an event: punished, rewarded, of median length, and again from the rest."""
    events = np.flatnonzero(reward_events(rewards))
    usual = usual_reward(rewards)
    if len(events) == 0 or usual is None:
        return
    starts = [0, *(int(event) + 1 for event in events[:-1])]
    rallies = [
        _Span(start, int(event) + 1, "punishment" if rewards[event] < usual else "reward")
        for start, event in zip(starts, events, strict=True)
    ]
    left = [rally for rally in rallies if rally.stop - rally.start >= SHORTEST]
    while left:
        for why in ("punishment", "reward", "median stretch"):
            if why == "median stretch":
                by_length = sorted(left, key=lambda rally: (rally.stop - rally.start, rally.start))
                pick = by_length[(len(by_length) - 1) // 2] if by_length else None
            else:
                same = [rally for rally in left if rally.why == why]
                pick = same[int(rng.integers(len(same)))] if same else None
            if pick is not None:
                left.remove(pick)
                yield _cut(pick, config.segment_steps, why)


def _cut(rally: _Span, steps: int, why: str) -> _Span:
    """The end of a long rally, where it was decided; the middle where a typical segment is wanted."""
    spare = max(rally.stop - rally.start - steps, 0)
    after = spare // 2 if why == "median stretch" else 0
    return _Span(rally.start + spare - after, rally.stop - after, why)


def _windows(trajectory: Trajectory, config: NarrationConfig) -> Iterator[_Span]:
    """Where most changed, the start, the end."""
    length = len(trajectory)
    width = _width(length, config)
    biggest = _largest_change(trajectory, width)
    if biggest is not None:
        yield _Span(biggest, biggest + width, "largest change")
    yield _Span(0, width, "start")
    yield _Span(length - width, length, "end")


def _width(length: int, config: NarrationConfig) -> int:
    return max(min(config.segment_steps, length // config.segments_per_episode), min(SHORTEST, length))


def _largest_change(trajectory: Trajectory, width: int) -> int | None:
    """First step of the `width` steps over which most changed: the value, or else the reward; None if nothing did."""
    values = np.asarray(trajectory.values, dtype=np.float64)
    change = np.abs(values[width - 1 :] - values[: len(values) - width + 1])
    if not np.any(change > 0):
        total = np.concatenate([[0.0], np.cumsum(trajectory.rewards, dtype=np.float64)])
        earned = total[width:] - total[:-width]
        change = np.abs(earned - np.median(earned))
    return int(np.argmax(change)) if np.any(change > 1e-9) else None


def _somewhere(length: int, config: NarrationConfig, chosen: list[_Span], rng: np.random.Generator) -> _Span | None:
    """A random segment in what is left, shorter where the gaps are; None when no gap is long enough."""
    width = _width(length, config)
    while width:
        places = [
            start
            for start in range(length - width + 1)
            if not any(_Span(start, start + width, "").meets(other) for other in chosen)
        ]
        if places:
            start = places[int(rng.integers(len(places)))]
            return _Span(start, start + width, "middle")
        width = max(width // 2, SHORTEST) if width > SHORTEST else 0
    return None
