"""`ultra explain`: what is a model's advice worth, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ultra_agents.config import Config
    from ultra_agents.runs import RunFolder
    from ultra_agents.ui.display import Mode


def explain(
    target: Annotated[
        str, typer.Argument(metavar="RUN_OR_CONFIG", help="Configuration file, run folder, or its name below --runs.")
    ],
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="NAMES",
            help="Side by side on the same episodes: configured models, providers, random, value, search, oracle.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting: collect.episodes=6. May be repeated."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run and of its folder.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    plain: Annotated[bool, typer.Option("--plain", help="One line per event instead of the live screen.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the measures as JSON; what happens meanwhile goes to standard error.")
    ] = False,
) -> None:
    """Let a model explain a policy's episodes, test its advice in the simulator, and print what it is worth.

    Stops before refining; [bold]ultra resume[/bold] goes on from there. [bold]--compare local,random,oracle[/bold]
    asks several on the same episodes and prints them side by side.
    """
    from ultra_agents.cli.run_display import display_mode, find_folder
    from ultra_agents.errors import RunError

    mode = display_mode(plain, json)
    source: RunFolder | None = None
    file, below = Path(target), find_folder(target, runs)
    if file.is_file():
        from ultra_agents.config import load_config

        named = [f"name={_quoted(name)}"] if name is not None else []
        config = load_config(file, [*(settings or []), *named])
    elif below.is_dir():
        from ultra_agents.runs import RunFolder as Folder

        if settings or name is not None:
            raise RunError(
                f"{below} is a run: its configuration is what it began with",
                found="--set" if settings else "--name",
                hint="give the configuration file to start another run",
            )
        source = Folder.open(below)
        config = source.config
    else:
        raise RunError(
            f"there is neither a configuration nor a run {target}",
            expected="a YAML file, a run folder, or the name of one",
            hint="examples/pong.yaml is a complete configuration",
        )
    found = _several(config, compare, source, runs, mode) if compare is not None else _one(config, source, runs, mode)
    _print(found, json)


def _one(config: Config, source: RunFolder | None, runs: Path, mode: Mode) -> dict[str, Any]:
    from ultra_agents.cli.explain_members import check_explainable
    from ultra_agents.experiments.sharing import take_up

    check_explainable(config)
    folder = source or take_up(runs, config, f"--name {config.name}-2")
    measures = _explained(folder, mode)
    return {str(measures["proposer"]): measures}


def _several(config: Config, names: str, source: RunFolder | None, runs: Path, mode: Mode) -> dict[str, Any]:
    """Everybody's measures, each from a run of its own below `NAME-compare`, all on the episodes of the first."""
    from ultra_agents.cli.explain_members import check_explainable, members
    from ultra_agents.experiments.sharing import share_episodes, take_up

    everybody = members(config, names)
    for one in everybody.values():
        check_explainable(one)
    root = runs / f"{config.name if source is None else source.name}-compare"
    found: dict[str, Any] = {}
    for name, one in everybody.items():
        folder = take_up(root, one, "--name NAME" if source is None else "--runs DIR")
        if source is not None:
            with folder.lock():
                share_episodes(source, folder)
        found[name] = _explained(folder, mode)
        source = source or folder
    return found


def _explained(folder: RunFolder, mode: Mode) -> dict[str, Any]:
    """The measures of a run, which is run as far as that."""
    from ultra_agents.cli.console import err
    from ultra_agents.cli.run_display import execute

    done = folder.stage_done("measure")
    if done is None:
        if mode == "json":
            execute(folder, "plain", until="measure", console=err())
        else:
            execute(folder, mode, until="measure")
        done = folder.stage_done("measure")
    assert done is not None, "the pipeline keeps what its last stage made"
    value: dict[str, Any] = done["value"]
    return value


def _print(found: dict[str, Any], json: bool) -> None:
    if json:
        import json as encoder

        print(encoder.dumps(found, indent=1, ensure_ascii=False))
        return
    from ultra_agents.cli.console import out
    from ultra_agents.cli.measures_table import print_measures

    print_measures(out(), found)


def _quoted(name: str) -> str:
    """A name as a YAML string, or `--name 7` would be a number."""
    import json

    return json.dumps(name)
