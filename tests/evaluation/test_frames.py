from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ultra_agents.errors import EnvironmentFault
from ultra_agents.evaluation.frames import BAND, direction_of, enlarge, label_frame, png_data_uri


def test_small_frames_grow_by_whole_pixels() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (10, 8, 3), dtype=np.uint8)
    grown = enlarge(frame, 80)
    assert grown.shape == (100, 80, 3)
    np.testing.assert_array_equal(grown[::10, ::10], frame)
    np.testing.assert_array_equal(grown[9::10, 9::10], frame)


def test_large_frames_shrink_and_keep_their_shape() -> None:
    assert enlarge(np.zeros((600, 1200, 3), np.uint8), 300).shape == (150, 300, 3)


def test_the_label_covers_nothing_of_the_frame() -> None:
    frame = np.full((40, 160, 3), 77, np.uint8)
    labelled = label_frame(frame, 12, "STAY", "UP", 320)
    assert labelled.shape == (80 + BAND, 320, 3)
    assert (labelled[:80] == 77).all()
    assert not (labelled[80:] == labelled[80, 0]).all()
    other = label_frame(frame, 12, "STAY", "DOWN", 320)
    assert not np.array_equal(labelled[80:], other[80:])


def test_a_narrow_frame_with_long_names_still_works() -> None:
    assert label_frame(np.zeros((50, 20, 3), np.uint8), 3, "hip +0.4", "x" * 90, 40).shape[1] == 40


@pytest.mark.parametrize(
    ("action", "direction"),
    [("UP", "up"), ("PUSH LEFT", "left"), ("push_right", "right"), ("STAY", None), ("UP-LEFT", None),
     ("SUPPER", None)],
)  # fmt: skip
def test_directions_in_action_names(action: str, direction: str | None) -> None:
    assert direction_of(action) == direction


@pytest.mark.parametrize("shape", [(5, 5), (5, 5, 4), (0, 5, 3)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EnvironmentFault, match="not an image"):
        enlarge(np.zeros(shape, np.uint8))
    with pytest.raises(EnvironmentFault, match="not an image"):
        enlarge(np.zeros((5, 5, 3), np.float64))


def test_the_data_uri_holds_the_picture() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (6, 7, 3), dtype=np.uint8)
    head, _, body = png_data_uri(frame).partition(",")
    assert head == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(body)))), frame)
