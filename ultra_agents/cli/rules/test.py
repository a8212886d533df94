"""`ultra rules test`: your hunch, tested."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ultra_agents.text import counted

if TYPE_CHECKING:
    from rich.console import Console

    from ultra_agents.config import Config, RuleTestConfig
    from ultra_agents.contracts import Environment, Policy
    from ultra_agents.rules import RuleSet
    from ultra_agents.verification import RuleTest


def rules_test(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rules, in YAML.")],
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration of a run: policy and environment.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting: seed=3. May be repeated."),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=2, help="Paired episodes of the confirmation, at most.", show_default="16")
    ] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Let the simulator move the declared constants first.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Test rules in the simulator, in force over the starting policy of CONFIG against that policy alone.

    The set is confirmed on episodes that chose nothing; one that does not hold is tried again without the rules that
    carry no weight. Prints the gain per episode with its interval, how often rules acted, environment steps paid, and
    the verdict.
    """
    from ultra_agents.cli.console import err, out
    from ultra_agents.config import load_config
    from ultra_agents.registry import create_environment
    from ultra_agents.rules import interface_of, load_rules
    from ultra_agents.seeding import Streams
    from ultra_agents.verification import RuleTester

    read = load_config(config, settings or [])
    terms = _terms(read.verification.rules, episodes, tune)
    made = create_environment(read.environment.name, read.environment.options)
    rules = load_rules(file, interface_of(made))
    environment, policy = _start(read, err())

    def progress(purpose: str, steps: int) -> None:
        err().print(f"{purpose}: {steps:,} steps so far", highlight=False, markup=False, soft_wrap=True)

    tester = RuleTester(
        environment,
        policy,
        terms,
        Streams(read.seed).child("rules"),
        workers=read.verification.workers,
        engine=read.engine,
        progress=progress,
    )
    found = tester.test([rules])
    if json:
        from json import dumps

        from pydantic import TypeAdapter

        from ultra_agents.verification import RuleTest

        told = TypeAdapter(RuleTest).dump_python(found, mode="json")
        print(dumps({"file": str(file), "environment": environment.env_id, **told}, indent=1, ensure_ascii=False))
    else:
        _print(out(), found, rules, terms)


def _terms(written: RuleTestConfig, episodes: int | None, tune: bool) -> RuleTestConfig:
    """The configured test with what the command line changes."""
    changed: dict[str, int] = {"tune": written.tune or tune}
    if episodes is not None:
        changed |= {"pairs": episodes, "min_pairs": min(written.min_pairs, episodes)}
    return written.model_copy(update=changed)


def _start(config: Config, console: Console) -> tuple[Environment, Policy]:
    """The environment and the starting policy of a run, which is trained where the configuration says so."""
    from tempfile import TemporaryDirectory

    from ultra_agents.runs import RunFolder
    from ultra_agents.stages import run_context, starting_policy

    if config.policy.train_steps is not None:
        steps = counted(config.policy.train_steps, "step")
        console.print(f"training the starting policy for {steps}", highlight=False, markup=False, soft_wrap=True)
    with TemporaryDirectory() as root:
        folder = RunFolder.create(Path(root), config)
        context = run_context(folder, config, lambda event: None, lambda: False)
        return context.environment, starting_policy(context)


def _print(console: Console, found: RuleTest, rules: RuleSet, terms: RuleTestConfig) -> None:
    lines = [
        f"{found.verdict}: {found.gain:+,.4g} per episode [{found.low:+,.4g}, {found.high:+,.4g}], each end with "
        f"{terms.confidence:.0%} confidence, {found.pairs} paired episodes"
    ]
    if not found.pairs:
        lines = [f"{found.verdict}: the budget of {terms.max_steps:,} steps did not pay for a first look"]
    rows = {
        "policy alone": None if found.policy_return is None else f"{found.policy_return:,.4g}",
        "with rules": None if found.rules_return is None else f"{found.rules_return:,.4g}",
        "rules act at": None if found.coverage is None else f"{found.coverage:.1%} of the steps",
        "constants": ", ".join(
            f"{name} = {at:g} (was {rules.constants[name][0]:g})" for name, at in found.constants.items()
        ),
        "steps paid": f"{found.env_steps:,} ({', '.join(f'{name} {steps:,}' for name, steps in found.spent.items())})",
    }
    for index, weight in enumerate(found.weights):
        if weight is not None:
            gone = ", so it was left out" if index in found.dropped else ""
            rows[f"rule {index + 1}"] = f"{weight:+,.4g} per episode is what having it brings{gone}"
    lines += [f"  {name:<14}{told}" for name, told in rows.items() if told]
    if found.cut:
        lines.append(f"  {found.cut} episodes were cut after {found.horizon:,} steps; their rest is the value there")
    if found.verdict == "undecided":
        lines.append("  more episodes may decide it: --episodes N and --set verification.rules.max_steps=N")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
