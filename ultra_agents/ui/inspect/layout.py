"""How the browser is laid out, and which key does what."""

from __future__ import annotations

from textual.binding import Binding, BindingType

CSS = """
Screen { layers: base over; background: ansi_default; color: ansi_default; }
#head, #foot { height: 1; }
#body { height: 1fr; }
#list { text-wrap: nowrap; text-overflow: ellipsis; width: 36; height: 1fr;
        border: round ansi_bright_black; padding: 0; scrollbar-size-vertical: 1;
        background: ansi_default; }
#list > .option-list--option-highlighted { background: ansi_blue; color: ansi_bright_white; text-style: bold; }
#scene { width: 2fr; height: 1fr; border: round ansi_bright_black; content-align: center top; }
#right { width: 3fr; height: 1fr; }
#more { display: none; height: 1fr; border: round ansi_bright_black; padding: 0 1; }
.roomy #more { display: block; }
#scroll { width: 1fr; height: 1fr; border: round ansi_bright_black; padding: 0 1; scrollbar-size-vertical: 1; }
#details { height: auto; padding: 0 1 0 0; }
#tiny { display: none; height: 1fr; }
.mono #list > .option-list--option-highlighted { text-style: reverse; }
.narrow #list { display: none; }
.narrow.listing #list { display: block; width: 1fr; }
.narrow.listing #scene { display: none; }
.wide.unlisted #list { display: none; }
.tiny #tiny { display: block; }
.tiny #body, .tiny #time, .tiny #head, .tiny #foot { display: none; }
"""
BINDINGS: list[BindingType] = [
    Binding("right", "move(1)"),
    Binding("left", "move(-1)"),
    Binding("shift+right,L", "move(10)"),
    Binding("shift+left,H", "move(-10)"),
    Binding("home", "edge(-1)"),
    Binding("end", "edge(1)"),
    Binding("n", "critical(1)"),
    Binding("p,N", "critical(-1)"),
    Binding("a", "accepted(1)"),
    Binding("A", "accepted(-1)"),
    Binding("down", "row(1)"),
    Binding("up", "row(-1)"),
    Binding("right_square_bracket", "segment(1)"),
    Binding("left_square_bracket", "segment(-1)"),
    Binding("f", "filter"),
    Binding("t", "conversation"),
    Binding("m", "advise"),
    Binding("slash", "search"),
    Binding("space", "play"),
    Binding("z", "zoom"),
    Binding("l", "list"),
    Binding("pagedown,j", "scroll(1)"),
    Binding("pageup,k", "scroll(-1)"),
    Binding("question_mark,f1", "help"),
    Binding("r", "reread"),
    Binding("q,escape", "leave"),
]
