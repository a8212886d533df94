"""What a run refines with, and where each setting comes from: configuration, policy file, the plugin's defaults.

A policy file carries the settings that trained it. Refining by every method starts from them, key by key, unless the
configuration sets an option itself. `refining` is the one place where that is decided.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError

from ultra_agents.config import Config
from ultra_agents.contracts import Algorithm, Environment, capabilities
from ultra_agents.errors import ConfigError, PluginError, UltraError, did_you_mean
from ultra_agents.option_errors import expected_words
from ultra_agents.policies import Carried, carried_by, read_policy_file, require_file, shortened
from ultra_agents.registry import create_algorithm, find
from ultra_agents.text import clean

Source: TypeAlias = Literal["configuration", "file", "default"]

_LARGEST = 2.0**53
"""A number of a file beyond this is none that anything can be trained with."""
_LISTED, _LONGEST = 5, 120
"""Options of a file that are told of one by one when they are not used; characters shown of what is wrong."""


@dataclass(frozen=True)
class Setting:
    """The value of one option (JSON types), and where it comes from."""

    value: Any
    source: Source
    usual: bool = True
    """It is the plugin's default, whoever named it."""


@dataclass(frozen=True)
class Refining:
    """What every method of a run refines with.

    Attributes:
        algorithm: Name of the algorithm, as the configuration has it.
        settings: Every option of it, by name.
        file: The policy file that carries settings; empty where none does.
        unused: What of the file's settings is not used, and why; empty where all are.
    """

    algorithm: str
    settings: dict[str, Setting]
    file: str = ""
    unused: str = ""

    @property
    def words(self) -> str:
        """One line: what differs from the defaults, by where it comes from; all that the configuration names."""
        parts = [
            f"{', '.join(found)} ({where})"
            for source, where in (("configuration", "configuration"), ("file", f"policy file {clean(self.file)}"))
            if (found := self._told(source))
        ]
        if not parts:
            also = f", which are those of the policy file {clean(self.file)}" if self._from_file else ""
            return f"{self.algorithm} with its default settings{also}"
        return f"{self.algorithm} with {'; '.join(parts)}; the rest as by default"

    def record(self) -> dict[str, Any]:
        """JSON types: the fields of `events.RefiningSettled`, which reports keep too."""
        return {
            "algorithm": self.algorithm,
            "values": {name: one.value for name, one in self.settings.items()},
            "sources": {name: one.source for name, one in self.settings.items()},
            "file": self.file,
            "unused": self.unused,
            "words": self.words,
        }

    @property
    def _from_file(self) -> bool:
        return any(one.source == "file" for one in self.settings.values())

    def _told(self, source: str) -> list[str]:
        return [
            f"{name} {json.dumps(one.value)}"
            for name, one in sorted(self.settings.items())
            if one.source == source and not (source == "file" and one.usual)
        ]


def trained_with(name: str, algorithm: Algorithm) -> dict[str, Any]:
    """What a policy file carries of the algorithm that trained it; `training` of `policies.save_policy`."""
    return {"algorithm": name, "options": algorithm.training_options()}


def policy_file(config: Config, environment: Environment) -> Path | None:
    """The file of the starting policy; None where it is trained first.

    Raises:
        UltraError: There is no such file, or the environment ships no such policy.
    """
    if config.policy.path is not None:
        require_file(config.policy.path)
        return config.policy.path
    if config.policy.shipped is None:
        return None
    shipped = environment.policies() if "policies" in capabilities(environment) else {}
    if config.policy.shipped not in shipped:
        raise ConfigError(
            f"the environment {config.environment.name!r} ships no policy {config.policy.shipped!r}",
            expected=f"one of: {', '.join(shipped) or 'none ships'}",
            hint=did_you_mean(config.policy.shipped, shipped),
        )
    return Path(shipped[config.policy.shipped])


def carried_into(config: Config, environment: Environment) -> Carried:
    """What the file of a run's starting policy carries; raises what `policy_file` and `read_policy_file` raise."""
    path = policy_file(config, environment)
    return Carried() if path is None else carried_by(read_policy_file(path)[0], path.name)


def refining(config: Config, carried: Carried) -> tuple[Algorithm, Refining]:
    """The algorithm that every method of a run refines with.

    Args:
        config: The run's; what it sets wins, key by key.
        carried: What its starting policy's file says.

    Raises:
        UltraError: Unknown algorithm, or options of the configuration that cannot be used. What a file says raises
            nothing.
    """
    name, given = config.refine.algorithm.name, config.refine.algorithm.options
    cls = find("algorithm", name).load()
    taken, unused = _usable(name, cls, given, carried)
    algorithm = create_algorithm(name, {**taken, **given})
    usual, values = _defaults(cls), algorithm.options.model_dump(mode="json", fallback=repr)

    def setting(key: str, value: Any) -> Setting:
        source: Source = "configuration" if key in given else "file" if key in taken else "default"
        return Setting(value, source, key in usual and usual[key] == value)

    settings = {key: setting(key, value) for key, value in values.items()}
    return algorithm, Refining(name, settings, carried.file, unused)


def unusable(carried: Carried) -> str:
    """What of a file's settings its own algorithm does not take here, in words; empty where it takes all."""
    if not carried.algorithm:
        return carried.problem
    try:
        cls = find("algorithm", carried.algorithm).load()
    except PluginError as error:
        return f"{clean(carried.algorithm)}: {error.problem}"
    return _usable(carried.algorithm, cls, {}, carried)[1]


def _usable(name: str, cls: type[Algorithm], given: Mapping[str, Any], carried: Carried) -> tuple[dict[str, Any], str]:
    """Those of a file's options that the algorithm takes and the configuration leaves open, and why not the others."""
    whose = f"the policy file {clean(carried.file)}"
    if carried.problem:
        return {}, f"{whose} does not say in a readable way what it was trained with: {carried.problem}"
    if not carried.algorithm:
        return {}, ""
    if not _same(carried.algorithm, name):
        return {}, (
            f"{whose} was trained with {shortened(carried.algorithm)}, this run refines with {name!r}: "
            "the settings of the file are not used"
        )
    taken, wrong = {}, {}
    for key, value in carried.options.items():
        if key in given:
            continue
        why = _problem(cls, key, value)
        if why:
            wrong[key] = why
        else:
            taken[key] = value
    if taken and not _fits(name, {**taken, **given}):  # each by itself, then: another value may rule it out
        alone = {key: value for key, value in taken.items() if _fits(name, {**given, key: value})}
        taken = alone if _fits(name, {**alone, **given}) else {}
        wrong |= {key: "does not go with the other settings" for key in carried.options
                  if key not in {*taken, *wrong, *given}}  # fmt: skip
    if not wrong:
        return taken, ""
    shown = list(wrong.items())[:_LISTED]
    listed = [f"{clean(key, _LONGEST)} = {shortened(carried.options[key])} ({why})" for key, why in shown]
    more = f" and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
    return taken, f"{whose} names settings that {name!r} cannot use here, and they are not used: " + (
        f"{'; '.join(listed)}{more}"
    )


def _same(one: str, other: str) -> bool:
    """Whether two names are of the same algorithm plugin."""
    try:
        return one == other or find("algorithm", one) == find("algorithm", other)
    except PluginError:
        return False


def _problem(cls: type[Algorithm], key: str, value: Any) -> str:
    """Why an option from a file cannot be used; no text is taken for a number."""
    fields = cls.Options.model_fields
    if key not in fields:
        return "no such option"
    if key in cls.not_carried:
        return "not for a file to say"
    if isinstance(value, int | float) and not abs(value) <= _LARGEST:
        return "not a finite number of use"
    try:
        kind: Any = Annotated[fields[key].annotation, fields[key]]
        TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        return clean(expected_words(error.errors()[0]), _LONGEST)
    except Exception as error:  # somebody's validator
        return clean(f"{type(error).__name__}: {error}", _LONGEST)
    return ""


def _fits(name: str, options: dict[str, Any]) -> bool:
    try:
        create_algorithm(name, options)
    except UltraError:
        return False
    except Exception:  # somebody's plugin
        return False
    return True


def _defaults(cls: type[Algorithm]) -> dict[str, Any]:
    """The default of every option that has one, JSON types."""
    try:
        return cls.Options().model_dump(mode="json", fallback=repr)
    except ValidationError:  # an option without a default
        return {}
