"""What is known of one step, as text: the state, its case, the tests, and what each policy does there."""

from __future__ import annotations

from rich.text import Text

from ultra_agents.records import (
    Attempt,
    CriticalState,
    Critique,
    Explanation,
    JointVerdict,
    Searched,
    TestResult,
)
from ultra_agents.text import clean, counted
from ultra_agents.ui.inspect.glyphs import SIGNS, arrow, interval, short
from ultra_agents.ui.inspect.plain import note_text
from ultra_agents.ui.inspect.run_view import RulesView, RunView, StepView, deciding_attempt
from ultra_agents.ui.text import score
from ultra_agents.ui.theme import AGENTS, BAD, DIM, GOOD, WARM, method_colours

STOPPED = {
    "good": "surely better",
    "bad": "surely worse",
    "hopeless": "no gain in sight",
    "pairs": "all pairs used, undecided",
    "steps": "step budget used, undecided",
    "outdone": "another did better, undecided",
}
_VERDICTS = {"accept": GOOD, "revise": WARM, "reject": BAD}


def details(run: RunView, view: StepView, width: int, reading: bool = False) -> Text:
    """All lines about a step; `reading`: the policies are still being read."""
    episode = run.episode(view.episode)
    explanation, critical = run.explanation_at(view.episode, view.step), run.critical_at(view.episode, view.step)
    text = Text()
    text.append(f"Step {view.step}", "bold")
    text.append(f" of {len(episode) - 1} · episode {view.episode}", DIM)
    if explanation is not None:
        text.append(f" · {clean(explanation.segment.kind, 40)}", DIM)
    text.append(f"\n{view.words}\n")
    text.append("policy did ", DIM)
    text.append(_action(view.action), "bold")
    text.append("   reward ", DIM)
    text.append(f"{view.reward:+.2f}" if view.reward else "0", GOOD if view.reward > 0 else BAD if view.reward else "")
    text.append("   value ", DIM)
    text.append(f"{score(view.value)}\n")
    if run.rules is not None and run.rules.acts:
        _acting(text, run.rules, view)
    for one in run.cases_at(view.episode, view.step):
        _case(text, one.state, width, run.has_critic and not one.by_person, one.by_person)
    if critical is None and explanation is not None:
        _nearby(text, explanation, view.step)
    _choices(text, run, view, critical, reading)
    if critical is None and explanation is None and run.explanations:
        text.append("\nNot in a segment the agents were shown. n: next critical state\n", DIM)
    return text


def _acting(text: Text, rules: RulesView, view: StepView) -> None:
    """Who acts here with the rules in force: the policy or a rule, and why."""
    rule = rules.at(view.episode, view.step)
    text.append("with the rules ", DIM)
    if rule is None:
        text.append("the policy", "bold")
        text.append(": no rule covers this state\n", DIM)
        return
    text.append(f"rule {rule.number}", f"bold {AGENTS['advisor']}")
    text.append(f" {_action(view.ruled)}", AGENTS["advisor"])
    text.append("  as the policy did" if view.ruled == view.action else "", DIM)
    text.append("\n")
    text.append(f"when {rule.when}\n", DIM)
    _said(text, "why", rule.why, AGENTS["advisor"])


def _action(name: str) -> str:
    sign = arrow(name)
    return f"{sign} {name}" if sign else name


def _title(text: Text, title: str, style: str) -> None:
    text.append("\n")
    text.append(title, style)


def _case(text: Text, state: CriticalState, width: int, has_critic: bool, by_person: bool) -> None:
    sign, colour = SIGNS[state.fate]
    what = "a person's advice" if by_person else "critical"
    _title(text, f"◆ {what}, {state.fate} {sign}", f"bold {colour}")
    if state.reason:
        text.append(f"  {state.reason}", colour)
    if not by_person:
        text.append(f"\nimportance {state.importance:.2f}", DIM)
        if state.agreement < 1:
            text.append(f", named by {state.agreement:.0%} of the panel", DIM)
        text.append("\n")
        _said(text, "why", state.rationale, AGENTS["identifier"])
    else:
        text.append("\n")
    if not state.attempts and state.detail:
        text.append(f"{state.detail}\n", DIM)
    for number, attempt in enumerate(state.attempts, 1):
        which = "suggestion" if len(state.attempts) == 1 else f"suggestion {number} of {len(state.attempts)}"
        used = len(state.attempts) > 1 and attempt is state.chosen
        _attempt(text, attempt, f"{which}, used" if used else which, width, has_critic)
    if state.joint is not None:
        _joint(text, state.joint)
    if state.attempts and state.detail and not any(attempt.test for attempt in state.attempts):
        _said(text, "outcome", state.detail, colour)


def _attempt(text: Text, attempt: Attempt, title: str, width: int, has_critic: bool) -> None:
    _title(text, title, "bold")
    action, hold = attempt.plan.moves[0]
    single = len(attempt.plan.moves) == 1
    text.append(f"  {_action(action) if single else ''}", f"bold {AGENTS['advisor']}")
    words = f" for {counted(hold, 'step')}" if single else short(attempt.plan)
    text.append(f"{words}\n", AGENTS["advisor"])
    _said(text, "why", attempt.rationale, AGENTS["advisor"])
    if attempt.search is not None:
        _search(text, attempt.search)
    if attempt.critique is not None:
        _critique(text, attempt.critique, "critic " if has_critic else "")
    if attempt.test is not None:
        _test(text, attempt.test, width)
    if attempt.reflection is not None:
        _critique(text, attempt.reflection, "critic again " if has_critic else "")


def _search(text: Text, search: Searched) -> None:
    """What was written, and what the simulator's search made of it."""
    if search.toward is not None:
        text.append("goal ", "bold")
        text.append(f"{search.toward.goal}", AGENTS["advisor"])
        text.append(f"  {search.toward.words}\n", GOOD if search.toward.reached else DIM)
    text.append("search ", "bold")
    if search.written is not None:
        text.append(f"{short(search.written)} as written, " if search.changed else "as written, ", DIM)
    if search.gain is None:
        text.append(f"{search.reason}\n", WARM)
        return
    text.append(f"{search.gain:+.2f} there", DIM)
    text.append(f", best of {counted(search.tried, 'plan')}; {counted(search.env_steps, 'step')}", DIM)
    text.append(f"; {search.reason}\n" if search.reason else "\n", WARM)


def _critique(text: Text, critique: Critique, who: str) -> None:
    """A reading of the critic; without `who` only the implicit rewards, which a control sets itself."""
    text.append(who or "implicit ", AGENTS["critic"])
    if who:
        text.append(f"{critique.verdict}  ", f"bold {_VERDICTS[critique.verdict]}")
    text.append(f"reward {critique.reward:+.2f}")
    text.append(f", action taken {critique.taken_reward:+.2f}\n", DIM)
    _said(text, "", critique.rationale, AGENTS["critic"])


def _test(text: Text, test: TestResult, width: int) -> None:
    colour = GOOD if test.passed else BAD if test.gain <= 0 else WARM
    text.append("test ", "bold")
    text.append(f"gain {test.gain:+.2f}", f"bold {colour}")
    text.append(f"  interval {test.low:+.2f} to {test.high:+.2f}\n")
    text.append_text(interval(test, min(max(width - 2, 0), 44)))
    text.append(f"\n{counted(test.pairs, 'pair')}: {test.better} better, {test.worse} worse", DIM)
    text.append(f"; {STOPPED.get(test.stopped, clean(test.stopped, 30))}; {counted(test.env_steps, 'step')}\n", DIM)


def _joint(text: Text, joint: JointVerdict) -> None:
    """The test of the whole set this case was in; a set may be used without having been found better."""
    word = joint.verdict
    colour = {"holds": GOOD, "loses": BAD}.get(word, WARM)
    _title(text, "tested together: ", "bold")
    if not joint.pairs:
        text.append("no budget for a single pair\n", WARM)
        return
    text.append(word, f"bold {colour}")
    text.append(f"  {joint.gain:+.2f} per episode, interval {joint.low:+.2f} to {joint.high:+.2f}")
    text.append(f", {counted(joint.pairs, 'pair')}\n", DIM)


def _said(text: Text, who: str, words: str, colour: str) -> None:
    if words:
        text.append(f"{who} " if who else "", colour)
        text.append(f"“{words}”\n", "italic")


def _nearby(text: Text, explanation: Explanation, step: int) -> None:
    """Where the nearest critical states are, at a step that is none."""
    if not explanation.states:
        _title(text, "No critical state in this segment.\n", DIM)
    else:
        _title(text, "in this segment\n", "bold")
        for state in explanation.states:
            sign, colour = SIGNS[state.fate]
            attempt = deciding_attempt(state)
            text.append(f"{sign} ", colour)
            text.append(f"step {state.step}", "")
            text.append(f" ({state.step - step:+d})", DIM)
            text.append(f"  {short(attempt.plan) if attempt else '-'}", AGENTS["advisor"])
            text.append(f"  {state.reason}\n", DIM)
    for note in explanation.notes:
        text.append(f"{note_text(note)}\n", DIM)


def _choices(text: Text, run: RunView, view: StepView, critical: CriticalState | None, reading: bool) -> None:
    """Before and after: what each policy does in this very state."""
    suggested = deciding_attempt(critical) if critical is not None else None
    if not view.choices and suggested is None and not reading:
        return
    _title(text, "here, before and after\n", "bold")
    rows = [("then", view.action, "")]
    rows += [(name, action, "") for name, action in view.choices if name == "starting"]
    if suggested is not None:
        rows.append(("suggested", short(suggested.plan), AGENTS["advisor"]))
    refined = [(name, action) for name, action in view.choices if name != "starting"]
    colours = method_colours((name for name, _ in refined), run.colours)
    rows += [(name, action, colours[name]) for name, action in refined]
    wide = max(len(name) for name, _, _ in rows)
    for name, action, colour in rows:
        text.append(f"{name.ljust(wide)}  ", colour or DIM)
        text.append(_action(action), "bold")
        if suggested is not None and name not in ("then", "suggested", "starting"):
            follows = action == suggested.plan.moves[0][0]
            text.append("  as suggested" if follows else "", GOOD)
        text.append("\n")
    if reading:
        text.append("reading the policies …\n", DIM)
