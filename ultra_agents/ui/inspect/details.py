"""What is known of one step, as text: the state, the advice, the test, and what each policy does there."""

from __future__ import annotations

from rich.text import Text

from ultra_agents.records import TestResult
from ultra_agents.ui.inspect.book import Attempt, Book, Critical, StepView, Stretch
from ultra_agents.ui.inspect.marks import SIGNS, arrow, interval
from ultra_agents.ui.text import clean, score
from ultra_agents.ui.theme import AGENTS, BAD, DIM, GOOD, WARM, method_colours

_STOPPED = {
    "good": "surely better",
    "bad": "surely worse",
    "hopeless": "no gain in sight",
    "pairs": "all pairs used, undecided",
    "steps": "step budget used, undecided",
}
_VERDICTS = {"accept": GOOD, "revise": WARM, "reject": BAD}


def details(book: Book, view: StepView, width: int, reading: bool = False) -> Text:
    """All lines about a step; `reading`: the policies are still being read."""
    episode = book.episode(view.episode)
    stretch, critical = book.stretch_at(view.episode, view.step), book.critical_at(view.episode, view.step)
    text = Text()
    text.append(f"Step {view.step}", "bold")
    text.append(f" of {len(episode) - 1} · episode {view.episode}", DIM)
    if stretch is not None:
        text.append(f" · {clean(stretch.segment.kind, 40)}", DIM)
    text.append(f"\n{view.words}\n")
    text.append("policy did ", DIM)
    text.append(_action(view.action), "bold")
    text.append("   reward ", DIM)
    text.append(f"{view.reward:+.2f}" if view.reward else "0", GOOD if view.reward > 0 else BAD if view.reward else "")
    text.append("   value ", DIM)
    text.append(f"{score(view.value)}\n")
    if critical is not None:
        _advice(text, critical, width)
    elif stretch is not None:
        _around(text, stretch, view.step)
    _choices(text, book, view, critical, reading)
    if critical is None and stretch is None and book.stretches:
        text.append("\nNot in a stretch the agents were shown. n: next critical state\n", DIM)
    return text


def _action(name: str) -> str:
    sign = arrow(name)
    return f"{sign} {name}" if sign else name


def _title(text: Text, title: str, style: str) -> None:
    text.append("\n")
    text.append(title, style)


def _advice(text: Text, one: Critical, width: int) -> None:
    sign, colour = SIGNS[one.fate]
    _title(text, f"◆ critical, {one.fate} {sign}", f"bold {colour}")
    if one.reason:
        text.append(f"  {one.reason}", colour)
    text.append(f"\nimportance {one.importance:.2f}", DIM)
    if one.agreement < 1:
        text.append(f", named by {one.agreement:.0%} of the panel", DIM)
    text.append("\n")
    _said(text, "why", one.rationale, AGENTS["identifier"])
    if not one.attempts and one.detail:
        text.append(f"{one.detail}\n", DIM)
    for number, attempt in enumerate(one.attempts):
        _attempt(text, attempt, number, len(one.attempts), width)
    if one.attempts and one.detail and one.test is None:
        _said(text, "outcome", one.detail, colour)


def _attempt(text: Text, attempt: Attempt, number: int, total: int, width: int) -> None:
    which = f"suggestion {number + 1} of {total}" if total > 1 else "suggestion"
    _title(text, which, "bold")
    text.append(f"  {_action(attempt.moves[0][0]) if len(attempt.moves) == 1 else ''}", f"bold {AGENTS['advisor']}")
    words = f" for {attempt.moves[0][1]} step{'s' if attempt.moves[0][1] > 1 else ''}"
    text.append((words if len(attempt.moves) == 1 else attempt.short) + "\n", AGENTS["advisor"])
    _said(text, "why", attempt.rationale, AGENTS["advisor"])
    if attempt.verdict or attempt.reward is not None:
        text.append("critic " if attempt.verdict else "implicit ", AGENTS["critic"])
        text.append(attempt.verdict, f"bold {_VERDICTS.get(attempt.verdict, '')}")
        if attempt.reward is not None:
            text.append(f"{'  ' if attempt.verdict else ''}reward {attempt.reward:+.2f}")
        if attempt.taken_reward is not None:
            text.append(f", action taken {attempt.taken_reward:+.2f}", DIM)
        text.append("\n")
    _said(text, "", attempt.critique, AGENTS["critic"])
    if attempt.test is not None:
        _test(text, attempt.test, width)


def _test(text: Text, test: TestResult, width: int) -> None:
    colour = GOOD if test.passed else BAD if test.gain <= 0 else WARM
    text.append("test ", "bold")
    text.append(f"gain {test.gain:+.2f}", f"bold {colour}")
    text.append(f"  interval {test.low:+.2f} to {test.high:+.2f}\n")
    text.append_text(interval(test, min(max(width - 2, 0), 44)))
    text.append(f"\n{test.pairs} pairs: {test.better} better, {test.worse} worse", DIM)
    text.append(f"; {_STOPPED.get(test.stopped, clean(test.stopped, 30))}; {test.env_steps} steps\n", DIM)


def _said(text: Text, who: str, words: str, colour: str) -> None:
    if words:
        text.append(f"{who} " if who else "", colour)
        text.append(f"“{words}”\n", "italic")


def _around(text: Text, stretch: Stretch, step: int) -> None:
    """Where the nearest critical states are, at a step that is none."""
    if not stretch.critical:
        _title(text, "No critical state in this stretch.\n", DIM)
    else:
        _title(text, "in this stretch\n", "bold")
        for one in stretch.critical:
            sign, colour = SIGNS[one.fate]
            text.append(f"{sign} ", colour)
            text.append(f"step {one.step}", "")
            text.append(f" ({one.step - step:+d})", DIM)
            text.append(f"  {one.last.short if one.last else '-'}", AGENTS["advisor"])
            text.append(f"  {one.reason}\n", DIM)
    for note in stretch.notes:
        text.append(f"{note}\n", DIM)


def _choices(text: Text, book: Book, view: StepView, critical: Critical | None, reading: bool) -> None:
    """Before and after: what each policy does in this very state."""
    suggested = critical.last if critical is not None else None
    if not view.choices and suggested is None and not reading:
        return
    _title(text, "here, before and after\n", "bold")
    rows = [("then", view.action, "")]
    rows += [(name, action, "") for name, action in view.choices if name == "starting"]
    if suggested is not None:
        rows.append(("suggested", suggested.short, AGENTS["advisor"]))
    refined = [(name, action) for name, action in view.choices if name != "starting"]
    colours = method_colours((name for name, _ in refined), book.colours)
    rows += [(name, action, colours[name]) for name, action in refined]
    wide = max(len(name) for name, _, _ in rows)
    for name, action, colour in rows:
        text.append(f"{name.ljust(wide)}  ", colour or DIM)
        text.append(_action(action), "bold")
        if suggested is not None and name not in ("then", "suggested", "starting"):
            follows = action == suggested.moves[0][0]
            text.append("  as suggested" if follows else "", GOOD)
        text.append("\n")
    if reading:
        text.append("reading the policies …\n", DIM)
