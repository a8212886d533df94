"""Plugins from entry points: a catalogue without importing them, then one class at a time.

Built-ins are registered in `pyproject.toml` in the same groups as anybody's plugin and nowhere else. A name claimed by
two distributions is an error that names both; `distribution:name` chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from ultra_agents.contracts import CONTRACT_VERSION, LLM, Algorithm, Environment
from ultra_agents.errors import ConfigError, PluginError, did_you_mean

Kind: TypeAlias = Literal["environment", "algorithm", "llm"]

GROUPS: dict[Kind, str] = {
    "environment": "ultra_agents.environments",
    "algorithm": "ultra_agents.algorithms",
    "llm": "ultra_agents.llms",
}
BASES: dict[Kind, type] = {"environment": Environment, "algorithm": Algorithm, "llm": LLM}


@dataclass(frozen=True)
class Listing:
    """One registered plugin, not imported yet.

    Attributes:
        kind: `environment`, `algorithm` or `llm`.
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
        except Exception as error:
            missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
            raise PluginError(
                f"the plugin {whose} failed to load",
                found=f"{type(error).__name__}: {error}",
                hint=f"pip install {missing}" if missing else f"pip install --upgrade {self.distribution}",
            ) from error
        if not (isinstance(cls, type) and issubclass(cls, BASES[self.kind])):
            raise PluginError(
                f"the plugin {whose} is not an {self.kind} plugin",
                found=repr(cls),
                expected=f"a subclass of {BASES[self.kind].__module__}.{BASES[self.kind].__name__}",
            )
        if cls.contract_version > CONTRACT_VERSION:  # type: ignore[attr-defined]
            raise PluginError(
                f"the plugin {whose} is made for a newer ultra-agents",
                found=f"contract version {cls.contract_version}",  # type: ignore[attr-defined]
                expected=f"contract version {CONTRACT_VERSION} or older",
                hint="pip install --upgrade ultra-agents",
            )
        return cls


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
    """The plugin of `kind` called `name` or `distribution:name`.

    Raises:
        PluginError: Unknown, or claimed by more than one distribution.
    """
    distribution, _, plain = name.rpartition(":")
    rows = [row for row in catalogue() if row.kind == kind]
    hits = [row for row in rows if row.name == plain and distribution in ("", row.distribution)]
    if not hits:
        raise PluginError(
            f"unknown {kind} {name!r}",
            expected=f"one of: {', '.join(row.name for row in rows)}",
            hint=did_you_mean(plain, [row.name for row in rows]) if rows else "is ultra-agents installed?",
        )
    if len(hits) > 1:
        raise PluginError(
            f"the {kind} name {name!r} is claimed by {len(hits)} distributions",
            found=", ".join(f"{row.distribution} {row.version}" for row in hits),
            hint=f"choose one: {' or '.join(f'{row.distribution}:{row.name}' for row in hits)}",
        )
    return hits[0]


def _create(kind: Kind, name: str, options: dict[str, Any]) -> Any:
    cls = find(kind, name).load()
    try:
        parsed = cls.Options(**options)
    except ValidationError as error:
        raise options_error(f"{kind} {name!r}", error, cls.Options) from error
    return cls(parsed)


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


def options_error(whose: str, error: ValidationError, model: type[Any]) -> ConfigError:
    """A pydantic complaint about user-written options as one clear message (first problem first)."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        parent: Any = model
        for part in first["loc"][:-1]:
            field = getattr(parent, "model_fields", {}).get(str(part))
            parent = _model_of(field.annotation) if field else None
        known = list(getattr(parent, "model_fields", {}))
        return ConfigError(
            f"{whose} has no key {where!r}",
            expected=f"one of: {', '.join(known)}" if known else None,
            hint=did_you_mean(str(first["loc"][-1]), known),
        )
    return ConfigError(
        f"{whose}: {where or 'options'} is not usable",
        found=repr(first.get("input")),
        expected=first["msg"],
    )


def _model_of(annotation: Any) -> Any:
    """The pydantic model inside an annotation such as `list[Model]`, `dict[str, Model]` or `Model | None`."""
    if hasattr(annotation, "model_fields"):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        inner = _model_of(part)
        if inner is not None:
            return inner
    return None
