"""What became of the latest suggestions, with the gain the simulator measured."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import RenderableType
from rich.text import Text

from ultra_agents.events import AdviceDecided
from ultra_agents.ui.model import ViewState
from ultra_agents.ui.panels.frame import framed
from ultra_agents.ui.text import clean
from ultra_agents.ui.theme import BAD, DIM, GOOD, decision_sign


def advice(state: ViewState, now: float, width: int, height: int) -> RenderableType:
    """The panel "Advice"; the newest decision stands last, the counts below."""
    rows = max(height - 2, 1)
    shown = state.advice[-rows:]
    wheres = [f"{clean(row.segment.partition(':')[0], 6)}:{row.step}" for row in shown]
    actions = [f"{clean(row.action, 14)} ×{row.hold}" for row in shown]
    wide = max(map(len, wheres), default=0), max(map(len, actions), default=0)
    lines = [
        _row(row, where.rjust(wide[0]), action.ljust(wide[1]))
        for row, where, action in zip(shown, wheres, actions, strict=True)
    ]
    if not lines:
        lines = [Text("Suggestions appear here once judged and tested.", DIM)]
    counts = " · ".join(f"{number} {clean(word, 12)}" for word, number in _counts(state.decisions))
    return framed("Advice", lines, width, height, counts)


def _counts(decisions: Mapping[str, int]) -> list[tuple[str, int]]:
    """Decisions in words of what happened, the good ones first."""
    past = {"accept": "accepted", "revise": "sent back", "reject": "rejected", "drop": "dropped"}
    order = list(past)
    rows = sorted(decisions.items(), key=lambda row: order.index(row[0]) if row[0] in order else len(order))
    return [(past.get(word, word), number) for word, number in rows]


def _row(row: AdviceDecided, where: str, action: str) -> Text:
    sign, colour = decision_sign(row.decision)
    gain = "      " if row.gain is None else f"{row.gain:+6.2f}"
    return Text.assemble(
        (f"{sign} ", colour),
        (where, DIM),
        (f"  {action}", ""),
        (f" {gain}", DIM if row.gain is None else GOOD if row.gain > 0 else BAD),
        (f"  {clean(row.reason)}", DIM),
    )


if __name__ == "__main__":
    from ultra_agents.ui.sample import show

    show(advice)
