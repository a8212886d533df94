"""Plugins from entry points: a catalogue without importing them, then one class at a time.

Built-ins are registered in `pyproject.toml` in the same groups as anybody's plugin and nowhere else. A name claimed by
two distributions is an error that names both; `distribution:name` chooses.

A plugin may take one option after its name: `name:value`, `distribution:name:value` (`gymnasium:CartPole-v1`). The
rule: the longest beginning that names a plugin is the plugin, whatever follows its colon is the value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from ultra_agents.contracts import CONTRACT_VERSION, LLM, Algorithm, Environment, Method, PolicyFormat
from ultra_agents.errors import ConfigError, PluginError, did_you_mean
from ultra_agents.option_errors import options_error
from ultra_agents.text import clean

Kind: TypeAlias = Literal["environment", "algorithm", "llm", "format", "method"]

OURS = "ultra-agents"
"""The distribution that registers the built-in plugins."""
GROUPS: dict[Kind, str] = {
    "environment": "ultra_agents.environments",
    "algorithm": "ultra_agents.algorithms",
    "llm": "ultra_agents.llms",
    "format": "ultra_agents.formats",
    "method": "ultra_agents.methods",
}
BASES: dict[Kind, type] = {
    "environment": Environment, "algorithm": Algorithm, "llm": LLM, "format": PolicyFormat, "method": Method,
}  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """One registered plugin, not imported yet.

    Attributes:
        kind: `environment`, `algorithm`, `llm`, `format` or `method`.
        name: Name used in configuration.
        distribution: The installed distribution that registers it.
        version: That distribution's version.
        target: `module:Class`.
    """

    kind: Kind
    name: str
    distribution: str
    version: str
    target: str
    entry_point: EntryPoint

    def load(self) -> type[Any]:
        """Import the class and check that it is what it says.

        Raises:
            PluginError: The import fails, or the class does not fit the contract.
        """
        whose = f"{self.kind} {self.name!r} of {self.distribution} {self.version} ({self.target})"
        try:
            cls = self.entry_point.load()
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"the plugin {whose} failed to load",
                found=f"{type(error).__name__}: {error}",
                hint=self._remedy(error),
            ) from error
        if not (isinstance(cls, type) and issubclass(cls, BASES[self.kind])):
            article = "a" if self.kind in ("format", "method") else "an"
            raise PluginError(
                f"the plugin {whose} is not {article} {self.kind} plugin",
                found=repr(cls),
                expected=f"a subclass of {BASES[self.kind].__module__}.{BASES[self.kind].__name__}",
            )
        made_for = getattr(cls, "contract_version", None)
        if not isinstance(made_for, int) or made_for > CONTRACT_VERSION:
            raise PluginError(
                f"the plugin {whose} is made for a newer ultra-agents",
                found=f"contract version {made_for}",
                expected=f"contract version {CONTRACT_VERSION} or older",
                hint="pip install --upgrade ultra-agents",
            )
        if issubclass(cls, Method):
            _check_words(cls, self.name, whose)
        return cls

    def _remedy(self, error: BaseException) -> str:
        """What to do about a plugin that cannot be imported.

        A module's name is no package's name, so only a package that the distribution itself asks for is named.
        """
        module = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if module is None:
            return f"pip install --upgrade {self.distribution}"
        asked = getattr(self.entry_point.dist, "requires", None) or []
        wanted = {re.split(r"[^\w.-]", one, maxsplit=1)[0].lower().replace("_", "-") for one in asked}
        top = module.partition(".")[0]
        if top.lower().replace("_", "-") in wanted:
            return f"pip install {top}"
        return (
            f"the module {module!r} is not found: install what {self.distribution} needs for it; a module of your own "
            "must lie in a folder that Python searches (PYTHONPATH)"
        )


def _check_words(cls: type[Method], name: str, whose: str) -> None:
    """Refuse a method without the words that lists and reports are made of, or under another name than its own."""
    words = {field: getattr(cls, field, None) for field in ("name", "label", "about")}
    if words["name"] != name or not all(isinstance(text, str) and clean(text) == text for text in words.values()):
        raise PluginError(
            f"the plugin {whose} does not say what it is",
            found=", ".join(f"{field} = {text!r}" for field, text in words.items()),
            expected=f"name = {name!r}, as in its entry point, and a label and an about of one line each",
            hint="ultra plugins new method NAME writes one to start from",
        )


@cache
def catalogue() -> tuple[Listing, ...]:
    """Every registered plugin, sorted by kind and name; nothing is imported."""
    found = {
        (kind, point.name, point.dist.name if point.dist else "?", point.value): Listing(
            kind,
            point.name,
            point.dist.name if point.dist else "?",
            point.dist.version if point.dist else "?",
            point.value,
            point,
        )
        for kind, group in GROUPS.items()
        for point in entry_points(group=group)
    }
    order = list(GROUPS)
    return tuple(sorted(found.values(), key=lambda row: (order.index(row.kind), row.name, row.distribution)))


def find(kind: Kind, name: str) -> Listing:
    """The plugin of `kind` called `name` or `distribution:name`, each possibly with `:value` after it.

    Raises:
        PluginError: Unknown, or claimed by more than one distribution.
    """
    return _split(kind, name)[0]


def _split(kind: Kind, name: str) -> tuple[Listing, str | None]:
    """The plugin, and the value written after its name."""
    rows = [row for row in catalogue() if row.kind == kind]
    parts = name.split(":")
    for count in range(len(parts), 0, -1):
        wanted, rest = parts[:count], parts[count:]
        distribution, plain = (wanted[0], wanted[1]) if count == 2 else ("", wanted[0])
        hits = [row for row in rows if row.name == plain and distribution in ("", row.distribution)]
        if count <= 2 and hits:
            break
    else:
        plain = parts[-1]
        raise PluginError(
            f"unknown {kind} {name!r}",
            expected=f"one of: {', '.join(row.name for row in rows)}",
            hint=did_you_mean(plain, [row.name for row in rows]) if rows else "is ultra-agents installed?",
        )
    if len(hits) > 1:
        raise PluginError(
            f"the {kind} name {name!r} is claimed by {len(hits)} distributions",
            found=", ".join(f"{row.distribution} {row.version}" for row in hits),
            hint=f"choose one: {' or '.join(':'.join([row.distribution, row.name, *rest]) for row in hits)}",
        )
    return hits[0], ":".join(rest) if rest else None


def _create(kind: Kind, name: str, options: dict[str, Any]) -> Any:
    listing, value = _split(kind, name)
    cls = listing.load()
    if value is not None:
        options = {**options, **_argument(cls, listing, value, options)}
    try:
        parsed = cls.Options(**options)
    except ValidationError as error:
        raise options_error(f"{kind} {name!r}", error, cls.Options) from error
    return cls(parsed)


def _argument(cls: type[Any], listing: Listing, value: str, options: dict[str, Any]) -> dict[str, Any]:
    """What was written after the colon, as an option."""
    key = getattr(cls, "argument", None)
    if key is None:
        raise PluginError(
            f"the {listing.kind} {listing.name!r} takes nothing after a colon",
            found=f"{listing.name}:{value}",
            hint=f"set its options; a distribution comes first: {listing.distribution}:{listing.name}",
        )
    if options.get(key, value) != value:
        raise ConfigError(
            f"{listing.kind} {listing.name!r} is given {key} twice",
            found=f"{value!r} in the name and {options[key]!r} in the options",
            expected="one of them",
        )
    return {key: value}


def create_environment(name: str, options: dict[str, Any] | None = None) -> Environment:
    """Build an environment plugin; raises `PluginError` or `ConfigError`."""
    made = _create("environment", name, options or {})
    assert isinstance(made, Environment)
    return made


def create_algorithm(name: str, options: dict[str, Any] | None = None) -> Algorithm:
    """Build an algorithm plugin; raises `PluginError` or `ConfigError`."""
    made = _create("algorithm", name, options or {})
    assert isinstance(made, Algorithm)
    return made


def create_llm(name: str, options: dict[str, Any] | None = None) -> LLM:
    """Build an LLM plugin; raises `PluginError` or `ConfigError`."""
    made = _create("llm", name, options or {})
    assert isinstance(made, LLM)
    return made


def create_format(name: str, options: dict[str, Any] | None = None) -> PolicyFormat:
    """Build a plugin that reads other tools' policies; raises `PluginError` or `ConfigError`."""
    made = _create("format", name, options or {})
    assert isinstance(made, PolicyFormat)
    return made


def create_method(name: str, options: dict[str, Any] | None = None) -> Method:
    """Build a plugin that refines policies; raises `PluginError` or `ConfigError`."""
    made = _create("method", name, options or {})
    assert isinstance(made, Method)
    return made


def plugin_origin(plugin: object) -> str | None:
    """`'pong' of ultra-agents 0.1.0` for an instance of a registered class, None for any other."""
    module, name = type(plugin).__module__, type(plugin).__qualname__

    def names_it(target: str) -> bool:
        where, _, what = target.partition(":")
        return what == name and f"{module}.".startswith(f"{where}.")  # a package may show a class of a module within

    row = next((row for row in catalogue() if names_it(row.target)), None)
    return None if row is None else f"{row.name!r} of {row.distribution} {row.version}"
