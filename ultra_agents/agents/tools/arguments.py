"""What each tool takes, as models are told of it and as their calls are read; everything wrong is one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ultra_agents.config.tools import ToolName
from ultra_agents.llm.structured import reply_schema
from ultra_agents.llm.tools import MAX_ARGUMENTS
from ultra_agents.text import clean, parsed_json, valid_json

MOST_CHARACTERS = 400
"""Of what is said about a call that cannot be carried out."""
_STRICT = ConfigDict(extra="forbid", frozen=True)


class ToolRefused(Exception):
    """A call that is not carried out.

    Args:
        reason: Short and countable.
        text: What the model is told, in a line.
        env_steps: Environment steps it took all the same.
    """

    def __init__(self, reason: str, text: object) -> None:
        self.reason = reason
        self.text = clean(" ".join(str(text).split()), MOST_CHARACTERS)
        super().__init__(f"{reason}: {self.text}")


class DataArguments(BaseModel):
    """Of `data`."""

    model_config = _STRICT
    expression: str = Field(description="a number or a condition; of a condition the mean is how often it holds")
    where: str = Field("", description="only steps where this condition holds; empty: all")
    by: str = Field("", description="grouped by this expression, or by `action`, what the policy did; empty: not")


class MoveArguments(BaseModel):
    """A part of a plan."""

    model_config = _STRICT
    action: str = Field(description="name of an action")
    hold: int = Field(ge=1, description="environment steps it is held")


class MovesArguments(BaseModel):
    """Of `try_moves`."""

    model_config = _STRICT
    step: int = Field(ge=0, description="step of this episode at which the moves begin")
    moves: list[MoveArguments] = Field(min_length=1, description="in order")


class RuleArguments(BaseModel):
    """Of `try_rule`."""

    model_config = _STRICT
    rule: str = Field(description="`when: CONDITION` and on the next line `do: ACTION`, or a set of rules (YAML)")
    where: str = Field("", description="only from states where this condition holds; empty: wherever the rule acts")


class EffectArguments(BaseModel):
    """Of `effect`."""

    model_config = _STRICT
    action: str = Field(description="name of an action; of a continuous one also a single part, as in hip=0.5")
    hold: int = Field(1, ge=1, le=8, description="environment steps it is held")
    where: str = Field("", description="only from states where this condition holds; empty: all over the episodes")


Arguments: TypeAlias = DataArguments | MovesArguments | RuleArguments | EffectArguments
ARGUMENTS: dict[ToolName, type[Arguments]] = {
    "data": DataArguments, "effect": EffectArguments, "try_moves": MovesArguments, "try_rule": RuleArguments,
}  # fmt: skip
DOES: dict[ToolName, str] = {
    "data": "Numbers over all steps of the collected episodes: count, mean and quantiles of an expression. Costs no "
    "environment steps.",
    "effect": "What an action does to every quantity, measured from stored states of the episodes: in place of the "
    "policy's action, and against doing nothing where an action does that.",
    "try_moves": "From a step of this episode, play moves and then the policy, beside the policy alone with the "
    "same random numbers: the gain, how often it was better, and how both ended.",
    "try_rule": "Play with a rule in force over the policy, from stored states where it acts otherwise than the "
    "policy, beside the policy alone: the gain, how often it was better, and how both ended.",
}  # fmt: skip


def tools_of(names: Sequence[ToolName]) -> tuple[dict[str, Any], ...]:
    """The tools as a model is offered them."""
    return tuple(
        {"name": name, "description": DOES[name], "parameters": _schema(ARGUMENTS[name])} for name in TOOL_ORDER
        if name in names
    )  # fmt: skip


TOOL_ORDER: tuple[ToolName, ...] = ("data", "effect", "try_moves", "try_rule")


def _schema(arguments: type[Arguments]) -> dict[str, Any]:
    schema = reply_schema(arguments)
    schema.pop("description", None)
    return schema


def read_arguments(name: str, text: str, names: Sequence[ToolName]) -> Arguments:
    """The arguments of a call.

    Raises:
        ToolRefused: There is no such tool, or they cannot be read.
    """
    known = next((one for one in names if one == name), None)
    if known is None:
        raise ToolRefused("unknown tool", f"There is no tool {name!r}; there are: {', '.join(names)}.")
    try:
        value = valid_json(parsed_json(text))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        shown = text if len(text) <= 80 else f"{text[:40]} ... {text[-30:]}"
        raise ToolRefused(
            "arguments not readable",
            f"The arguments of {name} are no JSON object of at most {MAX_ARGUMENTS:,} characters: {shown!a}.",
        )
    try:
        return ARGUMENTS[known].model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "arguments"
        raise ToolRefused("arguments not usable", f"The arguments of {name}: {place}: {first['msg']}.") from None
