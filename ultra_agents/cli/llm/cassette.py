"""`ultra llm export` and `ultra llm import`: answers as one JSONL file that people can commit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultra_agents.text import counted


def llm_export(
    source: Annotated[str, typer.Argument(metavar="RUN|CACHE", help="Run folder, its name, or an answer cache.")],
    cassette: Annotated[Path, typer.Argument(metavar="FILE", help="The cassette to write (.jsonl).")],
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """Write the answers a run used, or a whole cache, to a cassette; no prompts and no keys are in it."""
    from ultra_agents.cli.console import out
    from ultra_agents.cli.run_display import find_folder
    from ultra_agents.errors import RunError
    from ultra_agents.llm.cache import AnswerCache
    from ultra_agents.postgres import checked_address, is_address
    from ultra_agents.runs import RunFolder, read_lines

    _cassette(cassette)
    place: Path | str = checked_address(source) if is_address(source) else find_folder(source, runs)
    keys: set[str] | None = None
    if isinstance(place, Path) and not place.is_file():
        folder = RunFolder.open(place)
        place = folder.config.gateway.cache or folder.cache
        keys = {str(row["key"]) for row in read_lines(folder.transcript) if row.get("key")}
    cache = AnswerCache(place, must_exist=True)
    try:
        count = cache.export(cassette, keys)
    finally:
        cache.close()
    if not count:
        cassette.unlink()
        raise RunError(f"there are no answers in {source}", found=f"nothing of it in {place}")
    out().print(
        f"{counted(count, 'answer')} in {cassette}\n"
        f"replay them: gateway: {{mode: replay, cache: {cassette}}}\n"
        f"or as a model: {{provider: replay, options: {{cassette: {cassette}}}}}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def llm_import(
    cassette: Annotated[Path, typer.Argument(metavar="FILE", help="A cassette written by `ultra llm export`.")],
    cache: Annotated[
        str, typer.Argument(metavar="CACHE", help="The answer cache to add to: a file, made where missing, or a DSN.")
    ],
) -> None:
    """Add a cassette's answers to an answer cache; what is there already stays."""
    from ultra_agents.cli.console import out
    from ultra_agents.errors import ConfigError
    from ultra_agents.llm.cache import AnswerCache
    from ultra_agents.postgres import checked_address, is_address

    _cassette(cassette)
    place: Path | str = checked_address(cache) if is_address(cache) else Path(cache)
    if isinstance(place, Path) and (place.is_dir() or place.suffix == ".jsonl"):
        raise ConfigError(f"{cache} is no answer cache", expected="an SQLite file, or a name for a new one")
    if not cassette.is_file():
        raise ConfigError(f"there is no cassette {cassette}", hint="ultra llm export RUN FILE writes one")
    opened = AnswerCache(place)
    try:
        read, added = opened.load(cassette)
    finally:
        opened.close()
    out().print(
        f"{added} of {counted(read, 'answer')} added to {cache}\nuse them: gateway: {{cache: {cache}}}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def _cassette(path: Path) -> None:
    from ultra_agents.errors import ConfigError

    if path.suffix != ".jsonl":
        raise ConfigError(f"{path} is no name of a cassette", expected="a file that ends in .jsonl")
