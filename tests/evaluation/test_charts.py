from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from ultra_agents.evaluation.charts import Curve, DifferenceRow, differences, learning_curves

CURVES = (
    Curve("ULTRA-RA", 0, (20_000, 60_000, 100_000), (-12.0, -8.0, -3.0), before=20_000),
    Curve("continued PPO", 1, (0, 50_000, 100_000), (-12.0, -9.0, -3.1)),
)
ROWS = (
    DifferenceRow("ULTRA-RA", 0, 1.4, -0.2, 3.0, (1.0, 2.0, -1.0)),
    DifferenceRow("ULTRA-A", 2, 0.0, None, None, (0.0,)),
)


def heights(svg: str) -> dict[str, float]:
    found = re.findall(r'<text style="[^"]*font-weight: 700[^"]*" x="[^"]*" y="([^"]*)"[^>]*>([^<]*)<', svg)
    return {label: float(y) for y, label in found}


def test_a_chart_is_well_formed_and_asks_for_nothing() -> None:
    for svg in (learning_curves(CURVES, -12.2), differences(ROWS, "continued PPO")):
        assert ET.fromstring(svg.replace("xlink:href", "href")).tag == "svg"
        assert "http" not in svg
        assert "<style" not in svg
        assert "#0102" not in svg
        assert {"var(--s0)", "var(--line)", "var(--muted)"} <= set(re.findall(r"var\(--\w+\)", svg))


def test_axes_say_what_and_in_which_unit() -> None:
    svg = learning_curves(CURVES, -12.2)
    assert "environment steps charged to the method" in svg
    assert "mean return" in svg
    assert "return minus continued PPO" in differences(ROWS, "continued PPO")


def test_labels_at_the_ends_do_not_overlap() -> None:
    placed = heights(learning_curves(CURVES, None))
    assert set(placed) == {"ULTRA-RA", "continued PPO"}
    assert abs(placed["ULTRA-RA"] - placed["continued PPO"]) >= 12


def test_steps_charged_before_refinement_are_drawn() -> None:
    dotted = "stroke-dasharray: 1.6"
    assert learning_curves(CURVES, None).count(dotted) == 1
    assert dotted not in learning_curves(CURVES[1:], None)


def test_the_same_input_gives_the_same_text() -> None:
    assert learning_curves(CURVES, -12.2) == learning_curves(CURVES, -12.2)
    assert differences(ROWS, "x") == differences(ROWS, "x")


def test_ids_of_the_two_sizes_do_not_meet() -> None:
    wide, narrow = (set(re.findall(r'id="([^"]+)"', learning_curves(CURVES, 0.0, width))) for width in (840, 380))
    assert wide
    assert not wide & narrow


def test_nothing_to_draw_is_nothing() -> None:
    assert learning_curves((Curve("x", 0, (), ()),), 1.0) == ""
    assert differences((), "x") == ""


def test_one_point_and_more_methods_than_colours() -> None:
    many = tuple(Curve(f"m{index}", index, (10.0,), (1.0,)) for index in range(8))
    assert len(heights(learning_curves(many, None))) == 8
