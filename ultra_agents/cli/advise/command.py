"""`ultra advise`: a person's hunch goes through the test that a model's goes through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LONGEST_WHY = 1_000
"""Characters of a reason."""


def advise(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or its name below --runs.")],
    step: Annotated[
        str | None, typer.Option("--step", metavar="EPISODE:STEP", help="Where the moves begin: 3:118.")
    ] = None,
    moves: Annotated[
        str | None, typer.Option("--moves", metavar="MOVES", help='What to do there: "UP x2, STAY x3".')
    ] = None,
    rule: Annotated[
        Path | None, typer.Option("--rule", metavar="FILE", help="Closed-loop rules in YAML, instead of moves.")
    ] = None,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Your reason; shown beside the advice.")] = "",
    dry: Annotated[bool, typer.Option("--dry", help="Only test: nothing is kept, nothing is charged.")] = False,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Test your own advice in the simulator, and keep it beside that of the run's agents.

    Works on a run whose agents have finished ([bold]ultra explain[/bold] stops there). What holds goes to the same
    table, or the same rules, and [bold]ultra resume[/bold] refines with it; the steps of the test are charged.
    """
    from ultra_agents.cli.advise.bench import open_bench
    from ultra_agents.cli.advise.output import Progress, moves_lines, moves_row, rules_lines, rules_row
    from ultra_agents.cli.console import err, out
    from ultra_agents.cli.run_display import find_folder

    place = _place(step, moves, rule)
    reason = _reason(why)
    with Progress(err()) as progress, open_bench(find_folder(run, runs), dry, progress.console) as bench:
        if rule is not None:
            tried = bench.try_rules(rule, reason, progress)
            lines, row = rules_lines(bench, tried), rules_row(bench, tried)
        else:
            assert place is not None, "moves come with a step"
            found = bench.try_moves(*place, moves or "", reason, progress)
            lines, row = moves_lines(bench, found), moves_row(bench, found)
    if json:
        from json import dumps

        print(dumps(row, indent=1, ensure_ascii=False))
        return
    console = out()
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _place(step: str | None, moves: str | None, rule: Path | None) -> tuple[int, int] | None:
    """Episode and step; None where rules are given.

    Raises:
        ConfigError: Neither moves at a step nor rules are given, or both, or the step is no `EPISODE:STEP`.
    """
    from ultra_agents.errors import ConfigError

    expected = '--step EPISODE:STEP --moves "UP x2, STAY x3", or --rule FILE'
    given = [name for name, value in (("--step", step), ("--moves", moves), ("--rule", rule)) if value is not None]
    if given not in (["--step", "--moves"], ["--rule"]):
        raise ConfigError(
            "the advice is incomplete" if rule is None else "advice is moves at a step, or rules, not both at once",
            found=" and ".join(given) or "neither",
            expected=expected,
        )
    if step is None:
        return None
    episode, colon, number = step.partition(":")
    if not colon or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in (episode, number)):
        raise ConfigError(
            "--step names no step",
            found=step[:60],
            expected="EPISODE:STEP, two whole numbers, as in 3:118",
            hint="ultra inspect RUN shows episodes and steps",
        )
    return int(episode), int(number)


def _reason(why: str) -> str:
    """Raises `ConfigError` where it is too long to be shown."""
    from ultra_agents.errors import ConfigError
    from ultra_agents.text import clean

    if len(why) > LONGEST_WHY:
        raise ConfigError(
            "the reason is too long", found=f"{len(why):,} characters", expected=f"at most {LONGEST_WHY:,}"
        )
    return clean(why)
