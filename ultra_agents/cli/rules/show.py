"""`ultra rules show`: the sets of rules of a run, and what the test said of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ultra_agents.runs import RunFolder
    from ultra_agents.stages import RulesFound

RUN = typer.Argument(metavar="RUN", help="Run folder, or its name below --runs.")


def rules_show(
    run: Annotated[str, RUN],
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Print the sets of rules that were proposed in a run: the one chosen with its verdict, what each rule brings.

    The share of steps at which each would act is in the run's report.
    """
    from dataclasses import asdict

    from ultra_agents.cli.console import out
    from ultra_agents.stages.rules_overview import overview, read_start

    folder, found = found_rules(run, runs)
    start, shown = read_start(folder), overview(found)
    if json:
        from json import dumps

        row = {"run": folder.name, "environment": folder.config.environment.name, **shown}
        print(dumps({**row, "start": None if start is None else asdict(start)}, indent=1, ensure_ascii=False))
        return
    console = out()
    for line in _lines(folder.name, shown, None if start is None else start.headline):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def found_rules(run: str, runs: Path) -> tuple[RunFolder, RulesFound]:
    """A run and what it found of rules.

    Raises:
        RunError: There is no such run, it is damaged, or it has no rules.
    """
    from ultra_agents.cli.run_display import find_folder
    from ultra_agents.errors import RunError
    from ultra_agents.runs import RunFolder
    from ultra_agents.stages.rules_overview import read_rules

    folder = RunFolder.open(find_folder(run, runs))
    found = read_rules(folder)
    if found is None:
        moves = not folder.config.of_rules
        raise RunError(
            f"{folder.path} has no rules" if moves else f"{folder.path} has no rules yet",
            found="advice as moves at single steps"
            if moves
            else f"finished stages: {', '.join(folder.done) or 'none'}",
            expected="a run with advice.form: rules or both",
            hint=f"ultra inspect {run} shows its moves" if moves else f"go on with it: ultra resume {folder.path}",
        )
    return folder, found


def _lines(name: str, shown: dict[str, Any], start: str | None) -> Iterator[str]:
    from ultra_agents.text import clean

    yield f"{name}: {clean(shown['headline'])}"
    if start is not None:
        yield f"  refining began from {clean(start)}"
    if shown["env_steps"]:
        yield f"  steps paid {shown['env_steps']:,}"
    total = len(shown["proposals"])
    order = sorted(range(total), key=lambda index: index != shown["chosen"])
    for index in order:
        one = shown["proposals"][index]
        chosen = index == shown["chosen"]
        whose = clean(one["source"], 40) + ("" if one["episode"] is None else f", episode {one['episode']}")
        yield f"set {index + 1} of {total} ({whose}): {shown['verdict'] if chosen else 'not chosen'}"
        yield from _chosen(shown) if chosen else _proposed(one["text"])
        for note in one["notes"]:
            yield f"  not used: {clean(note['stage'])}: {clean(note['reason'])}"


def _chosen(shown: dict[str, Any]) -> Iterator[str]:
    """The set as written, with what became of each rule."""
    from ultra_agents.text import clean

    for row in shown["set"]:
        brings = "" if row["weight"] is None else f"  brings {row['weight']:+,.4g} per episode"
        yield f"  {row['number']:>2}  when {row['when']}"
        yield f"      do {row['do']}{brings}{', dropped' if row['dropped'] else ''}"
        if row["why"]:
            yield f"      why: {clean(row['why'])}"
    for row in shown["constants"]:
        moved = f"{row['written']:g} -> {row['now']:g}" if row["now"] != row["written"] else f"{row['now']:g}"
        yield f"  constant {row['name']} = {moved} in [{row['low']:g}, {row['high']:g}]"
    for kind in ("potential", "reward"):
        if shown[kind]:
            yield f"  {kind}: {shown[kind]}"
            yield f"      {_rewarded(shown)}"


def _rewarded(shown: dict[str, Any]) -> str:
    """What the tests of the implicit reward found."""
    if shown["reward_test"] is not None:
        return str(shown["reward_test"]["words"])
    rank = shown["reward_rank"]
    told = "not known" if rank is None else f"{rank:+.2f}{'' if shown['rewards'] else ', not used'}"
    return f"rank correlation with the return of the collected episodes: {told}"


def _proposed(text: str) -> Iterator[str]:
    yield from (f"  {line}" for line in text.splitlines()) if text else ("  nothing usable",)
