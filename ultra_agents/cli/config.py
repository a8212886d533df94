"""`ultra config`: what a configuration file may hold, as JSON schema."""

from __future__ import annotations

from typing import Annotated

import typer


def config_schema(
    experiment: Annotated[
        bool, typer.Option("--experiment", help="Of the file that [bold]ultra compare[/bold] reads.")
    ] = False,
) -> None:
    """Print the JSON schema of a run's configuration, descriptions and defaults included.

    Editors complete and check a file that begins with [bold]# yaml-language-server: $schema=FILE[/bold].
    """
    import json

    from ultra_agents.config import Config
    from ultra_agents.experiments import Experiment

    schema = (Experiment if experiment else Config).model_json_schema()
    print(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1))
