"""Where there is room for more: what the agents said about this step, or what happens next, in words."""

from __future__ import annotations

from rich.text import Text

from ultra_agents.text import clean
from ultra_agents.ui.inspect.run_view import RunView, StepSource, StepView
from ultra_agents.ui.text import prose, wrap
from ultra_agents.ui.theme import DIM, agent_colour


def around(run: RunView, source: StepSource, view: StepView, width: int, height: int) -> tuple[str, Text]:
    """A title and at most `height` lines of `width` cells."""
    explanation = run.explanation_at(view.episode, view.step)
    said = source.conversation(explanation.segment.name) if explanation is not None else ()
    about = [one for one in said if one.step == view.step]
    if not about:
        return "What happens next", _next(run, source, view, width, height)
    lines: list[Text] = []
    for one in about:
        head = Text.assemble((one.agent, f"bold {agent_colour(one.agent)}"), (f"  {one.model}", DIM))
        head.append(f"  {one.verdict}", "green" if one.verdict == "ok" else "red")
        head.append(f"  {one.spent}", DIM)
        lines.append(head)
        lines += [Text(f"  {line}") for line in wrap(clean(prose(one.reply)), width - 2, 6)]
        lines.append(Text())
    cut = len(lines) > height
    text = Text("\n", no_wrap=True).join(lines[: height - 1 if cut else height])
    if cut:
        text.append("\nt: the rest", DIM)
    return "Agents on this step", text


def _next(run: RunView, source: StepSource, view: StepView, width: int, height: int) -> Text:
    lines: list[Text] = []
    for step in range(view.step + 1, len(run.episode(view.episode))):
        if len(lines) >= height:
            break
        later = source.step(view.episode, step)
        number = f"{step:>5} "
        wrapped = wrap(later.words, max(width - len(number) - 2, 10), 2)
        for index, line in enumerate(wrapped):
            lines.append(Text.assemble((number if index == 0 else " " * len(number), "bold"), line))
        if lines:
            lines[-1].append(f"  {later.action}", "cyan")
        if later.reward:
            lines[-1].append(f"  {later.reward:+.2f}", "green" if later.reward > 0 else "red")
    return Text("\n", no_wrap=True).join(lines[:height])
