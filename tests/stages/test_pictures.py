"""Pictures of decisions: exact, free of charge, and never in the way."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from ultra_agents.events import AdviceDecided, Event, StateShown, Warned
from ultra_agents.records import Trajectory
from ultra_agents.rollout.simulators import LocalSimulators
from ultra_agents.stages.pictures import COLOURS, SMALL, Pictures, pack
from ultra_agents.testing.corridor import Corridor
from ultra_agents.ui.picture import sparkline, unpack


def decided(step: int, episode: int = 0) -> AdviceDecided:
    return AdviceDecided(f"{episode}:0-9", step, "RIGHT", 2, "accept", "why", 0.5)


@pytest.fixture(scope="module")
def walked() -> tuple[Corridor, Trajectory, list[Any]]:
    """An episode of going right, with its stored states and what each looked like."""
    environment = Corridor(Corridor.Options())
    snapshots, seen, frames = [], [], []
    with LocalSimulators(environment, 1) as simulators:
        observations, _ = simulators.reset(seed=[3])
        for _ in range(4):
            snapshots += simulators.snapshot([0])
            seen.append(np.array(observations[0]))
            frames.append(simulators.render_frame(0))
            observations, *_ = simulators.step(np.array([1]))
    actions, zeros = np.ones(4, np.int64), np.zeros(4)
    return (
        environment,
        Trajectory(0, 3, np.stack(seen), actions, zeros, zeros, ({},) * 4, False, True, tuple(snapshots)),
        frames,
    )


def drawn(environment: Any, trajectory: Trajectory, *events: Event) -> list[Event]:
    out: list[Event] = []
    pictures = Pictures(environment, [trajectory], out.append, share=1.0)
    for event in events:
        pictures(event)
    pictures.close()
    return out


def test_a_decision_is_handed_on_and_its_state_drawn_exactly(walked: Any) -> None:
    environment, trajectory, frames = walked
    events = drawn(environment, trajectory, Warned("x"), decided(2))
    assert events[:2] == [Warned("x"), decided(2)]
    (shown,) = [event for event in events if isinstance(event, StateShown)]
    assert (shown.segment, shown.step, shown.taken) == ("0:0-9", 2, "RIGHT")
    frame = unpack(shown)
    assert frame is not None
    assert np.array_equal(frame, frames[2])
    assert not np.array_equal(frame, frames[0]), "another state looks different"


def test_a_state_is_drawn_once_and_one_that_is_not_there_never(walked: Any) -> None:
    environment, trajectory, _ = walked
    events = drawn(environment, trajectory, decided(1), decided(1), decided(99), decided(1, episode=7))
    assert [event.step for event in events if isinstance(event, StateShown)] == [1]


def test_where_nothing_can_be_drawn_there_are_numbers(walked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, trajectory, _ = walked

    def broken(*_: object) -> None:
        raise RuntimeError("no display")

    monkeypatch.setattr(Corridor, "render", broken)
    (shown,) = [e for e in drawn(environment, trajectory, decided(2)) if isinstance(e, StateShown)]
    assert (shown.pixels, shown.first) == ("", 0)
    assert np.allclose(np.array(shown.series).T, environment.features(trajectory.observations), atol=1e-4)


def test_a_drawing_that_hangs_holds_nobody_up(walked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, trajectory, _ = walked
    release, entered = threading.Event(), threading.Event()

    def hangs(*_: object) -> Any:
        entered.set()
        release.wait(30)
        raise RuntimeError("late")

    monkeypatch.setattr(Corridor, "render", hangs)
    out: list[Event] = []
    pictures = Pictures(environment, [trajectory], out.append)
    pictures(decided(1))
    assert entered.wait(30)
    pictures.close()
    release.set()
    pictures._thread.join(30)
    assert out == [decided(1)], "what is too late is left out"


def test_drawn_art_keeps_every_pixel_and_photographs_become_small() -> None:
    rng = np.random.default_rng(0)
    art = np.zeros((210, 160, 3), np.uint8)
    art[100:104, 80:82] = 255
    width, height, pixels = pack(art)
    assert (width, height) == (160, 210)
    assert len(pixels) < 400
    frame = unpack(StateShown("0:0-9", 1, "UP", width, height, pixels))
    assert frame is not None
    assert np.array_equal(frame, art)
    photo = rng.integers(0, 256, (480, 480, 3), dtype=np.uint8)
    width, height, pixels = pack(photo)
    assert height <= SMALL[0]
    assert width <= SMALL[1]
    assert len(pixels) < 8000
    frame = unpack(StateShown("0:0-9", 1, "UP", width, height, pixels))
    assert frame is not None
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) <= COLOURS


def test_damaged_pictures_are_no_pictures() -> None:
    width, height, pixels = pack(np.zeros((4, 4, 3), np.uint8))
    good = StateShown("0:0-9", 1, "UP", width, height, pixels)
    assert unpack(good) is not None
    for bad in ("", "%%%", pixels[:-6], "AAAA"):
        assert unpack(StateShown("0:0-9", 1, "UP", width, height, bad)) is None
    assert unpack(StateShown("0:0-9", 1, "UP", 5, 4, pixels)) is None
    assert unpack(StateShown("0:0-9", 1, "UP", -4, -4, pixels)) is None


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline([0, 1, 2, 3], 4) == "▁▃▆█"
    assert sparkline([5, 5], 9) == "▁▁"
    assert sparkline([0.0, float("nan"), 1.0], 3) == "▁ █"
    assert len(sparkline(list(map(float, range(100))), 10)) == 10
    assert sparkline([float("nan")], 4) == sparkline([], 4) == ""
