"""`experiment.yaml`: what is compared on which tasks with how many seeds, and the runs that follow from it.

```yaml
name: quick
seeds: 5                                # 0 to 4; or a list
methods: [none, continue, ultra-ra, rice]
common: {refine: {num_envs: 16}}        # settings of every run, as in `ultra run`'s configuration
tasks:
  pong: {environment: {name: pong}, policy: {shipped: suboptimal}, refine: {steps: 80000}, reference: 20.7}
```

A method may also be a variant with settings of its own: `{name: rice-often, method: rice, settings: {rice: {...}}}`;
settings that a method has on one task only are the task's: `settings_of: {rice-often: {rice: {...}}}`.
What would make a comparison unfair is refused: budgets, seeds, policies, episodes, evaluation and a file of rules
(`advice: {file: PATH}`, which the presets `rules-file`, `-constants`, `-layer` and `-imitate` read) are the task's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from ultra_agents.config import OF_RULES, Config, follows_actions, parse_config, variant_of
from ultra_agents.config.engine import ClusterConfig
from ultra_agents.config.methods import SECTIONS
from ultra_agents.config.models import Section
from ultra_agents.contracts import capabilities
from ultra_agents.errors import ConfigError, did_you_mean
from ultra_agents.experiments.presets import Settings, missing, preset
from ultra_agents.option_errors import options_error
from ultra_agents.registry import create_environment
from ultra_agents.yaml_text import read_settings

FAIR = ("name", "seed", "environment", "policy", "collect", "evaluate", "methods", "proposer")
"""Settings a method may not change: they are the same for all methods of a task, or its definition."""
CELL: Settings = {"evaluate": {"video": False}}
"""What the runs of a comparison are where it does not say otherwise: nobody looks at a video of each."""
NAME = r"^[A-Za-z0-9._-]+$"


class EngineConfig(ClusterConfig):
    """Where cells are run."""

    workers: int = Field(2, gt=0, description="cells side by side (local)")


class MethodVariant(Section):
    """A method under another name, with settings of its own."""

    name: str = Field(pattern=NAME)
    method: str = Field(description="one of the known methods")
    settings: Settings = Field(default_factory=dict, description="as in `ultra run`'s configuration")


class Experiment(Section):
    """The whole comparison."""

    name: str = Field(pattern=NAME, description="folder of the comparison")
    seeds: tuple[int, ...] = Field(description="training seeds; a number n means 0 to n - 1")
    methods: tuple[MethodVariant, ...] = Field(min_length=1, description="what is compared")
    tasks: dict[str, Settings] = Field(
        min_length=1,
        description="settings of a run by task, with `reference`, `seeds` of its own and `settings_of` single methods",
    )
    common: Settings = Field(default_factory=dict, description="settings of every run")
    engine: EngineConfig = EngineConfig()

    @field_validator("seeds", mode="before", json_schema_input_type=int | tuple[int, ...])
    @classmethod
    def _counted(cls, value: Any) -> Any:
        if not isinstance(value, int | list | tuple) or isinstance(value, bool):
            raise ValueError("a number of seeds, or a list of them: 5, or [0, 1, 2]")
        return _counted(value)

    @field_validator("methods", mode="before", json_schema_input_type=tuple[str | MethodVariant, ...])
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple({"name": one, "method": one} if isinstance(one, str) else one for one in value)
        return value

    @model_validator(mode="after")
    def _fair(self) -> Experiment:
        _check_seeds("seeds of a comparison", self.seeds)
        for task, settings in self.tasks.items():
            _check_seeds(f"seeds of the task {task}", self.seeds_of(task))
            left, known = settings.get("without", []), [one.name for one in self.methods]
            usable = isinstance(left, list | tuple) and all(one in known for one in left)
            if not usable or all(name in left for name in known):
                raise ConfigError(
                    f"tasks.{task}.without is no list of methods to leave out", found=repr(left),
                    expected=f"some of: {', '.join(known)}",
                )  # fmt: skip
        names = [one.name for one in self.methods]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"two methods are called {twice[0]!r}", found=", ".join(names))
        for one in self.methods:
            preset(one.method)
        variants = [(one.name, one.settings) for one in self.methods]
        for task in self.tasks:
            variants += [(f"{name} on {task}", settings) for name, settings in self._settings_of(task).items()]
        for name, settings in variants:
            _check_fair(name, settings)
        for where, settings in (("common", self.common), *self.tasks.items(), *variants):
            if "engine" in settings:
                raise ConfigError(
                    f"{where} sets 'engine', the engine of single runs",
                    expected="engine beside name and seeds: cells are what is spread, each explains its own episodes",
                    hint="a cell that waits for workers of its own would hold the very cores they need",
                )
        for key in ("name", "seed", "methods", "proposer"):
            for where, settings in (("common", self.common), *self.tasks.items()):
                if key in settings:
                    raise ConfigError(f"{where} sets {key!r}", expected=f"{key} follows from the cell: leave it out")
        return self

    def seeds_of(self, task: str) -> tuple[int, ...]:
        """Training seeds of one task: its own `seeds`, else those of the comparison."""
        found = _counted(self.tasks[task].get("seeds", self.seeds))
        return tuple(found) if isinstance(found, list | tuple) else (found,)

    def _settings_of(self, task: str) -> dict[str, Settings]:
        """The task's `settings_of`, by method.

        Raises:
            ConfigError: No mapping of settings by method that is compared on the task.
        """
        found: dict[str, Settings] = self.tasks[task].get("settings_of", {})
        known = [one.name for one in self.methods_of(task)]
        usable = isinstance(found, dict) and all(isinstance(settings, dict) for settings in found.values())
        strange = [str(name) for name in found if name not in known] if usable else []
        if not usable or strange:
            raise ConfigError(
                f"tasks.{task}.settings_of is no mapping of settings by method",
                found=", ".join(strange) or repr(found), expected=f"some of: {', '.join(known)}",
                hint=did_you_mean(strange[0], known) if strange else "settings_of: {rice: {rice: {probability: 0.5}}}",
            )  # fmt: skip
        return found

    def settings_of(self, task: str, method: MethodVariant) -> Settings:
        """The settings a method has on one task: its own, and over them the task's `settings_of` it."""
        return merged(method.settings, self._settings_of(task).get(method.name, {}))

    def methods_of(self, task: str) -> tuple[MethodVariant, ...]:
        """What is compared on one task: all methods but those it is `without`."""
        left = self.tasks[task].get("without", ())
        return tuple(one for one in self.methods if one.name not in left)


def _check_fair(name: str, settings: Settings) -> None:
    unfair = [key for key in FAIR if key in settings]
    unfair += ["advice.file"] if "file" in (settings.get("advice") or {}) else []
    unfair += ["refine.steps"] if "steps" in (settings.get("refine") or {}) else []
    if unfair:
        raise ConfigError(
            f"the method {name!r} would be compared on other terms than the rest",
            found=f"settings of its own for {', '.join(unfair)}",
            expected="budget, policy, episodes and evaluation set by the task, for all methods alike",
        )


def _counted(value: Any) -> Any:
    """A number of seeds as the seeds."""
    return tuple(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_seeds(what: str, seeds: tuple[Any, ...]) -> None:
    whole = all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in seeds)
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"{what} are different whole numbers from 0", found=repr(list(seeds)),
            expected="for example seeds: 5, or seeds: [0, 1, 2]",
        )  # fmt: skip


TASK_ONLY = ("reference", "seeds", "without", "settings_of")
"""Keys of a task that are no settings of a run."""


@dataclass(frozen=True)
class Cell:
    """One run of a comparison.

    Attributes:
        task: Name of the task.
        method: Name of the method as the experiment calls it.
        seed: Training seed.
        config: The run's configuration; its name is the cell's folder.
        after: The cell whose starting policy and episodes are taken over; None begins.
        advice_of: The cell whose explained and tested advice is taken over, being the same; None makes its own.
    """

    task: str
    method: str
    seed: int
    config: Config
    after: str | None = None
    advice_of: str | None = None

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.config.name

    @property
    def waits_for(self) -> tuple[str, ...]:
        """Cells that must be finished first."""
        return tuple(dict.fromkeys(name for name in (self.after, self.advice_of) if name is not None))


def load_experiment(path: Path) -> Experiment:
    """Read an experiment file; relative paths of its settings are taken from the file's folder.

    Raises:
        ConfigError: Missing, unreadable, unknown keys or methods, terms that differ between methods.
    """
    data = read_settings(path, "experiment", "examples/experiments/quick.yaml")
    if "tasks" not in data and "environment" in data:
        raise ConfigError(
            f"{path} is the configuration of one run", expected="an experiment: name, seeds, methods, tasks",
            hint=f"ultra run {path}, or see examples/experiments/quick.yaml",
        )  # fmt: skip
    try:
        return Experiment(**data)
    except ValidationError as error:
        raise options_error(str(path), error, Experiment) from error


def cells_of(
    experiment: Experiment, root: Path, base: Path | None = None, runs: Callable[[str, str, int], bool] | None = None
) -> list[Cell]:
    """Every run of a comparison, those that others wait for first.

    Args:
        experiment: What is compared.
        root: Folder of the comparison; answers of language models are kept there, for all cells.
        base: Folder that relative paths in the settings start from.
        runs: Whether a cell of a task, method and seed may be run: of others nobody asks what their environment
            offers. None: all may.

    Raises:
        ConfigError: Settings no run can have, an environment that lacks what a method needs, or agents that name none
            of several models: all of it is listed.
    """
    made: list[Cell] = []
    lacking: dict[str, None] = {}
    unnamed: dict[str, None] = {}
    for task, settings in experiment.tasks.items():
        common = merged(
            CELL, experiment.common, {key: value for key, value in settings.items() if key not in TASK_ONLY}
        )
        asked = set[str]()
        for seed in experiment.seeds_of(task):
            leaders: dict[str, str] = {}
            first: str | None = None
            for method in experiment.methods_of(task):
                name = f"{task}-{method.name}-{seed}"
                own = experiment.settings_of(task, method)
                row = merged(common, own, preset(method.method), {"name": name, "seed": seed})
                row = _with_rules_read(row)
                config = parse_config(row, f"task {task}, method {method.name}", base)
                _check_start(config, own, task, method.name)
                if config.gateway.cache is None:
                    # of recorded episodes every seed asks the same questions
                    asks = task if config.collect.folder is not None else f"{task}-{seed}"
                    cache = (root / f"answers-{asks}.sqlite").absolute()
                    config = config.model_copy(update={"gateway": config.gateway.model_copy(update={"cache": cache})})
                if method.name not in asked and (runs is None or runs(task, method.name, seed)):
                    asked.add(method.name)
                    lacking |= dict.fromkeys(_lacks(config, task, method.name))
                    unnamed |= dict.fromkeys(_unnamed(config, task, method.name))
                leader = leaders.setdefault(_advice_key(config), name) if variant_of(config.methods[0]) else None
                made.append(Cell(task, method.name, seed, config, first, None if leader == name else leader))
                first = first or name
    if unnamed:
        raise ConfigError(
            "a comparison has several models, and not every agent says which it asks", found="; ".join(unnamed),
            expected="agents: {identifier: {llm: NAME}, advisor: {llm: NAME}, critic: {llm: NAME}}",
            hint="name it in the settings of the method; in what order tasks and `common` name models decides nothing",
        )  # fmt: skip
    if lacking:
        raise ConfigError(
            "this comparison asks environments for what they do not offer", found="; ".join(lacking),
            hint="leave those methods out for those tasks: ultra plugins check NAME says what an environment offers",
        )  # fmt: skip
    return made


def _check_start(config: Config, own: Settings, task: str, method: str) -> None:
    """Refuse settings of one method that a starting policy, trained by the runs, depends on."""
    its = [f"refine.{key}" for key in ("algorithm", "num_envs") if key in (own.get("refine") or {})]
    if its and config.policy.train_steps is not None:
        raise ConfigError(
            f"the method {method!r} would train another starting policy than the rest of the task {task!r}",
            found=f"policy.train_steps, and settings of its own for {', '.join(its)}",
            expected="policy.path or policy.shipped; or those settings for all methods of the task",
        )


def _with_rules_read(row: Settings) -> Settings:
    """The settings without a task's `advice.file` where the cell's proposer reads no rules."""
    if row.get("proposer") in OF_RULES or "file" not in (row.get("advice") or {}):
        return row
    return {**row, "advice": {key: value for key, value in row["advice"].items() if key != "file"}}


def references(experiment: Experiment) -> dict[str, float | None]:
    """The return that counts as 1 by task: `reference`, else the environment's own best; None where neither is known.

    Raises:
        ConfigError: Not a number.
    """
    found: dict[str, float | None] = {}
    for task, settings in experiment.tasks.items():
        value = settings.get("reference")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ConfigError(f"tasks.{task}.reference is no number", found=repr(value))
        if value is None:
            config = merged(experiment.common, settings).get("environment") or {}
            environment = create_environment(config.get("name", ""), config.get("options") or {})
            if "reference_returns" in capabilities(environment):
                value = environment.reference_returns.reference
        found[task] = None if value is None else float(value)
    return found


def merged(*rows: Mapping[str, Any]) -> Settings:
    """Nested mappings put together; later ones win, and a named plugin replaces another one whole."""
    made: Settings = {}
    for row in rows:
        for key, value in row.items():
            nested = isinstance(value, dict) and isinstance(made.get(key), dict)
            replaced = nested and "name" in value and value["name"] != made[key].get("name", value["name"])
            made[key] = merged(made[key], value) if nested and not replaced else value
    return made


def _lacks(config: Config, task: str, method: str) -> Sequence[str]:
    environment = create_environment(config.environment.name, config.environment.options)
    return [f"{method} on {task}: {what}" for what in missing(config, environment)]


def _unnamed(config: Config, task: str, method: str) -> Sequence[str]:
    """Agents that would ask whichever of several models happens to be named first."""
    if len(config.llms) < 2 or config.proposer != "llm" or variant_of(config.methods[0]) is None:
        return ()
    agents = {"identifier": config.agents.identifier, "advisor": config.agents.advisor, "critic": config.agents.critic}
    silent = [name for name, agent in agents.items() if not agent.names]
    return [f"{method} on {task}: {', '.join(silent)} (models: {', '.join(config.llms)})"] if silent else ()


def _advice_key(config: Config) -> str:
    """Equal for runs whose advice comes out the same: it does not depend on what is done with it afterwards.

    What advice is learnt with, and what rewards are raced with, is the algorithm that refines.
    """
    without = {"name", "methods", "evaluate", "refine", "method_options", *SECTIONS}
    rows = config.model_dump(mode="json", exclude=without)
    rows["advice"].pop("apply")  # says what is done with rules that held
    trains = config.refine.model_dump(mode="json", include={"steps", "num_envs", "algorithm"})
    return json.dumps([rows, trains, follows_actions(config.methods[0])], sort_keys=True)
