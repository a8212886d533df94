"""Pydantic's complaints about what a person wrote, as one message of ours: found, expected, what to do."""

from __future__ import annotations

import re
from string import Formatter
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ultra_agents.errors import ConfigError, did_you_mean

PATTERNS = {"^[A-Za-z0-9._-]+$": "letters of a to z, digits, dots, hyphens and underscores"}
"""What patterns of the configuration ask for."""
_TEXT = "text, in quotes where YAML would read something else"
_WHOLE, _NUMBER, _SECTION = "a whole number", "a number", "settings of its own: {{key: value}}"
_LEAST, _MOST = (
    "at least {min_length} of them",
    "at most {max_length} of them",
)
WORDS = {
    "int_type": _WHOLE, "int_parsing": _WHOLE, "int_from_float": _WHOLE, "int_parsing_size": _WHOLE,
    "float_type": _NUMBER, "float_parsing": _NUMBER, "finite_number": "a finite number",
    "bool_type": "true or false", "bool_parsing": "true or false", "string_type": _TEXT, "path_type": _TEXT,
    "greater_than": "more than {gt:g}", "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}", "less_than_equal": "at most {le:g}",
    "string_too_short": "at least {min_length} characters", "string_too_long": "at most {max_length} characters",
    "too_short": _LEAST, "too_long": _MOST, "literal_error": "one of: {expected}",
    "list_type": "a list: [one, two]", "tuple_type": "a list: [one, two]",
    "model_type": _SECTION, "model_attributes_type": _SECTION, "dict_type": _SECTION, "mapping_type": _SECTION,
    "dataclass_type": _SECTION,
}  # fmt: skip
"""What is expected, by pydantic's name of the complaint; in braces what the complaint tells."""


def options_error(whose: str, error: ValidationError, model: type[Any], place: str = "") -> ConfigError:
    """A pydantic complaint about user-written options as one message: a key nobody knows, or the first problem.

    Args:
        whose: What is wrong, for the message.
        error: The complaint.
        model: What the options were checked by.
        place: Where the options are in what the user wrote (`rice`), put before the keys.
    """
    errors = error.errors()
    unknown = [one for one in errors if one["type"] == "extra_forbidden"]
    first = (unknown or errors)[0]  # where a required key is misspelt, both are wrong
    where = ".".join(str(part) for part in (*([place] if place else []), *first["loc"]))
    if first["type"] == "extra_forbidden":
        parent: Any = model
        for part in first["loc"][:-1]:
            parent = _below(parent, str(part))
        parent = _model_of(parent)
        known = list(getattr(parent, "model_fields", {}))
        return ConfigError(
            f"{whose} has no key {where!r}",
            expected=f"one of: {', '.join(known)}" if known else None,
            hint=did_you_mean(str(first["loc"][-1]), known),
        )
    if first["type"] == "missing":
        return ConfigError(f"{whose} lacks the key {where!r}", expected=f"{where}: VALUE")
    known = re.findall(r"'([^']+)'", first["ctx"]["expected"]) if first["type"] == "literal_error" else []
    return ConfigError(
        f"{whose}: {where or 'options'} is not usable",
        found=repr(first.get("input")),
        expected=expected_words(first),
        hint=did_you_mean(str(first.get("input")), known),
    )


def expected_words(complaint: ErrorDetails) -> str:
    """What one of pydantic's complaints asks for, in plain words."""
    kind, told = complaint["type"], complaint.get("ctx", {})
    if kind == "string_pattern_mismatch" and told["pattern"] in PATTERNS:
        return PATTERNS[told["pattern"]]
    if kind in WORDS and all(field in told for _, field, _, _ in Formatter().parse(WORDS[kind]) if field):
        return WORDS[kind].format(**told)
    return complaint["msg"].removeprefix("Value error, ").removeprefix("Input should be ")


def _below(annotation: Any, key: str) -> Any:
    """The annotation of what lies at `key` in a value annotated so; any key of a mapping or a list will do."""
    if hasattr(annotation, "model_fields"):
        field = annotation.model_fields.get(key)
        return None if field is None else field.annotation
    parts: tuple[Any, ...] = getattr(annotation, "__args__", ())
    if isinstance(getattr(annotation, "__origin__", None), type):  # dict[str, Model], list[Model]
        return next((part for part in reversed(parts) if part is not Ellipsis), None)
    return next((found for part in parts if (found := _below(part, key)) is not None), None)  # Model | None


def _model_of(annotation: Any) -> Any:
    """The pydantic model inside an annotation such as `list[Model]`, `dict[str, Model]` or `Model | None`."""
    if hasattr(annotation, "model_fields"):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        inner = _model_of(part)
        if inner is not None:
            return inner
    return None
