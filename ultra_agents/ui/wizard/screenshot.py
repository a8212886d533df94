"""The wizard as an SVG, for the README."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ultra_agents.ui.wizard.answers import Answers, Facts
from ultra_agents.ui.wizard.app import WizardApp


def screenshot(
    facts: Facts, columns: int = 120, rows: int = 40, keys: Sequence[str] = (), answers: Answers | None = None
) -> str:
    """What the wizard shows after `keys` in a terminal of `columns` by `rows`, all questions answered, as SVG."""

    async def drawn() -> str:
        app = WizardApp(facts, answers)
        async with app.run_test(size=(columns, rows)) as pilot:
            for key in keys:
                await pilot.press(key)
            await app.workers.wait_for_complete()
            await pilot.pause()
            return app.export_screenshot(title="ultra")

    return asyncio.run(drawn())
