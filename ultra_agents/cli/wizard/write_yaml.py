"""Answers to a configuration file: commented, and read back by the same code that a run uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultra_agents.ui.wizard.answers import Answers
from ultra_agents.yaml_text import read_setting, read_yaml, write_yaml

_LOCAL = {"slots": 2, "temperature": 0.7, "max_tokens": 320, "seed": 1}
"""What the embedded model does best with, as in examples/pong.yaml."""


def settings_of(answers: Answers) -> dict[str, Any]:
    """The answers as a mapping for `parse_config`; the rest keeps its defaults.

    Raises:
        ConfigError: The options cannot be read.
    """
    settings: dict[str, Any] = {"name": answers.name, "seed": 1, "environment": {"name": answers.environment}}
    settings["policy"] = {
        "shipped": {"shipped": answers.policy},
        "file": {"path": answers.policy},
        "train": {"train_steps": answers.train_steps},
    }[answers.policy_kind]
    settings["methods"] = list(answers.methods)
    settings["proposer"] = "llm" if answers.asks_a_model else answers.proposer
    if answers.asks_a_model:
        settings["llms"] = {"default": {"provider": answers.proposer, "options": options_of(answers)}}
        caps = {key: getattr(answers, key) for key in ("calls", "tokens") if getattr(answers, key) is not None}
        if caps:
            settings["gateway"] = {"budget": caps}
    settings["collect"] = {"episodes": answers.episodes}
    settings["narration"] = {"segments_per_episode": 2, "segment_steps": 60}
    if answers.proposer == "local":
        settings["narration"]["token_budget"] = 700
    settings["agents"] = {"max_critical": 2, "max_revisions": 1, "concurrency": 2}
    settings["verification"] = {"mode": "both"}
    settings["advice"] = {"reward": "measured"}
    if answers.form != "moves":
        settings["advice"]["form"] = answers.form
    if answers.rules:
        settings["advice"]["file"] = str(Path(answers.rules).absolute())
    settings["modulation"] = {"probability": 0.3, "learn": "mixture", "beta": 0.05}
    every = max(answers.steps // 3, 1)
    settings["refine"] = {"steps": answers.steps, "num_envs": 16, "workers": 1, "evaluate_every": every,
                          "curve_episodes": 4}  # fmt: skip
    settings["evaluate"] = {"episodes": answers.evaluations}
    return settings


def options_of(answers: Answers) -> dict[str, Any]:
    """The provider's options: ours for the embedded model, then what was answered.

    Raises:
        ConfigError: One is no `key=value`, or not YAML.
    """
    options: dict[str, Any] = dict(_LOCAL) if answers.proposer == "local" else {"temperature": 0.7, "seed": 1}
    if answers.proposer not in ("local", "openai", "ollama"):
        options = {}
    for key in ("model", "base_url"):
        if getattr(answers, key):
            options[key] = getattr(answers, key)
    for part in answers.options.split():
        key, options[key] = read_setting(part, "temperature=0.7", "the option ")
    return options


_COMMENTS = {
    "name": "the run's folder is runs/NAME",
    "seed": "root of all randomness",
    "environment": "ultra plugins list shows them all",
    "policy": "where refining starts; a policy that is good already leaves nothing to find",
    "methods": "each from the same policy, on the same seeds and steps",
    "proposer": "llm, or random, value, search, oracle: controls without a model; or file: rules of your own",
    "llms": "ultra llm check --config THIS_FILE talks to them; secrets stay in the environment",
    "gateway": "a run that reaches a cap stops cleanly: ultra resume RUN --set gateway.budget.calls=MORE",
    "collect": "episodes of the starting policy, played and explained",
    "narration": "segments told to the agents, in steps and tokens",
    "agents": "critical states per segment, revisions of a suggestion, segments side by side",
    "verification": "the simulator tests every suggestion, the critic reads the result",
    "advice": "moves or rules (form); implicit rewards grounded in the measured gains",
    "modulation": "how often accepted advice is followed while learning, and what it is worth",
    "refine": "environment steps per method, tests of advice included",
    "evaluate": "final episodes per policy, on seeds never trained on",
}


def text_of(answers: Answers) -> str:
    """The file, with a comment on every section; it is read back before it is given out.

    Raises:
        ConfigError: The answers make no configuration.
    """
    from ultra_agents.config import parse_config

    settings = settings_of(answers)
    parse_config(settings, "the configuration")
    lines = [f"# ultra run {answers.file.name}", ""]
    for key, value in settings.items():
        nested = isinstance(value, dict) and any(isinstance(part, dict) for part in value.values())
        line = write_yaml({key: value} if nested else value, flow=None if nested else True, width=1000)
        line = line.removesuffix("...\n").rstrip("\n")
        lines += [f"# {_COMMENTS[key]}", line if nested else f"{key}: {line}"]
    text = "\n".join(lines) + "\n"
    parse_config(read_yaml(text, "the configuration")[0], "the configuration")
    return text
