"""A model and a plugin that say escape sequences and half emojis: neither reaches the terminal or ends the run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.terminal.terminal import Terminal

ULTRA = [sys.executable, "-m", "ultra_agents.cli.main"]
ATTACK = "\x1b]0;OWNED\x07\x1b[2J\x1b[31m\x9b2J\u202e\ud83d"
MODULE = f"""
from dataclasses import replace
from ultra_agents.testing import corridor_script
from ultra_agents.testing.corridor import Corridor

ATTACK = {ATTACK!a}


class Attacker(Corridor):
    @property
    def brief(self):
        return replace(super().brief, goal="GOAL" + ATTACK, dynamics="DYNAMICS" + ATTACK)

    def describe(self, observation, info):
        return super().describe(observation, info) + " SEEN" + ATTACK

    def segment_kind(self, trajectory_rewards):
        return "KIND" + ATTACK


class BadName(Corridor):
    @property
    def actions(self):
        return type(super().actions)(("LE\\nFT", "RIGHT"))


def say(messages, schema):
    reply = corridor_script.good(messages, schema)
    return {{key: "SAID" + ATTACK if value == "scripted" else value for key, value in reply.items()}}


def refuse(messages, schema):
    raise RuntimeError("BROKEN" + ATTACK)
"""


def site(folder: Path) -> dict[str, str]:
    """The plugin as pip leaves it, and the environment that finds it."""
    info = folder / "attacker-1.2.dist-info"
    info.mkdir()
    (folder / "attacker.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: attacker\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[ultra_agents.environments]\nattacker = attacker:Attacker\nbad-name = attacker:BadName\n"
    )
    return {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


def configuration(folder: Path, environment: str = "attacker", script: str = "say") -> Path:
    settings: dict[str, Any] = {
        "name": "one",
        "environment": {"name": environment},
        "policy": {"train_steps": 200},
        "llms": {"default": {"provider": "scripted", "options": {"callable": f"attacker:{script}"}}},
        "collect": {"episodes": 2},
        "imitation": {"mode": "never"},
        "verification": {"max_pairs": 2, "min_pairs": 2},
        "refine": {"steps": 200, "num_envs": 2, "workers": 0, "evaluate_every": 100, "curve_episodes": 2},
        "evaluate": {"episodes": 2},
        "methods": ["ultra-ra"],
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def words(text: str) -> str:
    """A screen's text without frames and line breaks."""
    return " ".join(text.replace("│", "").split())


def obeyed(raw: bytes) -> list[str]:
    """What of the attack is left in a terminal's input; styles and cursor moves of the screen itself are not."""
    text = raw.decode("utf-8", "surrogateescape")
    said = r"(?:SAID|SEEN|KIND|GOAL|BROKEN|DYNAMICS|argument)\x1b(?!\[[0-9;]*m)"
    return re.findall(rf"\x1b\]|\x07|[\x80-\x9f]|\u202e|{said}", text)


def test_a_live_run_survives_and_the_terminal_is_told_nothing(tmp_path: Path) -> None:
    env, config = site(tmp_path), configuration(tmp_path)
    with Terminal(120, 40).start([*ULTRA, "run", str(config)], env, tmp_path) as run:
        assert run.wait_exit() == 0, run.text()
        assert b"\x1b[?1049h" in run.raw, "the live screen was not shown"
        assert "SAID" in run.raw.decode(errors="replace"), "the replies were not shown"
        assert obeyed(bytes(run.raw)) == []
    for name in ("events.jsonl", "transcript.jsonl", "advice.jsonl"):
        for line in (tmp_path / "runs/one" / name).read_bytes().decode("utf-8").splitlines():
            json.dumps(json.loads(line), ensure_ascii=False).encode()
    events = (tmp_path / "runs/one/events.jsonl").read_text().splitlines()
    assert json.loads(events[-1])["event"] == "RunFinished"
    for command in (["inspect", "runs/one", "--plain"], ["llm", "log", "runs/one"]):
        with Terminal(120, 40).start([*ULTRA, *command], env, tmp_path) as seen:
            assert seen.wait_exit() == 0, seen.text()
            assert obeyed(bytes(seen.raw)) == [], command


def test_errors_of_models_and_arguments_are_printable(tmp_path: Path) -> None:
    env, config = site(tmp_path), configuration(tmp_path, script="refuse")
    for command, said in (
        (["run", str(config)], "BROKEN"),
        (["llm", "check", "--config", str(config)], "BROKEN"),
        (["policy", "score", "argument\u202e.safetensors", "--environment", "corridor"], "argument"),
        (["run", f"--argument{ATTACK[:-1]}"], "argument"),
        (["doctor"], "A run will work"),
        (["plugins", "list"], "attacker"),
    ):
        with Terminal(120, 40).start([*ULTRA, *command], env, tmp_path) as seen:
            seen.wait_exit()
            assert said in seen.raw.decode(errors="replace"), command
            assert obeyed(bytes(seen.raw)) == [], command


def test_an_action_name_with_a_line_break_is_refused(tmp_path: Path) -> None:
    env, config = site(tmp_path), configuration(tmp_path, environment="bad-name")
    with Terminal(120, 40).start([*ULTRA, "run", str(config)], env, tmp_path) as seen:
        assert seen.wait_exit() == 2
        assert "has an action that cannot be named" in words(seen.text())
    assert not (tmp_path / "runs").exists()
