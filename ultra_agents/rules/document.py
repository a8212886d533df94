"""What a file of rules holds, as pydantic models: constants, lets, rules, and a potential or a reward."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ultra_agents.contracts.quantities import WORD
from ultra_agents.option_errors import expected_words
from ultra_agents.rules.errors import RULES, RuleError, closest, label
from ultra_agents.yaml_text import Path, Place, YamlError, quoted, read_yaml, write_yaml

MAX_RULES = 40
MAX_LETS = 60
MAX_CONSTANTS = 32
MAX_WHY = 1000
"""Characters of a rule's reason."""


def _text(value: object) -> object:
    """One expression as text; numbers may be given as such."""
    if value is None:
        raise ValueError("an expression is empty (one that has a comma is quoted, or has a line of its own)")
    if isinstance(value, bool | int | float | str):
        return str(value)
    raise ValueError("one expression is needed, not a list or a mapping (quote it if it has brackets or commas)")


def _condition(value: object) -> object:
    """An expression; YAML's own words for truth are the language's."""
    text = _text(value)
    return {"true": "True", "false": "False"}.get(text, text) if isinstance(text, str) else text


def _choice(value: object) -> object:
    """An expression, or one for each component."""
    if isinstance(value, Mapping):
        if not value:
            raise ValueError("no component is named")
        strange = next((key for key in value if not WORD.fullmatch(str(key))), None)
        if strange is not None:
            raise ValueError(f"{strange!a} is no component's name (an expression that has a comma is quoted)")
        return {str(key): _text(one) for key, one in value.items()}
    return _text(value)


def _one_line(value: object) -> object:
    """Printable text in one line, fit for a terminal and a report."""
    if not isinstance(value, str):
        return value
    return " ".join("".join(one if one.isprintable() else " " for one in value).split())


def _range(value: object) -> object:
    """`[value, low, high]`."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError("a constant is a list [value, low, high]")
    try:
        if any(isinstance(one, bool) for one in value):
            raise ValueError
        at, low, high = (float(one) for one in value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a constant is a list of three numbers: [value, low, high]") from None
    if not all(math.isfinite(one) for one in (at, low, high)):
        raise ValueError("a constant's numbers are finite")
    if not low <= at <= high:
        raise ValueError(f"a constant lies within its bounds: {at:g} is not within [{low:g}, {high:g}]")
    return (at, low, high)


Expression = Annotated[str, BeforeValidator(_text)]
Choice = Annotated[dict[str, str] | str, BeforeValidator(_choice)]
Constant = Annotated[tuple[float, float, float], BeforeValidator(_range)]
"""Value, least and greatest value."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, data: object) -> object:
        """An empty key that is known counts as left out."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


class Rule(_Part):
    """What to do where a condition holds."""

    when: Annotated[str, BeforeValidator(_condition)]
    do: Choice
    why: Annotated[str, BeforeValidator(_one_line)] = Field("", max_length=MAX_WHY)


class Document(_Part):
    """A set of rules as it is written."""

    version: int = Field(1, ge=1, le=1)
    constants: dict[str, Constant] = Field(default_factory=dict, max_length=MAX_CONSTANTS)
    let: dict[str, Expression] = Field(default_factory=dict, max_length=MAX_LETS)
    rules: tuple[Rule, ...] = Field((), max_length=MAX_RULES)
    potential: Expression | None = None
    reward: Expression | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Document:
        if self.potential is not None and self.reward is not None:
            raise ValueError("there is a potential or a reward, not both")
        if not self.rules and self.potential is None and self.reward is None:
            raise ValueError("there are no rules, no potential and no reward")
        return self

    def to_yaml(self) -> str:
        """The YAML text of this document; reading it gives an equal one."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return write_yaml({"version": self.version, **data}, width=math.inf)


def read_document(text: str, whose: str) -> tuple[Document, dict[Path, Place]]:
    """A YAML text as a document, and where each piece of it stands.

    Raises:
        RuleError: It is no YAML, or a key is missing, unknown or of the wrong shape.
    """
    data, places = read_yaml(text, whose, RULES)
    if not isinstance(data, dict):
        raise RuleError(
            f"{label((), whose)}: there is no mapping", found=quoted(text.strip()), expected="version, let, rules, ..."
        )
    try:
        return Document.model_validate(data), places
    except ValidationError as error:
        raise _refusal(error, data, places, whose) from None


def _refusal(error: ValidationError, data: Any, places: Mapping[Path, Place], whose: str) -> YamlError:
    """The first complaint of pydantic, unknown keys before all others: where a key is misspelt, one is missing too."""
    complaints = error.errors(include_url=False)
    first = next((one for one in complaints if one["type"] == "extra_forbidden"), complaints[0])
    path = first["loc"]
    while path and path not in places:  # a missing key has no place of its own
        path = path[:-1]
    place = places[path] if path in places and path else Place(label(path, whose), RuleError)
    if first["type"] == "extra_forbidden":
        model = Rule if len(path) == 3 else Document
        hint = closest(str(path[-1]), model.model_fields)
        if any(sign in str(path[-1]) for sign in "() +-*/"):
            hint = "quote an expression that has a comma, or give it a line of its own"
        return place.refusal("this key is not known", str(path[-1]), expected=", ".join(model.model_fields), hint=hint)
    if first["type"] == "missing":
        return place.refusal(f"the key {first['loc'][-1]!r} is missing", expected="when and do")
    found = first.get("input")
    shown = str(found) if isinstance(found, str | int | float | list) else None
    return place.refusal(expected_words(first), shown)
