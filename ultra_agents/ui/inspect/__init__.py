"""`ultra inspect`: the episodes of a run, step by step, with what was said about them and what the simulator found.

Built on Textual rather than on Rich alone: browsing needs a list that scrolls and answers the mouse, modal screens
(search, help, the conversation), a text field, focus and resizing; Rich draws but has no input. The live display of a
run keeps Rich: there nothing is browsed.

`run_view` is what is shown, as records; `app` shows it; `plain` prints the same without a terminal. Nothing here reads
a file: `ultra_agents.cli.inspect` does and hands over a `RunView` and a `StepSource`.
"""
