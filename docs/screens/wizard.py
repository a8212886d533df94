"""SVG image of the wizard: `python -m docs.screens.wizard --out examples/images/wizard.svg [KEY ...]`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from ultra_agents.cli.wizard.facts import RegistryFacts
from ultra_agents.ui.wizard.answers import Answers, Facts
from ultra_agents.ui.wizard.app import WizardApp


def wizard_svg(
    facts: Facts, columns: int = 120, rows: int = 40, keys: Sequence[str] = (), answers: Answers | None = None
) -> str:
    """What the wizard shows after `keys` in a terminal of `columns` by `rows`, its background checks done, as SVG."""

    async def drawn() -> str:
        app = WizardApp(facts, answers)
        async with app.run_test(size=(columns, rows)) as pilot:
            for key in keys:
                await pilot.press(key)
            await app.workers.wait_for_complete()
            await pilot.pause()
            return app.export_screenshot(title="ultra")

    return asyncio.run(drawn())


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the image and name it."""
    parser = argparse.ArgumentParser(prog="python -m docs.screens.wizard", description=__doc__)
    parser.add_argument("keys", nargs="*", metavar="KEY", help="pressed first, in Textual's names: enter, down, ...")
    parser.add_argument("--out", type=Path, default=Path("examples/images/wizard.svg"))
    parser.add_argument("--size", default="120x40", help="columns x rows")
    given = parser.parse_args(arguments)
    columns, rows = map(int, given.size.split("x"))
    given.out.write_text(wizard_svg(RegistryFacts(), columns, rows, given.keys), encoding="utf-8")
    print(given.out)


if __name__ == "__main__":
    main()
