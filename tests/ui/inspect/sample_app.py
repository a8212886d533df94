"""The browser under Textual's pilot, and what it shows as text."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from rich.console import Console
from textual.pilot import Pilot
from textual.widgets import Static

from tests.ui.inspect.sample_view import SampleSource, run_view
from ultra_agents.ui.inspect.app import InspectApp
from ultra_agents.ui.inspect.run_view import RunView

Play = Callable[[InspectApp, Pilot[None]], Awaitable[None]]


def browse(play: Play, size: tuple[int, int] = (120, 40), run: RunView | None = None, **source: Any) -> InspectApp:
    async def go() -> InspectApp:
        app = InspectApp(run or run_view(), SampleSource(**source), "truecolor")
        async with app.run_test(size=size) as pilot:
            await app.workers.wait_for_complete()
            await pilot.pause()
            await play(app, pilot)
        return app

    return asyncio.run(go())


def panel(app: InspectApp, name: str) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 - closed with the test
    console.print(app.query_one(name, Static).content)
    return console.export_text()
