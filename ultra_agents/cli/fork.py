"""`ultra fork`: another run from the same beginning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ultra_agents.runs import RunFolder


def fork(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or its name below --runs.")],
    stage: Annotated[
        str | None,
        typer.Option("--from", metavar="STAGE", help="The first stage that runs anew; those before are shared."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting that no shared stage read. May be repeated."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the fork and of its folder.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    plain: Annotated[bool, typer.Option("--plain", help="One line per event instead of the live screen.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per event.")] = False,
) -> None:
    """Run a finished or running run again from one of its stages on, with other settings; what came before is shared.

    Without [bold]--from[/bold]: the run, its stages, where it was forked from, and its forks.
    """
    from ultra_agents.cli.run_display import display_mode, execute, find_folder, preflight
    from ultra_agents.errors import ConfigError
    from ultra_agents.runs import RunFolder

    mode = display_mode(plain, json)
    parent = RunFolder.open(find_folder(run, runs))
    if stage is None and name is None and not settings:
        from ultra_agents.cli.console import out

        for line in family(parent):
            out().print(line, highlight=False, markup=False, soft_wrap=True)
        return
    if stage is None or name is None:
        raise ConfigError(
            f"a fork needs {'the stage to begin with' if stage is None else 'a name'}",
            expected=f"ultra fork {run} --from {stage or 'STAGE'} --name {name or 'NAME'}",
            hint=f"ultra fork {run}   lists its stages",
        )
    from ultra_agents.cli.console import err
    from ultra_agents.forks import fork_config, make_fork, shared_stages

    config = fork_config(parent, settings or [], name)
    shared_stages(parent, config, stage)  # before anything of it is tried out
    preflight(config)
    made, about, counts = make_fork(parent, config, stage, runs)
    err().print(f"{made.path}: {about.words}; {counts.words}", highlight=False, markup=False, soft_wrap=True)
    execute(made, mode)


def family(run: RunFolder) -> Iterator[str]:
    """A run with its stages, its parent and its forks, as lines."""
    from ultra_agents.cli.inspect.read import status_of
    from ultra_agents.runs.lineage import forks_of, place_of_parent

    parent = run.parent
    shared = set(() if parent is None else parent.shared)
    yield f"{run.path}: {status_of(run)}{_result(run)}"
    if parent is not None:
        place = place_of_parent(run.path, parent)
        yield f"  {parent.words}"
        yield f"  parent: {place or f'{parent.name}, which is gone'}; paid there: {parent.paid.words}"
    done = [f"{name} (shared)" if name in shared else name for name in run.done]
    yield f"  finished stages: {', '.join(done) or 'none'}"
    for path, about in forks_of(run.path, run.id):
        yield from (f"  {line}" for line in _child(path, about.words))


def _child(path: Path, words: str) -> Iterator[str]:
    from ultra_agents.cli.inspect.read import status_of
    from ultra_agents.errors import RunError
    from ultra_agents.runs import RunFolder

    try:
        child = RunFolder.open(path)
        yield f"{path.name}: {status_of(child)}{_result(child)}; {words}"
    except RunError as error:
        yield f"{path.name}: {error.problem}"


def _result(run: RunFolder) -> str:
    """What a finished run's report says, in one line."""
    from ultra_agents.text import clean

    done = run.stage_done("report")
    return "" if done is None else f": {clean(str(done.get('value', '')))}"
