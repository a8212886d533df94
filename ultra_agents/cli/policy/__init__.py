"""`ultra policy`: import, export and score policies."""
