"""Which methods are compared, with which options, and what the registered ones say of themselves.

`methods` holds the names; the options of a method are `method_options: {NAME: {...}}`, except for the built-in ones
with a section of their own: `rice`, `statemask`, `jsrl`. Each is checked by the method's own model, which is loaded
from its plugin when a configuration is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, SerializeAsAny
from pydantic import ValidationError as Invalid
from pydantic_core import CoreSchema, core_schema

from ultra_agents.contracts import Method, Options
from ultra_agents.errors import ConfigError, PluginError, did_you_mean
from ultra_agents.option_errors import options_error
from ultra_agents.records import Variant
from ultra_agents.registry import OURS, catalogue, find

SECTIONS = {"rice": "rice", "statemask": "statemask-r", "jsrl": "jsrl"}
"""Sections of a configuration that hold the options of one built-in method, and which."""
_FREE = 4
"""The first place of the palettes given to methods that claim none; the palettes start over where they end."""


def method_names() -> tuple[str, ...]:
    """Names of all registered methods, in alphabetical order; nothing is imported."""
    return tuple(dict.fromkeys(row.name for row in catalogue() if row.kind == "method"))


def method_class(name: str) -> type[Method] | None:
    """The class registered as `name` (or `distribution:name`); None where there is none.

    Raises:
        PluginError: It fails to load, or two distributions claim the name.
    """
    if name.rpartition(":")[2] not in method_names():
        return None
    cls: type[Method] = find("method", name).load()
    return cls


def usable_methods() -> dict[str, type[Method]]:
    """Every registered method that loads, by name: those that use advice most first, then the baseline, the rest."""
    found = {}
    for name in method_names():
        try:
            cls = method_class(name)
        except PluginError:
            continue
        if cls is not None:
            found[name] = cls
    return dict(sorted(found.items(), key=lambda row: (-len(row[1].advice or ""), not row[1].baseline, row[0])))


def variant_of(method: str) -> Variant | None:
    """What a method does with advice: `ultra-ra` -> `ra`; None for one that uses none."""
    cls = method_class(method)
    return None if cls is None else cls.advice


def follows_actions(method: str) -> bool:
    """Whether a method acts on suggested actions, not on rewards alone."""
    return "a" in (variant_of(method) or "")


def trains(method: str) -> bool:
    """Whether a method spends its budget; the others evaluate the starting policy."""
    cls = method_class(method)
    return cls is None or cls.trains


def baseline_of(methods: Iterable[str]) -> str | None:
    """The first of some methods that others are held against; None if there is none."""
    return next((name for name in methods if (cls := method_class(name)) is not None and cls.baseline), None)


def default_baseline() -> str:
    """The built-in baseline, for sentences about runs that lack one."""
    ours = (row for row in catalogue() if row.kind == "method" and row.distribution == OURS)
    return next(row.name for row in ours if row.load().baseline)


def colours_of(methods: Iterable[str]) -> dict[str, int]:
    """Places in the palettes: those that methods claim, first come first served; the free ones from `_FREE` on."""
    found: dict[str, int] = {}
    free = _FREE
    for name in methods:
        cls = method_class(name)
        wish = None if cls is None else cls.colour
        if wish is None or wish in found.values():
            wish, free = free, free + 1
        found[name] = wish
    return found


def options_model(name: str) -> type[Options]:
    """The model of a method's options; raises `PluginError` as `registry.find` does."""
    model: type[Options] = find("method", name).load().Options
    return model


def _parsed(name: str, place: str, value: Any) -> Options:
    """The options of one method, checked by its own model; `place` is where they are in the configuration."""
    if isinstance(value, Options):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{place} holds no mapping of options", found=repr(value), expected=f"{place}: {{key: value}}"
        )
    model = options_model(name)
    try:
        return model(**value)
    except Invalid as error:
        raise options_error("the configuration", error, model, place) from error


@dataclass(frozen=True)
class _OptionsOf:
    """Annotation of a section that holds the options of a built-in method."""

    section: str

    @property
    def method(self) -> str:
        return f"{OURS}:{SECTIONS[self.section]}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: _parsed(self.method, self.section, value), handler(source)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(options_model(self.method).__pydantic_core_schema__)

    def default(self) -> Options:
        return options_model(self.method)()


RICE, STATEMASK, JSRL = map(_OptionsOf, SECTIONS)
RiceSection: TypeAlias = Annotated[SerializeAsAny[Options], RICE]
StateMaskSection: TypeAlias = Annotated[SerializeAsAny[Options], STATEMASK]
JsrlSection: TypeAlias = Annotated[SerializeAsAny[Options], JSRL]


def _by_method(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(
            "method_options holds no mapping", found=repr(value), expected="method_options: {NAME: {...}}"
        )
    made = {}
    for name, options in value.items():
        _known(name, "method_options")
        section = next((key for key, method in SECTIONS.items() if find("method", name) == _ours(method)), None)
        if section is not None:
            raise ConfigError(f"the options of {name!r} have a section of their own", hint=f"set them under {section}")
        made[name] = _parsed(name, f"method_options.{name}", options)
    return made


def _ours(method: str) -> Any:
    return find("method", f"{OURS}:{method}")


MethodOptions: TypeAlias = Annotated[dict[str, SerializeAsAny[Options]], BeforeValidator(_by_method)]


def _known(name: str, place: str) -> None:
    names = method_names()
    if name.rpartition(":")[2] not in names:
        raise ConfigError(
            f"{place} names {name!r}, which is no method",
            expected=f"some of: {', '.join(names)}",
            hint=did_you_mean(name, names),
        )
    find("method", name)


def _all_known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        _known(name, "methods")
    if len({find("method", name) for name in names}) != len(names):
        raise ConfigError("methods names one method twice", found=", ".join(names))
    return names


MethodNames: TypeAlias = Annotated[tuple[str, ...], AfterValidator(_all_known)]
