"""Where the work is done: this machine, or a Ray cluster. Changes how fast a number comes, never the number."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from ultra_agents.config.models import Section


def _or_kind_alone(schema: dict[str, Any]) -> None:
    """Let the JSON schema accept the short form as well."""
    whole = dict(schema)
    schema.clear()
    schema["anyOf"] = [{"enum": whole["properties"]["kind"]["enum"]}, whole]


class ClusterConfig(Section):
    """What a run and a comparison have in common; `engine: ray` stands for `engine: {kind: ray}`."""

    model_config = ConfigDict(json_schema_extra=_or_kind_alone)

    kind: Literal["local", "ray"] = Field("local", description="processes of this machine, or a Ray cluster")
    address: str | None = Field(None, description="of a running Ray cluster; null starts one on this machine")
    cpus: float = Field(1.0, gt=0, description="cores a worker of the cluster takes (ray)")
    attempts: int = Field(3, gt=0, description="times a piece of work is begun before its workers' deaths count")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value


class RunEngineConfig(ClusterConfig):
    """Where one run explains its episodes and plays the rollouts and episodes of its tests."""

    workers: int | None = Field(None, gt=0, description="rollout workers (ray); null: as many as the cores allow")
