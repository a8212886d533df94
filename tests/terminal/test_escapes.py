"""A model and a plugin that say escape sequences and half emojis: neither reaches the terminal or ends the run."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from tests.terminal.terminal import Terminal

ULTRA = [sys.executable, "-m", "ultra_agents.cli.main"]
IN_TURN = """
import json, sys
from ultra_agents.cli.main import invoke
for words in json.loads(sys.argv[1]):
    invoke(words)
    print("NEXT COMMAND", flush=True)
"""
ATTACK = "\x1b]0;OWNED\x07\x1b[2J\x1b[31m\x9b2J\u202e\ud83d"
MODULE = f"""
from dataclasses import replace
from ultra_agents.testing import corridor_script
from ultra_agents.testing.corridor import Corridor
from ultra_agents_plugins.methods.plain import Continued

ATTACK = {ATTACK!a}


class Attacker(Corridor):
    @property
    def brief(self):
        return replace(super().brief, goal="GOAL" + ATTACK, dynamics="DYNAMICS" + ATTACK)

    def describe(self, observation, info):
        return super().describe(observation, info) + " SEEN" + ATTACK

    def segment_kind(self, trajectory_rewards):
        return "KIND" + ATTACK


class Labelled(Continued):
    name = "labelled"
    label = "LABEL" + ATTACK


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
        "[ultra_agents.methods]\nlabelled = attacker:Labelled\n"
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
    text = re.sub(r"\x1b\]22;[a-z]+\x07", "", raw.decode("utf-8", "surrogateescape"))  # Textual's: the mouse pointer
    said = r"(?:SAID|SEEN|KIND|GOAL|BROKEN|DYNAMICS|LABEL|argument)\x1b(?!\[[0-9;]*m)"
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
    with Terminal(120, 40).start([*ULTRA, "watch", "runs/one"], env, tmp_path) as watched:
        watched.wait_for("SAID")
        for key in ("z", "TAB", "TAB", "z", "?", "?"):
            watched.send(key)
        watched.send("q")
        assert watched.wait_exit() == 0, watched.text()
        assert obeyed(bytes(watched.raw)) == []
    with Terminal(120, 40).start([*ULTRA, "inspect", "runs/one"], env, tmp_path) as browsed:
        browsed.wait_for("SEEN")
        browsed.send("t")
        browsed.wait_for("SAID")
        browsed.send("ESC")
        browsed.wait_for("SEEN")
        browsed.send("/")
        browsed.wait_for("words")
        browsed.send("SAID")
        browsed.wait_for("found")
        browsed.send("ESC")
        browsed.wait_for("prompts")  # the search ends on the page of the agents, where the word is
        browsed.send("ESC")
        browsed.wait_for("SEEN")
        browsed.send("q")
        assert browsed.wait_exit() == 0, browsed.text()
        assert obeyed(bytes(browsed.raw)) == []


def test_a_comparison_and_the_wizard_tell_the_terminal_nothing(tmp_path: Path) -> None:
    env, common = site(tmp_path), yaml.safe_load(configuration(tmp_path).read_text())
    experiment = {
        "name": "all",
        "seeds": 1,
        "methods": ["continue", "ultra-ra"],
        "engine": {"workers": 1},
        "common": {
            name: common[name] for name in ("llms", "collect", "imitation", "verification", "refine", "evaluate")
        },
        "tasks": {"task": {"environment": common["environment"], "policy": common["policy"]}},
    }
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(experiment))
    with Terminal(120, 40).start([*ULTRA, "compare", "all.yaml"], env, tmp_path) as seen:
        assert seen.wait_exit(180) == 0, seen.text()
        assert b"\x1b[?1049h" in seen.raw, "the live screen was not shown"
        assert "SAID" in seen.raw.decode(errors="replace"), "the replies were not shown"
        assert obeyed(bytes(seen.raw)) == []
    with Terminal(120, 40).start(ULTRA, env, tmp_path) as asked:
        asked.wait_for("attacker")
        asked.send("HOME")
        for _ in range(30):
            if "GOAL" in asked.text():
                break
            asked.send("DOWN")
            with suppress(AssertionError):
                asked.wait_for("GOAL", 1.0)
        asked.wait_for("GOAL")
        asked.send("ENTER")
        asked.wait_for("train one first")
        asked.send("ENTER")
        asked.wait_for("no model:")
        asked.send("ENTER")
        asked.wait_for("[x] ultra-ra")
        asked.send("\x11")
        assert asked.wait_exit() == 0, asked.text()
        assert obeyed(bytes(asked.raw)) == []


def test_errors_of_models_and_arguments_are_printable(tmp_path: Path) -> None:
    env, config = site(tmp_path), configuration(tmp_path, script="refuse")
    commands = {
        ("run", str(config)): "BROKEN",
        ("llm", "check", "--config", str(config)): "BROKEN",
        ("doctor",): "A run will work",
        ("plugins", "list"): "attacker",
        ("run", str(config), "--set", "methods=[labelled]"): "does not say what it is",
    }
    with Terminal(120, 40).start([sys.executable, "-c", IN_TURN, json.dumps(list(commands))], env, tmp_path) as seen:
        assert seen.wait_exit(120) == 0
        raw = bytes(seen.raw).split(b"NEXT COMMAND")
    assert len(raw) == len(commands) + 1
    for (command, said), part in zip(commands.items(), raw, strict=False):
        assert said in part.decode(errors="replace"), command
        assert obeyed(part) == [], command
    for arguments in (
        ["policy", "score", "argument\u202e.safetensors", "--environment", "corridor"],
        ["run", f"--argument{ATTACK[:-1]}"],
    ):
        with Terminal(120, 40).start([*ULTRA, *arguments], env, tmp_path) as seen:
            seen.wait_exit()
            assert "argument" in seen.raw.decode(errors="replace"), arguments
            assert obeyed(bytes(seen.raw)) == [], arguments


def test_an_action_name_with_a_line_break_is_refused(tmp_path: Path) -> None:
    env, config = site(tmp_path), configuration(tmp_path, environment="bad-name")
    with Terminal(120, 40).start([*ULTRA, "run", str(config)], env, tmp_path) as seen:
        assert seen.wait_exit() == 2
        assert "has an action that cannot be named" in words(seen.text())
    assert not (tmp_path / "runs").exists()
