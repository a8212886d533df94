"""`ultra run` and `ultra resume`: one run from the terminal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ultra_agents.runs import RunFolder

PLAIN = typer.Option("--plain", help="One line per event instead of the live screen.")
JSON = typer.Option("--json", help="One JSON object per event, for machines.")
SET = typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, for example refine.steps=50000.")


def run(
    config: Annotated[Path, typer.Argument(help="Configuration file (YAML), for example examples/pong.yaml.")],
    name: Annotated[str | None, typer.Option(help="Name of the run folder; default: the configuration's.")] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders are kept.")] = Path("runs"),
    settings: Annotated[list[str] | None, SET] = None,
    plain: Annotated[bool, PLAIN] = False,
    json: Annotated[bool, JSON] = False,
) -> None:
    """Explain and refine a policy: every stage, from its episodes to the report."""
    from ultra_agents.config import load_config
    from ultra_agents.runs import RunFolder

    overrides = [*(settings or []), *([f"name={name}"] if name else [])]
    parsed = load_config(config, overrides)
    _check_plugins(parsed)
    _go(RunFolder.create(runs, parsed), plain, json)


def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder, for example runs/pong.")],
    settings: Annotated[list[str] | None, SET] = None,
    plain: Annotated[bool, PLAIN] = False,
    json: Annotated[bool, JSON] = False,
) -> None:
    """Go on with a run that was stopped; nothing already paid for is asked again."""
    from ultra_agents.runs import RunFolder

    opened = RunFolder.open(folder)
    if settings:
        with opened.lock():
            opened.amend(settings)
    _go(opened, plain, json)


def _check_plugins(config: Any) -> None:
    """Find unknown plugins and options before a run folder is made for them."""
    from ultra_agents import registry

    registry.create_environment(config.environment.name, config.environment.options)
    registry.create_algorithm(config.refine.algorithm.name, config.refine.algorithm.options)
    for entry in config.llms.values():
        registry.create_llm(entry.provider, entry.options)


def _go(folder: RunFolder, plain: bool, json: bool) -> None:
    from ultra_agents.errors import ConfigError
    from ultra_agents.events import Event
    from ultra_agents.pipeline import run_pipeline
    from ultra_agents.ui.display import choose_display

    if plain and json:
        raise ConfigError("choose one of --plain and --json")
    display = choose_display("json" if json else "plain" if plain else "auto")

    def emit(event: Event) -> None:
        folder.append_event(event.to_json())
        display.handle(event)

    with folder.lock(), _stop_on_ctrl_c() as stopping:
        display.start()
        try:
            run_pipeline(folder, folder.config, emit, stopping.is_set)
        except BaseException as error:
            _note_end(emit, error)
            raise
        finally:
            display.stop()
            folder.close()


def _note_end(emit: Any, error: BaseException) -> None:
    """Put the end of a run that did not finish into its event log."""
    from ultra_agents.errors import BudgetReached, Interrupted
    from ultra_agents.events import RunFinished

    status = {Interrupted: "interrupted", KeyboardInterrupt: "interrupted", BudgetReached: "budget"}
    emit(RunFinished(status.get(type(error), "failed"), 0.0, str(error)))


@contextmanager
def _stop_on_ctrl_c() -> Iterator[threading.Event]:
    """The first Ctrl-C asks the run to stop at the next safe place; the second stops it at once."""
    stopping = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()
        typer.echo("\nstopping cleanly; Ctrl-C again stops at once", err=True)

    on_main = threading.current_thread() is threading.main_thread()
    if on_main:
        signal.signal(signal.SIGINT, ask)
    try:
        yield stopping
    finally:
        if on_main:
            signal.signal(signal.SIGINT, before)
