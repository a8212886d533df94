"""The latest decisions about suggestions, with the measured gain and its interval; and the rules, with theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from rich.cells import cell_len
from rich.text import Text

from ultra_agents.events import AdviceDecided, RulesDecided, RulesShown
from ultra_agents.text import clean, counted
from ultra_agents.ui.counting import decision_of
from ultra_agents.ui.panels import DEFAULT_VIEW, PanelView
from ultra_agents.ui.panels.frame import Framed, framed, hint, newest
from ultra_agents.ui.run_state import RunState
from ultra_agents.ui.text import wrap
from ultra_agents.ui.theme import BAD, DIM, GOOD, WARM, decision_sign

Decided: TypeAlias = AdviceDecided | RulesDecided
GAIN = 6
REASON = 12
"""Columns that a reason takes at least: a shorter part of one says nothing."""


def advice(state: RunState, now: float, width: int, height: int, view: PanelView = DEFAULT_VIEW) -> Framed:
    """The panel "Advice"; the newest decision stands last, the counts below."""
    rows, inner = max(height - 2, 1), max(width - 4, 10)
    shown = state.advice
    wheres = [f"{clean(row.segment.partition(':')[0], 6)}:{_number(row)}" for row in shown]
    most = 14 if inner < 60 else 24
    actions = [_proposed(row, most) for row in shown]
    # columns are as wide as the visible rows need, so that a long plan that is scrolled out takes no room
    seen = slice(max(len(shown) - rows - view.scroll, 0), len(shown) - view.scroll or None)
    wide = max(map(len, wheres[seen]), default=0), max(map(len, actions[seen]), default=0)
    span = max((len(interval_words(row)) for row in shown[seen]), default=0)
    span = span if inner >= wide[0] + wide[1] + GAIN + span + 6 else 0
    lines = [
        _row(row, where.rjust(wide[0]), action.ljust(wide[1]), span, inner)
        for row, where, action in zip(shown, wheres, actions, strict=True)
    ]
    if state.rules is not None:
        lines += _rules(state.rules, inner, rows - len(lines))
    if not lines:
        lines = hint("Suggestions appear here once judged and tested.", width, height)
    lines, scrolled = newest(lines, rows, view.scroll)
    counts = " · ".join(f"{number} {clean(word, 12)}" for word, number in _counts(state.decisions))
    return framed("Advice", lines, width, height, counts, focused=view.focused, scrolled=scrolled)


def _counts(decisions: Mapping[str, int]) -> list[tuple[str, int]]:
    """Decisions as past participles with their counts, accepted ones first."""
    past = {
        "accept": "accepted", "forward": "put forward", "leave": "left", "revise": "sent back", "reject": "rejected",
        "drop": "dropped",
    }  # fmt: skip
    order = list(past)
    rows = sorted(decisions.items(), key=lambda row: order.index(row[0]) if row[0] in order else len(order))
    return [(past.get(word, word), number) for word, number in rows]


def _number(row: Decided) -> str:
    """The step advised, or which set of rules of the episode it is."""
    return str(row.step) if isinstance(row, AdviceDecided) else f"#{row.attempt}"


def _proposed(row: Decided, most: int) -> str:
    """The move or plan in at most `most` characters, or how many rules."""
    if isinstance(row, AdviceDecided):
        return f"{clean(row.action, most)} ×{row.hold}" if row.hold else "as it is"
    return counted(row.rules, "rule")


def _row(row: Decided, where: str, action: str, span: int, inner: int) -> Text:
    sign, colour = decision_sign(decision_of(row))
    line = Text.assemble(
        (f"{sign} ", colour),
        (where, DIM),
        (f"  {action}", ""),
        (f" {gain_words(row):>{GAIN}}", gain_colour(row)),
        (f" {interval_words(row):<{span}}" if span else "", DIM),
    )
    reason = clean(row.reason, 200)
    if inner - line.cell_len - 2 >= min(REASON, cell_len(reason)):
        line.append(f"  {reason}", DIM)
    return line


def _rules(shown: RulesShown, inner: int, rows: int) -> list[Text]:
    """The verdict, then the rules: in full where they have room on `rows` lines, else one line each."""
    colour = {"accepted": GOOD, "rejected": BAD, "": DIM}.get(shown.verdict, WARM)
    verdict, rules = rules_words(shown), [clean(one, 200) for one in shown.rules]
    full = [Text(line, colour) for line in wrap(verdict, inner, 3)]
    for rule in rules:
        full += [Text(f"{'  ' if at == 0 else '    '}{line}") for at, line in enumerate(wrap(rule, inner - 4, 4))]
    return full if len(full) <= rows else [Text(verdict, colour), *(Text(f"  {rule}") for rule in rules)]


def rules_words(shown: RulesShown) -> str:
    """`accepted: +60.0 [+10.6, +109] per episode in 4 pairs, 2 rules by file`; what is under test before that."""
    sets = f"{counted(shown.sets, 'set')} of rules by {clean(shown.source, 30)}"
    if not shown.verdict:
        return f"{sets} under test"
    gain = ""
    if shown.gain is not None and shown.low is not None and shown.high is not None:
        gain = (
            f": {_signed(shown.gain)} [{_signed(shown.low)}, {_signed(shown.high)}]"
            f" per episode in {counted(shown.pairs, 'pair')}"
        )
    return f"{clean(shown.verdict, 12)}{gain}, {counted(len(shown.rules), 'rule')} by {clean(shown.source, 30)}"


def gain_words(row: Decided) -> str:
    """The measured gain; empty where nothing was measured."""
    return "" if row.gain is None else _signed(row.gain)


def interval_words(row: Decided) -> str:
    """The interval of the measured gain; empty where there is none."""
    return "" if row.low is None or row.high is None else f"[{_signed(row.low)}, {_signed(row.high)}]"


def gain_colour(row: Decided) -> str:
    """Green for a gain, red for a loss, dim where the interval contains 0."""
    if row.gain is None or (row.low is not None and row.high is not None and row.low <= 0 <= row.high):
        return DIM
    return GOOD if row.gain > 0 else BAD


def _signed(value: float) -> str:
    """At most six characters."""
    if abs(value) >= 9.995:
        return f"{value:+.0f}" if abs(value) >= 99.95 else f"{value:+.1f}"
    return f"{value:+.2f}"
