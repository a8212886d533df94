"""`ultra events`: what `--json` prints and `events.jsonl` holds, as a JSON schema."""

from __future__ import annotations


def events() -> None:
    """Print the JSON schema of events: each line of `--json` (run, resume, watch, compare) and of `events.jsonl`."""
    import json

    from ultra_agents.events import schema

    print(json.dumps(schema(), indent=1))
