"""One episode of the starting and of the refined policy, from the same seed, side by side in a small animation.

Both meet the same start and the same random numbers, as in the evaluation. The episode is played for the eye alone:
its seed is used nowhere else and its steps are charged to nobody.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ultra_agents.contracts import Environment, Policy
from ultra_agents.contracts.environment import uniforms_per_action
from ultra_agents.errors import UltraError
from ultra_agents.evaluation.frames import BACKGROUND, BAND, SUGGESTED, TEXT, enlarge
from ultra_agents.records import Array
from ultra_agents.rollout.collect import draw
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.seeding import Streams

MAX_FRAMES = 256
"""Most frames of an episode; of longer ones, frames are skipped."""
MAX_STEPS = 1000
"""Longer episodes are cut: with larger steps between frames they could not be followed."""
MAX_BYTES = 1_120_000
"""Of the file; 1.5 MB once it is text inside the page."""
WIDTH, GAP = 240, 8
SECONDS = 20.0
"""Approximate duration."""


@dataclass(frozen=True, eq=False)
class PlayedEpisode:
    """One rendered episode.

    Attributes:
        frames: `(H, W, 3)` uint8 pictures, of the steps `at`.
        at: Environment steps before each picture.
        earned: Return so far at each picture.
        total: Return of the whole episode.
        steps: Its length.
        ended: The episode ended; False where the video stops before.
    """

    frames: tuple[Array, ...]
    at: tuple[int, ...]
    earned: tuple[float, ...]
    total: float
    steps: int
    ended: bool


@dataclass(frozen=True, eq=False)
class Video:
    """An animated image, or the reason why there is none.

    Attributes:
        data: The file's content; empty where there is none.
        kind: `webp` or `gif`.
        caption: A description, or why there is none.
    """

    data: bytes
    kind: str
    caption: str

    @property
    def uri(self) -> str:
        """The image as a data URI."""
        return f"data:image/{self.kind};base64," + base64.b64encode(self.data).decode("ascii")

    def __repr__(self) -> str:
        return f"Video({self.kind}, {len(self.data)} bytes, {self.caption!r})"


def before_and_after(
    before: Policy, after: Policy, environment: Environment, simulators: Simulators, seed: int, streams: Streams,
    name: str,
) -> Video:  # fmt: skip
    """Play, draw and encode; where that is not possible, `Video.caption` says why.

    Args:
        before: The starting policy.
        after: The refined one.
        environment: The plugin.
        simulators: Two environments in this process; reset here.
        seed: Of both episodes.
        streams: Source of the policies' random numbers, the same for both.
        name: The refining method, for the caption.
    """
    if not simulators.can_render:
        return Video(b"", "", "There is no video: this environment does not draw itself.")
    try:
        played = play((before, after), environment, simulators, seed, streams)
        data, kind = encode(side_by_side(played, ("before", "after")))
    except UltraError as error:
        return Video(b"", "", f"There is no video: {error.problem}.")
    returns = " and ".join(f"{one.total:.4g}{'' if one.ended else ' so far'}" for one in played)
    caption = (
        f"The starting policy (left) and the one refined by {name} (right) from the same seed, {seed}, which no "
        f"training or evaluation used; their returns in this single episode: {returns}."
    )
    return Video(data, kind, caption)


def play(
    policies: Sequence[Policy], environment: Environment, simulators: Simulators, seed: int, streams: Streams
) -> list[PlayedEpisode]:
    """One episode of each policy, all at once: policy `i` in environment `i`, all from `seed`.

    A picture is taken of every `k`-th step; `k` doubles whenever `MAX_FRAMES` are reached.
    """
    count, dims = len(policies), uniforms_per_action(environment)
    generators = [streams.generator("episode") for _ in policies]
    observations, _ = simulators.reset(seed=[seed] * count)
    kept: list[list[tuple[Array, int, float]]] = [[] for _ in policies]
    totals, lengths = [0.0] * count, [0] * count
    playing, every, step = set(range(count)), 1, 0
    while playing and step < MAX_STEPS:
        if step % every == 0:
            for index in playing:
                kept[index].append((np.array(simulators.render_frame(index)), step, totals[index]))
            if max(map(len, kept)) >= MAX_FRAMES:
                every *= 2
                kept = [[row for row in rows if row[1] % every == 0] for rows in kept]
        rows = [
            policy.act_with_uniforms(observations[i : i + 1], draw(generators[i], dims)[None])[0]
            for i, policy in enumerate(policies)
        ]
        observations, rewards, terminated, truncated, _ = simulators.step(np.stack(rows))
        step += 1
        for index in sorted(playing):
            totals[index] += float(rewards[index])
            lengths[index] = step
            if terminated[index] or truncated[index]:
                playing.remove(index)
    return [
        PlayedEpisode(*(tuple(column) for column in zip(*rows, strict=True)), total, length, index not in playing)  # type: ignore[arg-type,call-arg]
        for index, (rows, total, length) in enumerate(zip(kept, totals, lengths, strict=True))
    ]


def side_by_side(played: Sequence[PlayedEpisode], names: Sequence[str]) -> list[Array]:
    """Pictures `(H, W, 3)` of all episodes side by side, with name, step and return; ended ones stand still."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=14)
    pictures = []
    for number in range(max(len(one.frames) for one in played) + 1):
        parts = []
        for one, name in zip(played, names, strict=True):
            index = min(number, len(one.frames) - 1)
            over = number >= len(one.frames)
            frame = enlarge(one.frames[index], WIDTH)
            canvas = Image.new("RGB", (frame.shape[1], frame.shape[0] + BAND), BACKGROUND)
            canvas.paste(Image.fromarray(frame), (0, 0))
            write, middle = ImageDraw.Draw(canvas), frame.shape[0] + BAND // 2
            earned, step = (one.total, one.steps) if over else (one.earned[index], one.at[index])
            word = ("ended at" if one.ended else "stopped at") if over else "step"
            write.text((8, middle), f"{name}, {word} {step}", fill=TEXT, font=font, anchor="lm")
            write.text((frame.shape[1] - 8, middle), f"{earned:.4g}", fill=SUGGESTED, font=font, anchor="rm")
            parts.append(np.asarray(canvas))
        gap = np.full((parts[0].shape[0], GAP, 3), 255, np.uint8)
        pictures.append(np.concatenate([part for each in parts for part in (gap, each)][1:], axis=1))
    return pictures


def encode(pictures: Sequence[Array], max_bytes: int = MAX_BYTES) -> tuple[bytes, str]:
    """An animated WebP (GIF where Pillow knows none) of at most `max_bytes`, and its kind.

    Quality goes first, then every other picture, until it fits.
    """
    from PIL import Image, features

    kind = "webp" if features.check("webp") else "gif"
    chosen = list(pictures)
    while True:
        each = int(np.clip(1000 * SECONDS / len(chosen), 50, 400))
        images = [Image.fromarray(picture) for picture in chosen]
        shown = [each] * (len(images) - 1) + [2000]
        for quality in (70, 40) if kind == "webp" else (0,):
            buffer = io.BytesIO()
            images[0].save(
                buffer, format=kind.upper(), save_all=True, append_images=images[1:], duration=shown, loop=0,
                quality=quality, method=3,
            )  # fmt: skip
            if buffer.tell() <= max_bytes or len(chosen) == 1:
                return buffer.getvalue(), kind
        chosen = [*chosen[:-1:2], chosen[-1]] if len(chosen) > 2 else chosen[-1:]
