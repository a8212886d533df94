"""The images of the two Textual applications."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.screens import browser
from docs.screens.browser import browser_svg
from docs.screens.wizard import wizard_svg
from tests.cli.made_run import make_run
from tests.ui.inspect.sample_view import SampleSource, run_view
from tests.ui.wizard.sample_facts import SampleFacts


def test_the_browser_is_drawn_at_the_first_accepted_state() -> None:
    svg = browser_svg(run_view(), SampleSource(), 100, 30)
    assert svg.startswith("<svg")
    assert "critical,&#160;accepted" in svg


def test_a_run_folder_becomes_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path).path
    out = tmp_path / "inspect.svg"
    browser.main([str(run), "--out", str(out), "--size", "100x30"])
    assert capsys.readouterr().out.strip() == str(out)
    assert out.read_text(encoding="utf-8").startswith("<svg")


def test_the_wizard_is_drawn_after_keys() -> None:
    svg = wizard_svg(SampleFacts(), 100, 30, ["enter"])
    assert svg.startswith("<svg")
    assert "ships&#160;with&#160;pong" in svg
