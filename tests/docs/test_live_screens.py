"""The images of the live screen come from a run's log, the same every time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from docs.screens import live
from tests.ui import sample_run
from ultra_agents.events import RulesDecided, RunFinished


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the sample run's log, whose last line was never finished."""
    rows = [{**event.to_json(), "time": 1e9 + at} for at, event in sample_run.events()]
    rows.append({**RunFinished("finished", 92.0, "it helped", "report.html").to_json(), "time": 1e9 + 99})
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"event": "Wa')
    return tmp_path


def test_every_moment_gets_its_picture(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live.main([str(run), "--out", str(run / "images"), "--size", "120x40"])
    names = ["live-explain", "live-refine", "live-finished", "live-keys"]
    assert capsys.readouterr().out.splitlines() == [str(run / f"images/{name}.svg") for name in names]
    texts = {name: (run / f"images/{name}.svg").read_text(encoding="utf-8") for name in names}
    assert all(text.startswith("<svg") for text in texts.values())
    assert "explain" in texts["live-explain"]
    assert "finished" in texts["live-finished"]
    assert "finished" not in texts["live-refine"]
    live.main([str(run), "--out", str(run / "again"), "--size", "120x40"])
    assert {name: (run / f"again/{name}.svg").read_text(encoding="utf-8") for name in names} == texts


def test_a_run_of_rules_is_shown_when_they_are_decided(tmp_path: Path) -> None:
    decided = RulesDecided("0:rules", 1, 2, "accept", "they hold", 9.0, 1.0, 17.0, 4)
    rows = [{**decided.to_json(), "time": 1e9}]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    live.main([str(tmp_path), "--out", str(tmp_path)])
    assert "2&#160;rules" in (tmp_path / "live-explain.svg").read_text(encoding="utf-8")


def test_a_folder_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there are no events"):
        live.main([str(tmp_path)])


def test_a_comparison_gets_its_picture_at_a_moment_an_agent_spoke(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = []
    for index, method in enumerate(("continue", "ultra-ra")):
        name = f"pong-{method}-0"
        cells.append({"name": name, "task": "pong", "method": method, "seed": 0})
        (tmp_path / "cells" / name).mkdir(parents=True)
        rows = [{**event.to_json(), "time": 1e9 + 100 * index + at} for at, event in sample_run.events()]
        if method == "continue":
            rows = [row for row in rows if row["event"] != "AgentSpoke"]
            rows.append({**RunFinished("finished", 9.0, "").to_json(), "time": 1e9 + 99})
        (tmp_path / "cells" / name / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "report.json").write_text(json.dumps({"name": "both", "cells": cells}))
    for out in ("images", "again"):
        live.main([str(tmp_path), "--out", str(tmp_path / out), "--size", "120x40"])
    path = tmp_path / "images/live-compare.svg"
    assert str(path) in capsys.readouterr().out
    text = path.read_text(encoding="utf-8").replace("&#160;", " ")
    assert text == (tmp_path / "again/live-compare.svg").read_text(encoding="utf-8").replace("&#160;", " ")
    assert "1 of 2 finished, 1 at work" in text
    assert "identifier" in text


def test_a_folder_that_is_no_comparison_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    with pytest.raises(SystemExit, match="no report of a comparison"):
        live.main([str(tmp_path)])
    (tmp_path / "report.json").write_text(json.dumps({"name": "x", "cells": []}))
    with pytest.raises(SystemExit, match="logged nothing"):
        live.main([str(tmp_path)])
