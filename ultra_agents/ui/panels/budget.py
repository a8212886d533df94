"""Usage so far: model calls, tokens, money, environment steps by purpose; and dropped items by reason."""

from __future__ import annotations

from rich.text import Text

from ultra_agents.text import clean
from ultra_agents.ui.panels import DEFAULT_VIEW, PanelView
from ultra_agents.ui.panels.frame import Framed, framed
from ultra_agents.ui.run_state import RunState
from ultra_agents.ui.text import count, took
from ultra_agents.ui.theme import BAD, DIM, WARM

PURPOSES = (
    "collect", "effects", "tools", "search", "test", "rules", "joint", "imitate", "compare starts", "table", "refine",
    "confirm", "evaluate",
)  # fmt: skip


def budget(state: RunState, now: float, width: int, height: int, view: PanelView = DEFAULT_VIEW) -> Framed:
    """The panel "Spent"; scrolling goes down."""
    usage, rows, inner = state.usage, max(height - 2, 1), max(width - 4, 10)
    asked = usage.calls + usage.cached
    kept = f"+ {usage.cached:,}" if usage.cached else ""
    share = (f"{kept}, {usage.cached / asked:.0%} from the cache", f"{kept} cached") if kept else ()
    out = f"{count(usage.completion_tokens)} out"
    paid = (f"{out}  {money(usage.cost)} paid",) if usage.cost > 0 and rows < 8 else ()
    lines = [
        _row("calls", f"{usage.calls:,}", *share, inner=inner),
        _row("tokens", f"{count(usage.prompt_tokens)} in", *paid, out, inner=inner),
    ]
    if usage.cost > 0 and rows >= 8:
        lines.append(
            _row("money", money(usage.cost), f"{money(usage.cost / max(usage.calls, 1))} a call", inner=inner)
        )
    if rows >= 8 and usage.calls:
        lines.append(_row("waiting", took(usage.seconds), f"{took(usage.seconds / usage.calls)} a call", inner=inner))
    if state.parent and rows >= 8:
        lines.append(_row("in parent", state.inherited, inner=inner))
    spent = spent_by_purpose(state)
    if spent:
        lines.append(_row("env steps", count(sum(spent.values())), inner=inner))
        lines += _purposes(spent, inner, rows)
    if rows >= 16:
        for method, (steps, total) in state.steps.items():
            lines.append(_row(f"  {clean(method, 9)}", count(steps), f"of {count(total)}", inner=inner))
    dropped = sorted(state.drops.items(), key=lambda row: (-row[1], row[0]))
    if dropped and rows >= 8:
        lines.append(Text("not used", DIM))
    for reason, number in dropped:
        lines.append(Text.assemble((f"{number:>6} ", WARM), (clean(reason), "")))
    lines += [Text(f"! {clean(text)}", BAD) for text in reversed(tuple(dict.fromkeys(state.warnings)))]
    down = min(view.scroll, max(len(lines) - rows, 0))
    total_drops = sum(state.drops.values())
    told = f"{total_drops:,} not used" if total_drops else ""
    return framed("Spent", lines[down:], width, height, told, focused=view.focused, scrolled=down)


def spent_by_purpose(state: RunState) -> dict[str, int]:
    """Environment steps by purpose, in the order of the flow; those of refining are all methods' together."""
    refined = sum(steps for steps, _ in state.steps.values())
    found = {**state.spent, **({"refine": state.spent.get("refine", 0) + refined} if refined else {})}
    order = [name for name in PURPOSES if name in found] + [name for name in found if name not in PURPOSES]
    return {name: found[name] for name in order}


def money(cost: float) -> str:
    """An amount of money with at least two significant digits, in the currency of the configured prices."""
    return f"{cost:.2f}" if cost >= 1 else f"{cost:.2g}"


def _purposes(spent: dict[str, int], inner: int, rows: int) -> list[Text]:
    """One line for each purpose where there is room, else several to a line."""
    if rows >= 16:
        most = max(spent.values()) or 1
        wide = min(max(9, *(len(name) for name in spent)), 14)
        bars = max(min(inner - 13 - wide, 24), 0)
        return [
            Text.assemble(
                (f"  {clean(name, wide):<{wide}}", DIM),
                (f"{count(steps):>6}", "bold"),
                (f"  {'━' * max(round(bars * steps / most), 1)}" if bars and steps else "", "cyan"),
            )
            for name, steps in spent.items()
        ]
    lines = [Text()]
    for name, steps in spent.items():
        part = Text.assemble((f"  {clean(name, 14)} ", DIM), (count(steps), ""))
        if lines[-1].cell_len + part.cell_len > inner and lines[-1].cell_len:
            lines.append(Text())
        lines[-1].append_text(part)
    return lines


def _row(name: str, value: str, *more: str, inner: int) -> Text:
    """Name and value, and the first of `more` that has room beside them; the last one whatever room there is."""
    line = Text.assemble((f"{name:<11}", DIM), (value, "bold"))
    fitting = next((one for one in more if line.cell_len + 2 + len(one) <= inner), more[-1] if more else "")
    return line.append(f"  {fitting}" if fitting else "", DIM)
