"""`ultra` alone: a few questions that end in a configuration file, and in a run if one likes.

Textual for the same reasons as `ultra_agents.ui.inspect`: lists, text fields, focus, the mouse, going back and forth.
What exists, what a model can do, what a run costs, and the file itself come from a `Facts` object that
`ultra_agents.cli.wizard.command` makes; nothing here knows a plugin or writes a file.
"""
