"""What a run has spent, read from its transcript."""

from __future__ import annotations

import json
from pathlib import Path

from ultra_agents.llm.transcript import Transcript
from ultra_agents.records import Usage


def test_usage_is_read_from_a_transcript(tmp_path: Path) -> None:
    rows = [
        {"agent": "critic", "charged": True, "prompt_tokens": 10, "completion_tokens": 2, "seconds": 0.5, "cost": 1.0},
        {"agent": "critic", "charged": True, "prompt_tokens": 5, "completion_tokens": 1, "seconds": 0.5, "cost": 0.0},
        {"agent": "critic", "cached": True, "charged": False, "prompt_tokens": 10, "completion_tokens": 2},
        {"agent": "advisor", "cached": False, "charged": False, "prompt_tokens": 10},
    ]
    path = tmp_path / "transcript.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + '\n{"agent": "torn')
    assert Transcript(path).usage() == {"critic": Usage(2, 1, 15, 3, 1.0, 1.0), "advisor": Usage()}
    assert Transcript(tmp_path / "none").usage() == {}
