"""What has been spent: model calls, tokens, environment steps; and what was not used, by reason."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from ultra_agents.ui.model import ViewState
from ultra_agents.ui.panels.frame import framed
from ultra_agents.ui.text import clean, count, took
from ultra_agents.ui.theme import DIM, WARM


def budget(state: ViewState, now: float, width: int, height: int) -> RenderableType:
    """The panel "Spent"."""
    usage, rows = state.usage, max(height - 2, 1)
    lines = [
        _row("calls", f"{usage.calls:,}", f"+ {usage.cached:,} from the cache" if usage.cached else ""),
        _row("tokens", f"{count(usage.prompt_tokens)} in", f"{count(usage.completion_tokens)} out"),
    ]
    if rows >= 8 and usage.calls:
        lines.append(_row("waiting", took(usage.seconds), f"{took(usage.seconds / usage.calls)} a call"))
    spent = sum(steps for steps, _ in state.steps.values())
    if rows >= 10:
        for method, (steps, total) in state.steps.items():
            lines.append(_row(clean(method, 10), f"{count(steps)} steps", f"of {count(total)}"))
    elif state.steps:
        lines.append(
            _row("steps", count(spent), f"of {count(sum(total for _, total in state.steps.values()))} so far")
        )
    dropped = sorted(state.drops.items(), key=lambda row: (-row[1], row[0]))
    room = rows - len(lines)
    if dropped and room > 1 and rows >= 8:
        lines.append(Text("not used", DIM))
        room -= 1
    for reason, number in dropped[: max(room, 0)]:
        lines.append(Text.assemble((f"{number:>6} ", WARM), (clean(reason), "")))
    total = sum(state.drops.values())
    return framed("Spent", lines, width, height, f"{total:,} dropped" if total else "")


def _row(name: str, value: str, more: str) -> Text:
    return Text.assemble((f"{name:<11}", DIM), (value, "bold"), (f"  {more}" if more else "", DIM))


if __name__ == "__main__":
    from ultra_agents.ui.sample import show

    show(budget)
