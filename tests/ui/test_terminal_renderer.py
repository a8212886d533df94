"""The renderer leaves the main screen alone."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from ultra_agents.ui.screen import Region
from ultra_agents.ui.terminal_renderer import TerminalRenderer


def test_a_drawing_that_ends_after_the_screen_was_given_back_is_not_seen() -> None:
    out = io.StringIO()
    renderer = TerminalRenderer(Console(file=out, force_terminal=True, width=20, height=4))

    def late() -> Text:
        renderer.close()
        return Text("too late")

    renderer.open()
    renderer.render([(Region("a", 0, 0, 20, 1), (1,), lambda: Text("in time"))], 20, 4)
    renderer.render([(Region("a", 0, 0, 20, 1), (2,), late)], 20, 4)
    assert "in time" in out.getvalue()
    assert out.getvalue().endswith("\x1b[?1049l")
