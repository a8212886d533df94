"""`ultra policy import`: converts a policy of another tool and scores it."""

from __future__ import annotations

from contextlib import nullcontext
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultra_agents.text import counted

if TYPE_CHECKING:
    from ultra_agents.contracts import Environment
    from ultra_agents.exchange.importing import Imported
    from ultra_agents.exchange.scoring import Score
    from ultra_agents.records import Returns

ENVIRONMENT = typer.Option("--environment", "-e", metavar="NAME", help="Environment plugin, or gymnasium:ID.")
SETTINGS = typer.Option("--set", metavar="KEY=VALUE", help="An option of the environment. May be repeated.")
EPISODES = typer.Option(help="Episodes of the score, with drawn and with likeliest actions each.")
SEED = typer.Option(min=0, help="Of the episodes, and of distilling.")
JSON = typer.Option("--json", help="As JSON.")


def policy_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Policy of SB3, CleanRL, TorchScript, ONNX, or ours.")],
    environment: Annotated[str, ENVIRONMENT],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to; FILE.safetensors here by default.")
    ] = None,
    settings: Annotated[list[str] | None, SETTINGS] = None,
    expect: Annotated[
        float | None, typer.Option(metavar="RETURN", help="Mean return its owner states; far less than that stops.")
    ] = None,
    episodes: Annotated[int, EPISODES] = 20,
    normalizer: Annotated[
        Path | None, typer.Option(metavar="FILE", help="vecnormalize.pkl, or an .npz with mean and var.")
    ] = None,
    no_normalizer: Annotated[
        bool, typer.Option("--no-normalizer", help="It takes observations as they are, whatever the file says.")
    ] = False,
    algorithm: Annotated[str | None, typer.Option(help="Algorithm plugin that shall train it on.")] = None,
    format_name: Annotated[str | None, typer.Option("--format", help="Read it as this format.")] = None,
    distil: Annotated[
        bool, typer.Option("--distil", help="Imitate its actions even where its weights could be taken over.")
    ] = False,
    distil_steps: Annotated[int, typer.Option(help="Environment steps of imitating.")] = 20_000,
    trust: Annotated[bool, typer.Option("--trust", help="You made this file: code in it may run.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Write the policy even if it scores far below.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file at --out.")] = False,
    seed: Annotated[int, SEED] = 0,
    json: Annotated[bool, JSON] = False,
) -> None:
    """Take over a policy that another tool trained: weights, normaliser, score.

    No pickle is run. A policy that scores far below --expect, or below the score its own file records, is refused
    before anything is written.
    """
    from rich.markup import escape

    from ultra_agents.cli.console import err
    from ultra_agents.cli.console import out as stdout
    from ultra_agents.cli.new_file import require_new
    from ultra_agents.cli.plugin_output import plugins_print_to
    from ultra_agents.cli.plugins.check import parse_settings
    from ultra_agents.contracts import Request
    from ultra_agents.errors import ConfigError, PolicyError
    from ultra_agents.exchange.importing import Teaching, import_policy
    from ultra_agents.exchange.scoring import in_words, score, stderr
    from ultra_agents.policies import save_policy
    from ultra_agents.registry import create_environment

    if normalizer is not None and no_normalizer:
        raise ConfigError("--normalizer and --no-normalizer exclude each other", expected="one of them")
    if episodes < 1:
        raise ConfigError("a score needs episodes", found=episodes, expected="at least 1", hint="--episodes 20")
    if expect is not None and not isfinite(expect):
        raise ConfigError("--expect takes a mean return", found=expect, expected="a finite number")
    options = parse_settings(settings or [])
    made = create_environment(environment, options)
    target = out if out is not None else Path(f"{file.stem}.safetensors")
    if target.suffix != ".safetensors":
        raise PolicyError(f"policies are not written to {target.name}", expected="--out with a name in .safetensors")
    if out is None and target.resolve() == file.resolve():
        target = target.with_name(f"{file.stem}_imported.safetensors")
    require_new(target, overwrite)
    console = err() if json else stdout()

    def say(line: str) -> None:
        console.print(f"  {line}", highlight=False, markup=False)

    with plugins_print_to(None) if json else nullcontext():
        request = Request(
            file, made.observation_space, made.action_space, normalizer, not no_normalizer, trust
        )  # fmt: skip
        teaching = Teaching(distil, distil_steps, seed, say)
        taken = import_policy(
            request, environment, made, format_name=format_name, algorithm=algorithm, teaching=teaching
        )
        found = score(taken.policy, made, episodes, seed, say)
        spent = found.steps + (taken.distilled.steps if taken.distilled is not None else 0)
        teacher = _teacher_score(taken, made, episodes, seed)
        spent += sum(teacher.lengths) if teacher is not None else 0
        _verdict(taken, found, made, file, expect, keep, console)
    save_policy(
        target,
        taken.policy,
        algorithm=taken.algorithm,
        environment_name=environment,
        environment=made,
        provenance={"imported_by": "ultra policy import", "file": file.name, "format": taken.format, **taken.told},
        score=found.record(),
        environment_options=options,
        training=taken.training,
    )
    if json:
        from json import dumps

        distilled: dict[str, Any] | None = None
        if taken.distilled is not None:
            distilled = {"agreement": taken.distilled.agreement, "steps": taken.distilled.steps}
            distilled["teacher"] = {"mean": teacher.mean, "stderr": stderr(teacher)} if teacher is not None else None
        row = {
            "policy": str(target), "format": taken.format, "algorithm": taken.algorithm, "score": found.record(),
            "env_steps": spent, "distilled": distilled, "options": taken.options,
        }  # fmt: skip
        print(dumps(row, indent=1))
        return
    print_score(console, found)
    if taken.distilled is not None and teacher is not None:
        lesson = f"{taken.distilled.agreement:.1%} of its actions after {taken.distilled.steps:,} steps of imitating"
        console.print(f"  the file's own     {in_words(teacher)}", highlight=False)
        console.print(f"a student of the file: {lesson}", highlight=False, soft_wrap=True)
    how = "imitated by" if taken.distilled is not None else "acts exactly as in the file, as"
    console.print(
        f"wrote [bold]{escape(str(target))}[/bold] ({spent:,} environment steps): {how} {taken.algorithm}",
        highlight=False,
        soft_wrap=True,
    )
    _go_on(console, target, {"name": environment} | ({"options": options} if options else {}), taken)


def _go_on(console: Any, target: Path, environment: dict[str, Any], taken: Imported) -> None:
    """What to write into a configuration, in lines to copy."""
    from math import inf

    from ultra_agents.yaml_text import write_yaml

    def line(name: str, value: dict[str, Any]) -> None:
        told = write_yaml(value, flow=True, width=inf).strip()
        console.print(f"  {name}: {told}", highlight=False, markup=False, soft_wrap=True, style="bright_black")

    console.print("go on with it, in a configuration:", style="bright_black")
    line("environment", environment)
    line("policy", {"path": str(target)})
    line("refine", {"algorithm": {"name": taken.algorithm}})
    if taken.options:
        console.print("it is refined with the settings it was trained with; to change them:", style="bright_black")
        line("refine", {"algorithm": {"name": taken.algorithm, "options": taken.options}})


def print_score(console: Any, found: Score) -> None:
    """Both ways of acting, with intervals."""
    from ultra_agents.exchange.scoring import in_words

    episodes = len(found.sampled.values)
    console.print(f"score over {counted(episodes, 'episode')}", highlight=False)
    console.print(f"  drawn actions      {in_words(found.sampled)}", highlight=False)
    console.print(f"  likeliest actions  {in_words(found.likeliest)}", highlight=False)


def _teacher_score(taken: Imported, environment: Environment, episodes: int, seed: int) -> Returns | None:
    if taken.act is None:
        return None
    from ultra_agents.exchange.scoring import score_actions

    return score_actions(taken.act, environment, episodes, seed)


def _verdict(
    taken: Imported, found: Score, environment: Environment, file: Path, expect: float | None, keep: bool, console: Any
) -> None:
    """Refuse a policy that scores far below what is said of it, or say so where it is kept all the same."""
    from ultra_agents.cli.error_output import show_error
    from ultra_agents.errors import PolicyError
    from ultra_agents.exchange.scoring import random_score, refuse_drop

    if taken.distilled is not None:
        try:
            taken.distilled.check(str(file))
        except PolicyError as error:
            if not keep:
                raise
            show_error(error, kept=True)
            console.print("kept all the same (--keep)", style="yellow")
    recorded = (taken.recorded or {}).get("mean")
    saved = taken.told.get("versions") or {}
    with_what = ", ".join(f"{name} {saved[name]}" for name in ("gymnasium", "openai gym") if name in saved)
    hint = "it imitates the file: more --distil-steps may help; else " if taken.distilled is not None else ""
    hint += (
        "check the normaliser (--normalizer vecnormalize.pkl), the wrappers (frame stack, clipped actions), and the "
        f"environment's version ({environment.env_id} here{f', saved with {with_what}' if with_what else ''}); "
        "--keep writes it all the same"
    )
    for said, by in ((expect, "--expect"), (recorded, "its own record")):
        if not isinstance(said, int | float):
            continue
        try:
            refuse_drop(
                found, float(said), by, f"the policy {file}",
                lambda: random_score(environment, len(found.sampled.values), found.seed), hint,
            )  # fmt: skip
        except PolicyError as error:
            if not keep:
                raise
            show_error(error, kept=True)
            console.print("kept all the same (--keep)", style="yellow")
