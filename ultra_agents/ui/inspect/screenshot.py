"""The browser as an SVG, for the README."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ultra_agents.ui.inspect.app import InspectApp
from ultra_agents.ui.inspect.run_view import RunView, StepSource


def screenshot(run: RunView, source: StepSource, columns: int = 120, rows: int = 40, keys: Sequence[str] = ()) -> str:
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
