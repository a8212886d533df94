"""SVG image of `ultra inspect`: `python -m docs.screens.browser RUN --out examples/images/inspect.svg`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from ultra_agents.cli.inspect.run_reader import RunFolderReader
from ultra_agents.ui.inspect.app import InspectApp
from ultra_agents.ui.inspect.run_view import RunView, StepSource


def browser_svg(run: RunView, source: StepSource, columns: int = 120, rows: int = 40, keys: Sequence[str] = ()) -> str:
    """What the browser shows after `keys` in a terminal of `columns` by `rows`, as SVG.

    It begins at the first accepted critical state, where there is one.
    """

    async def drawn() -> str:
        app = InspectApp(run, source, "truecolor")
        first = next((one for one in run.critical if one.state.fate == "accepted"), None)
        if first is not None:
            app.episode, app.step = first.place
        async with app.run_test(size=(columns, rows)) as pilot:
            await app.workers.wait_for_complete()
            if keys:
                await pilot.press(*keys)
            await pilot.pause()
            return app.export_screenshot(title=f"ultra inspect {run.name}")

    return asyncio.run(drawn())


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the image and name it."""
    parser = argparse.ArgumentParser(prog="python -m docs.screens.browser", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--out", type=Path, default=Path("examples/images/inspect.svg"))
    parser.add_argument("--size", default="120x40", help="columns x rows")
    given = parser.parse_args(arguments)
    columns, rows = map(int, given.size.split("x"))
    run, source = RunFolderReader(given.run).read()
    try:
        source.read_policies()
        given.out.write_text(browser_svg(run, source, columns, rows), encoding="utf-8")
    finally:
        source.close()
    print(given.out)


if __name__ == "__main__":
    main()
