"""The moving picture of a policy before and after: what is played, drawn, encoded and put into the report."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ultra_agents.contracts import Policy
from ultra_agents.evaluation import video
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.evaluation.video import PlayedEpisode, Video, before_and_after, encode, play, side_by_side
from ultra_agents.records import Array, FloatArray
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions


class Walker(Policy):
    """Goes right with a given chance."""

    def __init__(self, right: float) -> None:
        self.right = right

    def act(self, observations: Array, rng: Any = None, deterministic: bool = False) -> Array:
        raise NotImplementedError

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        return (uniforms[:, 0] < self.right).astype(np.int64)

    def value(self, observations: Array) -> FloatArray:
        return np.zeros(len(observations))

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        return {}, {}


CORRIDOR = Corridor(CorridorOptions(length=21, max_steps=200, step_cost=0.01, slip=0.2))


def played(*rights: float, seed: int = 3, **limits: int) -> list[PlayedEpisode]:
    with make_simulators(CORRIDOR, len(rights)) as simulators:
        return play([Walker(right) for right in rights], CORRIDOR, simulators, seed, Streams(1))


def test_both_meet_the_same_start_and_the_same_random_numbers() -> None:
    one, twin, other = played(0.7, 0.7, 0.2)
    assert (one.total, one.steps, one.at) == (twin.total, twin.steps, twin.at)
    assert all(np.array_equal(a, b) for a, b in zip(one.frames, twin.frames, strict=True))
    assert other.total != one.total
    assert np.array_equal(other.frames[0], one.frames[0])
    with make_simulators(CORRIDOR, 1) as simulators:
        told = evaluate_returns(Walker(0.7), CORRIDOR, simulators, [3], _Always())
    assert told.values == (pytest.approx(one.total),)
    assert told.lengths == (one.steps,)
    assert one.ended
    assert one.at == tuple(range(one.steps)), "a picture of every step"
    assert one.earned[-1] == pytest.approx(-0.01 * (one.steps - 1))


class _Always(Streams):
    """Streams of `played`, whatever the number of the episode."""

    def __init__(self) -> None:
        super().__init__(1)

    def generator(self, *address: str | int) -> np.random.Generator:
        return Streams(1).generator("episode")


def test_long_episodes_are_shown_in_bigger_steps_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "MAX_FRAMES", 8)
    monkeypatch.setattr(video, "MAX_STEPS", 30)
    slow = Corridor(CorridorOptions(length=1001, max_steps=100))
    with make_simulators(slow, 1) as simulators:
        (one,) = play([Walker(0.5)], slow, simulators, 0, Streams(0))
    assert one.at == (0, 8, 16, 24), "every second one goes each time there are eight"
    assert (one.steps, one.ended) == (30, False)
    assert len(side_by_side([one], ["x"])) == len(one.frames) + 1


def test_ended_episodes_stand_still_beside_longer_ones() -> None:
    short, long = (
        PlayedEpisode(tuple(np.full((20, 60, 3), 40 * n, np.uint8) for n in range(count)), tuple(range(count)),
               tuple(0.5 * n for n in range(count)), 9.0, count, True)
        for count in (2, 5)
    )  # fmt: skip
    pictures = side_by_side([short, long], ["before", "after"])
    assert len(pictures) == 6
    wide = (pictures[0].shape[1] - video.GAP) // 2
    left, right = [p[:, :wide] for p in pictures], [p[:, wide + video.GAP :] for p in pictures]
    assert all(np.array_equal(left[2], later) for later in left[3:])
    assert len({picture.tobytes() for picture in right}) == 6
    assert (left[0][0, 0] == 0).all()
    assert (right[4][0, 0] == 160).all()


def test_the_file_is_an_animation_within_its_size() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (60, 80, 3), dtype=np.uint8) for _ in range(40)]
    data, kind = encode(noise)
    read = Image.open(io.BytesIO(data))
    assert (kind, read.n_frames, read.size) == ("webp", 40, (80, 60))  # type: ignore[attr-defined]
    small, _ = encode(noise, max_bytes=len(data) // 4)
    assert len(small) <= len(data) // 4
    assert 2 <= Image.open(io.BytesIO(small)).n_frames < 40  # type: ignore[attr-defined]


def test_without_webp_it_is_a_gif(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import features

    monkeypatch.setattr(features, "check", lambda name: False)
    data, kind = encode([np.full((10, 10, 3), shade, np.uint8) for shade in (0, 90, 200)])
    assert kind == "gif"
    assert Image.open(io.BytesIO(data)).n_frames == 3  # type: ignore[attr-defined]


def test_an_environment_that_does_not_draw_itself_gets_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> Video:
        with make_simulators(CORRIDOR, 2) as simulators:
            if blind:
                simulators.can_render = False
            return before_and_after(Walker(0.1), Walker(1.0), CORRIDOR, simulators, 5, Streams(0), "ULTRA-RA")

    blind = True
    assert made().caption == "There is no video: this environment does not draw itself."
    assert made().data == b""
    blind = False
    assert "refined by ULTRA-RA (right) from the same seed, 5" in made().caption
    monkeypatch.setattr(Corridor, "render", lambda *_: np.zeros((3, 3)))
    assert made().caption == "There is no video: a rendered frame is not an image."


def test_a_run_leaves_the_video_in_its_folder_and_its_report(tmp_path: Path) -> None:
    from ultra_agents.config import parse_config
    from ultra_agents.events import ignore
    from ultra_agents.pipeline import run_pipeline
    from ultra_agents.runs import RunFolder

    settings: dict[str, Any] = {
        "name": "one",
        "environment": {"name": "corridor"},
        "policy": {"train_steps": 64},
        "methods": ["continue"],
        "refine": {"steps": 256, "num_envs": 2, "workers": 0, "evaluate_every": 256, "curve_episodes": 2},
        "evaluate": {"episodes": 2},
    }
    folder = RunFolder.create(tmp_path, parse_config(settings, "test"))
    run_pipeline(folder, folder.config, ignore, lambda: False)
    page = (folder.path / "report.html").read_text()
    (found,) = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
    data = (folder.path / "before_and_after.webp").read_bytes()
    assert base64.b64decode(found) == data
    assert Image.open(io.BytesIO(data)).n_frames > 2  # type: ignore[attr-defined]
    assert "Before and after" in page
    report = json.loads((folder.path / "report.json").read_text())
    assert set(report["env_steps"]) == {"collect", "test", "refine continue", "evaluate"}, "nobody pays"
    mute = parse_config({**settings, "evaluate": {"episodes": 2, "video": False}}, "test")
    folder = RunFolder.create(tmp_path / "mute", mute)
    run_pipeline(folder, folder.config, ignore, lambda: False)
    assert "image/webp" not in (folder.path / "report.html").read_text()
    assert not (folder.path / "before_and_after.webp").exists()
