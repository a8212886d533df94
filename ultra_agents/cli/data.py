"""`ultra data`: a run's episodes to and from Minari datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultra_agents.text import counted

ROOT = typer.Option(help="Folder of datasets; Minari's own by default (MINARI_DATASETS_PATH, ~/.minari/datasets).")
DATASET = typer.Argument(metavar="DATASET", help="Id of the Minari dataset: name-v0, or group/name-v0.")


def data_export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or its name below --runs.")],
    dataset: Annotated[str, DATASET],
    root: Annotated[Path | None, ROOT] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """Write the episodes a run has collected as a Minari dataset.

    Simulator states cannot go along: advice on a dataset cannot be tested in the simulator.
    """
    from rich.text import Text

    from ultra_agents.cli.console import out
    from ultra_agents.cli.run_display import find_folder
    from ultra_agents.registry import create_environment
    from ultra_agents.rollout.minari import export_dataset
    from ultra_agents.rollout.simulators import make_simulators
    from ultra_agents.rollout.store import load_trajectories
    from ultra_agents.runs import RunFolder

    folder = RunFolder.open(find_folder(run, runs))
    trajectories = load_trajectories(folder.trajectories)
    environment = create_environment(folder.config.environment.name, folder.config.environment.options)
    told = f"episodes of the starting policy of the run {folder.name} (config {folder.config.hash()})"
    algorithm = folder.config.refine.algorithm.name
    with make_simulators(environment, 1) as simulators:
        made = export_dataset(trajectories, dataset, environment, simulators, root, told, algorithm)
    steps = sum(map(len, trajectories))
    console = out()
    console.print(Text.assemble("wrote ", (str(made), "bold"), f": {len(trajectories)} episodes, {steps:,} steps"))
    console.print(Text("simulator states are not part of a Minari dataset and stayed behind", "bright_black"))


def data_import(
    dataset: Annotated[str, DATASET],
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration of the run that explains them.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting. May be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run and of its folder.")] = None,
    root: Annotated[Path | None, ROOT] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """Begin a run whose episodes come from a Minari dataset instead of the policy; [bold]ultra resume[/bold] goes on.

    The first collect.episodes episodes are taken. A dataset holds no simulator states: set verification.mode to
    none or reflect.
    """
    import json

    from rich.text import Text

    from ultra_agents.cli.console import out
    from ultra_agents.cli.run_display import preflight
    from ultra_agents.config import load_config
    from ultra_agents.errors import ConfigError
    from ultra_agents.registry import create_environment
    from ultra_agents.rollout.minari import import_dataset
    from ultra_agents.rollout.store import save_trajectories
    from ultra_agents.runs import RunFolder

    chosen = load_config(config, [*(settings or []), *([f"name={json.dumps(name)}"] if name is not None else [])])
    if chosen.verification.simulates:
        raise ConfigError(
            "episodes of a dataset have no simulator states, so their advice cannot be tested in the simulator",
            found=f"verification.mode={chosen.verification.mode}",
            expected="verification.mode: none or reflect",
            hint="--set verification.mode=reflect",
        )
    preflight(chosen)
    environment = create_environment(chosen.environment.name, chosen.environment.options)
    console = out()
    found = import_dataset(
        dataset, environment, root, chosen.collect.episodes, lambda text: console.print(Text(text, "yellow"))
    )
    kept = [one for one in found if len(one) <= chosen.collect.max_steps]
    if not kept:
        raise ConfigError(
            f"every episode of {dataset} is longer than collect.max_steps",
            found=f"{min(map(len, found)):,} steps and more",
            expected=f"at most {chosen.collect.max_steps:,}",
            hint="--set collect.max_steps=N",
        )
    folder = RunFolder.create(runs, chosen)
    save_trajectories(folder.trajectories, kept)
    folder.mark_done("collect", {"seconds": 0.0, "value": {"episodes": len(kept)}, "dataset": dataset})
    steps = sum(map(len, kept))
    console.print(Text.assemble("made ", (str(folder.path), "bold"), f": {len(kept)} episodes, {steps:,} steps"))
    if len(kept) < len(found):
        console.print(
            Text(f"{counted(len(found) - len(kept), 'episode')} longer than collect.max_steps left out", "yellow")
        )
    console.print(Text.assemble("go on: ", (f"ultra resume {folder.path}", "bold")))
