"""How the wizard is laid out."""

from __future__ import annotations

CSS = """
Screen { background: ansi_default; color: ansi_default; }
#head, #keys, #problem { height: 1; }
#problem { color: ansi_red; padding: 0 1; }
#body { height: 1fr; }
#pages { width: 1fr; height: 1fr; border: round ansi_bright_black; padding: 0 1; }
#pages > * { height: 1fr; overflow-y: auto; scrollbar-size-vertical: 1; }
#side { width: 1fr; height: 1fr; border: round ansi_bright_black; padding: 0 1; scrollbar-size-vertical: 1; }
#said { height: auto; }
.narrow #body { layout: vertical; }
.narrow #pages, .narrow #side { width: 1fr; }
OptionList { border: none; height: auto; max-height: 100%; background: ansi_default; padding: 0;
                            scrollbar-size-vertical: 1; margin-bottom: 1; }
OptionList > .option-list--option-highlighted { text-style: bold; background: ansi_default; color: ansi_default; }
OptionList:focus > .option-list--option-highlighted { background: ansi_blue; color: ansi_bright_white; }
.mono OptionList:focus > .option-list--option-highlighted { text-style: reverse; }
.field { height: 2; margin-bottom: 1; }
.short .field { margin-bottom: 0; }
.short.narrow OptionList { max-height: 7; margin-bottom: 0; }
.field Static { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
.field Input { height: 1; border: none; border-left: outer ansi_bright_black; background: ansi_default;
               color: ansi_default; padding: 0 0 0 1; margin-left: 1; }
.field Input:focus { border-left: outer ansi_cyan; }
#tiny { display: none; }
.tiny #tiny { display: block; }
.tiny #head, .tiny #body, .tiny #keys, .tiny #problem { display: none; }
"""
