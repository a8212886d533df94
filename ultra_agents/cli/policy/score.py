"""`ultra policy score`: a policy's measured return beside the one its file records."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ultra_agents.cli.policy.import_policy import EPISODES, JSON, SEED, SETTINGS, print_score

if TYPE_CHECKING:
    from ultra_agents.contracts import Environment


def policy_score(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors policy.")],
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", metavar="NAME", help="The one in FILE by default.")
    ] = None,
    settings: Annotated[list[str] | None, SETTINGS] = None,
    episodes: Annotated[int, EPISODES] = 20,
    seed: Annotated[int, SEED] = 0,
    json: Annotated[bool, JSON] = False,
) -> None:
    """Play episodes with a policy and compare with the score its file records; far below exits with 2."""
    from ultra_agents.cli.console import err, out
    from ultra_agents.cli.plugin_output import plugins_print_to
    from ultra_agents.exchange.scoring import random_score, refuse_drop, score
    from ultra_agents.policies import describe_policy_file, load_policy

    with plugins_print_to(None) if json else nullcontext():
        name, made = environment_of(file, environment, settings)
        loaded = load_policy(file, name, made)
        found = score(
            loaded.policy, made, episodes, seed, lambda line: err().print(line, style="yellow", markup=False)
        )
    recorded = (loaded.metadata.get("score") or {}).get("mean")
    if json:
        from json import dumps

        row = {"policy": str(file), "score": found.record(), "recorded": loaded.metadata.get("score")}
        print(dumps({**row, "env_steps": found.steps}, indent=1))
    else:
        console = out()
        for line in describe_policy_file(loaded.metadata):
            console.print(f"  {line}", highlight=False, markup=False)
        print_score(console, found)
    if isinstance(recorded, int | float):
        refuse_drop(
            found, float(recorded), "its own record", f"the policy {file}",
            lambda: random_score(made, episodes, seed),
            f"the file was made with {loaded.metadata.get('versions')}: compare with ultra doctor",
        )  # fmt: skip


def environment_of(file: Path, name: str | None, settings: list[str] | None) -> tuple[str, Environment]:
    """The environment a policy file was made for, or the one the user names."""
    from ultra_agents.cli.plugins.check import parse_settings
    from ultra_agents.policies import read_policy_file
    from ultra_agents.registry import create_environment

    metadata, _ = read_policy_file(file)
    options = dict(metadata.get("environment_options") or {}) if name is None else {}
    chosen = name if name is not None else str(metadata["environment"])
    return chosen, create_environment(chosen, {**options, **parse_settings(settings or [])})
