"""`ultra llm check`: talk to a model and tell what it can do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from ultra_agents.config import LLMConfig
    from ultra_agents.llm.check import ModelCheck


def llm_check(
    config: Annotated[Path | None, typer.Option(help="Check every model of this configuration.")] = None,
    provider: Annotated[str | None, typer.Option(help="Check a model of this provider.")] = None,
    model: Annotated[str | None, typer.Option(help="The model, as the provider names it.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of --provider: base_url=...")
    ] = None,
    asks: Annotated[int, typer.Option(min=1, help="Structured questions to count valid replies of.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
) -> None:
    """Talk to a model: is it there, which structured output works, how fast is it, what does it cost."""
    from ultra_agents.cli.console import err, out
    from ultra_agents.llm.check import check_model

    entries = _entries(config, provider, model, options or [])
    checks: list[ModelCheck] = []
    with err().status("") as status:
        for name, entry in entries.items():

            def show(text: str, name: str = name) -> None:
                status.update(f"{name}: {text}")

            checks.append(check_model(name, entry, asks=asks, progress=show))
    if json:
        from json import dumps

        print(dumps([check.to_json() for check in checks], indent=1))
    else:
        console = out()
        console.print(table(checks))
        for check in checks:
            if check.problem is not None:
                console.print(f"{check.name}: {check.problem}", style="red", markup=False)
                if check.hint is not None:
                    console.print(f"do: {check.hint}", style="bright_black", markup=False)
    if not all(check.ok for check in checks):
        raise typer.Exit(2)


def _entries(config: Path | None, provider: str | None, model: str | None, options: list[str]) -> dict[str, LLMConfig]:
    import yaml

    from ultra_agents.config import LLMConfig, load_config
    from ultra_agents.errors import ConfigError

    if config is not None:
        if provider or model or options:
            raise ConfigError(
                "--config says which models are checked", expected="no --provider, --model or --set beside"
            )
        return dict(load_config(config).llms)
    given: dict[str, Any] = {} if model is None else {"model": model}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise ConfigError(
                "--set takes key=value", found=option, expected="for example base_url=http://127.0.0.1:8000/v1"
            )
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {key} has an unreadable value", found=value) from error
    return {provider or "local": LLMConfig(provider=provider or "local", options=given)}


def table(checks: list[ModelCheck]) -> Table:
    """A row for each finding, a column for each model."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("")
    for check in checks:
        made.add_column(Text(check.name), overflow="fold")
    for title, cell in _ROWS.items():
        cells = [Text.assemble(*cell(check)) for check in checks]
        if any(found.plain != "-" for found in cells):
            made.add_row(Text(title, "bright_black"), *cells)
    return made


def table_rows(check: ModelCheck) -> tuple[tuple[str, str], ...]:
    """The same findings as pairs of a title and its words, without what is not known."""
    rows = ((title.strip(), "".join(word for word, _ in cell(check))) for title, cell in _ROWS.items())
    return tuple((title, words) for title, words in rows if words != "-")


def _mark(good: bool, text: str) -> list[tuple[str, str]]:
    return [("✔ " if good else "✘ ", "green" if good else "red"), (text, "")]


def _plain(text: str) -> list[tuple[str, str]]:
    return [(text, "" if text != "-" else "bright_black")]


def _valid(check: ModelCheck) -> list[tuple[str, str]]:
    if not check.asks:
        return _plain("-")
    why = ", ".join(f"{count} {reason}" for reason, count in check.dropped.items())
    good = check.valid == check.asks
    colour = "green" if good else "yellow" if 2 * check.valid >= check.asks else "red"
    return [(f"{check.valid} of {check.asks}", colour), (f" ({why})" if why else "", "")]


def _price(check: ModelCheck) -> list[tuple[str, str]]:
    if check.price_prompt_1k is None or check.price_completion_1k is None:
        return _plain("unknown" if check.reachable else "-")
    if check.price_prompt_1k == check.price_completion_1k == 0:
        return _plain("free")
    return _plain(f"{check.price_prompt_1k:.3g} prompt, {check.price_completion_1k:.3g} reply")


def _number(value: float | None, unit: str, places: int = 1) -> list[tuple[str, str]]:
    return _plain("-" if value is None else f"{value:,.{places}f}{unit}")


_ROWS: dict[str, Any] = {
    "provider": lambda check: _plain(check.provider),
    "model": lambda check: _plain(check.model),
    "reachable": lambda check: _mark(check.reachable, "yes" if check.reachable else "no"),
    "structured output": lambda check: _plain(check.structured or "-"),
    "  tried": lambda check: _plain("\n".join(f"{way}: {said}" for way, said in check.ways.items()) or "-"),
    "not sent": lambda check: _plain(", ".join(check.left_out) or "-"),
    "noticed": lambda check: _plain("\n".join(check.warnings) or "-"),
    "valid replies": _valid,
    "latency": lambda check: _number(check.latency_s, " s", 2),
    "reply tokens/s": lambda check: _number(check.tokens_per_s, ""),
    "context": lambda check: _plain("-" if check.context_tokens is None else f"{check.context_tokens:,} tokens"),
    "seed": lambda check: _plain(check.seed or "-"),
    "cost per 1k tokens": _price,
    "this check used": lambda check: _plain(
        f"{check.usage.calls} calls, {check.usage.prompt_tokens + check.usage.completion_tokens:,} tokens"
        + (f", {check.usage.cost:.4f}" if check.usage.cost else "")
    ),
}
