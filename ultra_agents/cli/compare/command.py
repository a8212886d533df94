"""`ultra compare`: runs or resumes tasks x methods x seeds and writes the report."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ultra_agents.text import counted

if TYPE_CHECKING:
    from ultra_agents.experiments.engines import Engine
    from ultra_agents.experiments.spec import Experiment


def compare(
    experiment: Annotated[Path, typer.Argument(metavar="EXPERIMENT", help="Experiment file (YAML).")],
    runs: Annotated[Path, typer.Option(help="Folder of all runs; the comparison's own is named in the file.")] = Path(
        "runs"
    ),
    engine: Annotated[str | None, typer.Option(help="local or ray, instead of the file's.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Cells side by side, instead of the file's.")] = None,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="One line per event instead of the live screen.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per event.")] = False,
    task: Annotated[list[str] | None, typer.Option(help="Only cells of this task now; may be repeated.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only cells of this method now; may be repeated.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only cells of this training seed; may be repeated.")] = None,
    report_only: Annotated[bool, typer.Option("--report", help="Run nothing: report what is finished.")] = False,
) -> None:
    """Compare methods on tasks with seeds, at equal total budgets, and write one report.

    Stopped or failed cells are taken up again by the same command; finished ones are read back. The report is over
    everything that is finished, whatever was chosen to run now.
    """
    from pydantic import ValidationError

    from ultra_agents.cli.compare.answers import print_answers
    from ultra_agents.cli.compare.display import ComparisonDisplay
    from ultra_agents.cli.console import out
    from ultra_agents.cli.run_control import RunControl
    from ultra_agents.cli.run_display import display_mode, preflight
    from ultra_agents.errors import ConfigError, Interrupted, UltraError
    from ultra_agents.events import RunFinished, Warned
    from ultra_agents.experiments.choice import Choice, controls_missing, forecast, part_of
    from ultra_agents.experiments.drive import drive, finished_cells, write_report
    from ultra_agents.experiments.spec import cells_of, load_experiment, references
    from ultra_agents.option_errors import options_error

    mode = display_mode(plain or (report_only and not json), json)
    began = time.monotonic()
    asked = load_experiment(experiment)
    changes = {"kind": engine, "workers": workers, "address": address}
    settings = asked.engine.model_dump() | {key: value for key, value in changes.items() if value is not None}
    try:
        asked = asked.model_copy(update={"engine": type(asked.engine).model_validate(settings)})
    except ValidationError as error:
        raise options_error("the command line", error, type(asked.engine), "engine") from error
    root, choice = runs / asked.name, Choice(tuple(task or ()), tuple(method or ()), tuple(seed or ()))
    if report_only and choice:
        raise ConfigError(
            "--report runs nothing, so there is nothing to choose",
            found=" ".join(choice.options()),
            expected="--report alone: it tells of all finished cells",
        )
    choice.check(asked)
    cells, goals = cells_of(asked, root, experiment.parent, choice.includes), references(asked)
    done = finished_cells(cells, root)
    part = part_of(cells, choice, done) if choice else cells
    seen = set[tuple[str, str]]()
    for cell in part:
        if cell.name not in done and (cell.task, cell.method) not in seen:
            seen.add((cell.task, cell.method))
            preflight(cell.config)
    command = f"ultra compare {shlex.quote(str(experiment))}"
    again, console, lacking = " ".join([command, *map(shlex.quote, choice.options())]), out(), ""
    if controls := controls_missing(asked, cells, part):
        lacking = f"not finished, and needed to hold these against: {', '.join(controls)}"
    if mode != "json" and not report_only:
        for line in (forecast(part, done, asked.engine.workers), lacking):
            console.print(line, soft_wrap=True, highlight=False, markup=False, end="\n" if line else "")
    with RunControl() as stop, ComparisonDisplay(console, asked.name, root, part, stop, mode) as shown:
        if mode == "json" and lacking:
            shown.handle(Warned(lacking))
        where = None if report_only else _engine(asked, root / "output.txt" if shown.screen else None)
        results, outcomes = drive(
            part, root, where, lambda: stop.stop_requested, shown.update, lambda: stop.paused, done
        )
    claims, answers = write_report(asked, cells, results, outcomes, goals, root, command)
    stopped = [one for one in outcomes.values() if one.status == "stopped"]
    failed = [one for one in outcomes.values() if one.status == "failed"]
    if mode == "json":
        status = "interrupted" if stop.stop_requested or stopped else "failed" if failed else "finished"
        seconds, page = time.monotonic() - began, str(root / "report.html")
        shown.handle(RunFinished(status, seconds, " ".join(claims), page))
    else:
        print_answers(console, claims, answers, root / "report.html")
    if stop.stop_requested or stopped:
        raise Interrupted("stopped; every finished cell and every checkpoint is kept", hint=again)
    if failed:
        raise UltraError(
            f"{len(failed)} of {counted(len(part), 'cell')} failed",
            found="; ".join(f"{one.cell}: {one.error}" for one in failed[:4]),
            hint=f"mend the cause and go on: {again}",
        )


def _engine(experiment: Experiment, output: Path | None) -> Engine:
    """Where cells run; what local ones print goes to the file `output`, if given."""
    from ultra_agents.experiments.engines import LocalEngine

    wanted = experiment.engine
    if wanted.kind == "ray":
        from ultra_agents.experiments.ray_engine import RayEngine

        return RayEngine(wanted.address, wanted.cpus, wanted.attempts)
    return LocalEngine(wanted.workers, wanted.attempts, output=output)
