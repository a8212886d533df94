"""Where on my paddle must a ball hit to leave steeply? Measured frame by frame in the emulator.

    python benchmarks/pong_hits.py [--waves 40]

Balls on their way to my paddle are taken from played games, and from each the paddle is moved at random, frame by
frame. Prints, for each offset of ball and paddle (ball less paddle, px, positive below) in the last frame before the
ball turns, how often it left at which speed (px per frame, positive downwards), and how far behind the paddle's face
balls were still returned. `plugins/environments/pong/flight.py` holds the findings; a test compares them.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from ultra_agents.registry import create_environment

GAMES, FRAMES, AT_ONCE = 4, 66, 64
FACE = 140
"""Where the ball's centre meets the paddle's face, px."""


@dataclass
class Hits:
    """What was seen.

    Attributes:
        speeds: Offset at the hit -> speed afterwards -> times; balls away from the walls only.
        behind: Pixels behind the face at which a ball turned -> times.
        reached: Offset when the ball was at the face -> "hit", "late" or "lost" -> times.
    """

    speeds: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    behind: Counter[int] = field(default_factory=Counter)
    reached: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def approaching(steps: int, seed: int = 0) -> list[bytes]:
    """Games in which a ball is 36 to 40 px from my paddle."""
    pong, rng = create_environment("pong"), np.random.default_rng(seed)
    expert, envs, found = pong.expert(), pong.make(GAMES), list[bytes]()
    seen, info = envs.reset(seed=list(range(GAMES)))  # type: ignore[arg-type]
    for _ in range(steps):
        before = info["ball_x"]
        chance = rng.random(GAMES) < 0.15
        seen, _, _, _, info = envs.step(np.where(chance, rng.integers(0, 3, GAMES), expert(seen)))
        coming = (info["ball_x"] - before == 4) & (before >= 96) & (before < 100)
        found += pong.snapshot(envs, np.flatnonzero(coming).tolist())
    envs.close()
    return found


def hits_of(states: list[bytes], waves: int, seed: int = 1) -> Hits:
    """Play from `states` at one frame a step, `AT_ONCE` games in each of `waves`."""
    pong, rng, hits = create_environment("pong", {"frame_skip": 1}), np.random.default_rng(seed), Hits()
    envs = pong.make(AT_ONCE)
    envs.reset(seed=list(range(AT_ONCE)))  # type: ignore[arg-type]
    for _ in range(waves):
        picked = [states[int(index)] for index in rng.integers(0, len(states), AT_ONCE)]
        pong.restore(envs, range(AT_ONCE), picked)
        actions, rows = rng.integers(0, 3, AT_ONCE), []
        for _ in range(FRAMES):
            actions = np.where(rng.random(AT_ONCE) < 0.12, rng.integers(0, 3, AT_ONCE), actions)
            info = envs.step(actions)[4]
            rows.append(np.stack([info["ball_x"], info["ball_y"], info["own_y"]]))
        for game in np.stack(rows, axis=2).transpose(1, 0, 2).tolist():
            _note(hits, *game)
    envs.close()
    return hits


def _note(hits: Hits, x: list[int], y: list[int], own: list[int]) -> None:
    face = None
    for now in range(1, FRAMES - 6):
        if x[now] == FACE and x[now - 1] < FACE:
            face = y[now] - own[now]
        if face is None:
            continue
        if x[now] < x[now - 1]:
            behind, off = x[now - 1] - FACE, y[now - 1] - own[now - 1]
            hits.behind[behind] += 1
            hits.reached[face]["late" if behind else "hit"] += 1
            if not behind and 45 < y[now] < 182:
                hits.speeds[off][y[now + 4] - y[now + 3]] += 1
            return
        if x[now] > FACE + 10:
            hits.reached[face]["lost"] += 1
            return


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--waves", type=int, default=40, help=f"rounds of {AT_ONCE} balls (40: about half a minute)")
    waves = parser.parse_args().waves
    hits = hits_of(approaching(600), waves)
    print("offset px  speed afterwards px/frame (times)")
    for off, speeds in sorted(hits.speeds.items()):
        print(f"{off:+6d}     {', '.join(f'{speed:+d} ({count})' for speed, count in speeds.most_common())}")
    print("px behind the face at which balls turned:", dict(sorted(hits.behind.items())))
    for off in range(-16, 19):
        print(f"at the face {off:+d}: {dict(hits.reached.get(off, {}))}")


if __name__ == "__main__":
    main()
