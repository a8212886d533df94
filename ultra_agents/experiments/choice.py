"""Some of the cells of a comparison, chosen by task, method and seed: a long one is run in pieces."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ultra_agents.errors import ConfigError, did_you_mean
from ultra_agents.experiments.cells import CellResult
from ultra_agents.experiments.spec import Cell, Experiment
from ultra_agents.experiments.summary import baseline_name
from ultra_agents.text import counted
from ultra_agents.ui.compare.cell_table import CellStatus
from ultra_agents.ui.compare.time_left import time_left


@dataclass(frozen=True)
class Choice:
    """What to run now; an empty field chooses all.

    Attributes:
        tasks: Names of tasks.
        methods: Names of methods, as the experiment calls them.
        seeds: Training seeds.
    """

    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tasks or self.methods or self.seeds)

    def check(self, experiment: Experiment) -> None:
        """Refuse what the experiment does not have.

        Raises:
            ConfigError: A name or a seed that it does not have, or names and seeds that it does not have together.
        """
        names = [one.name for one in experiment.methods]
        seeds = sorted({seed for task in experiment.tasks for seed in experiment.seeds_of(task)})
        self._check("task", self.tasks, list(experiment.tasks), experiment)
        self._check("method", self.methods, names, experiment)
        self._check("seed", [str(seed) for seed in self.seeds], [str(seed) for seed in seeds], experiment)
        there = [
            (task, method.name, seed)
            for task in experiment.tasks
            for method in experiment.methods_of(task)
            for seed in experiment.seeds_of(task)
        ]
        if not any(self.includes(*place) for place in there):
            tasks = [task for task in experiment.tasks if not self.tasks or task in self.tasks]
            each = [
                f"{task} with seeds {', '.join(map(str, experiment.seeds_of(task)))} and "
                f"{', '.join(method.name for method in experiment.methods_of(task))}"
                for task in tasks
            ]
            raise ConfigError(
                f"the experiment {experiment.name} has no cell that is all of this together",
                found=" ".join(self.options()), expected="; ".join(each),
            )  # fmt: skip

    def includes(self, task: str, method: str, seed: int) -> bool:
        """Whether the cell is chosen."""
        rows = ((task, self.tasks), (method, self.methods), (seed, self.seeds))
        return all(not chosen or one in chosen for one, chosen in rows)

    def options(self) -> list[str]:
        """The command line's words for it."""
        rows = (("--task", self.tasks), ("--method", self.methods), ("--seed", self.seeds))
        return [word for option, values in rows for value in values for word in (option, str(value))]

    @staticmethod
    def _check(what: str, asked: Sequence[str], known: Sequence[str], experiment: Experiment) -> None:
        strange = [one for one in asked if one not in known]
        if strange:
            raise ConfigError(
                f"the experiment {experiment.name} has no {what} {', '.join(map(repr, strange))}",
                expected=f"some of: {', '.join(known)}",
                hint=None if what == "seed" else did_you_mean(strange[0], known),
            )


def part_of(cells: Sequence[Cell], choice: Choice, finished: Collection[str]) -> list[Cell]:
    """The chosen cells, and the finished ones of their tasks, in order; they wait for nothing but each other.

    What a chosen cell would have taken over from a cell that is neither, it makes itself, or takes from the first
    chosen one that makes the same; its numbers do not change by that.
    """
    chosen = [cell for cell in cells if choice.includes(cell.task, cell.method, cell.seed)]
    tasks = {cell.task for cell in chosen}
    first: dict[tuple[str, int], str] = {}
    advised: dict[str, str] = {}
    names, made = {cell.name for cell in chosen}, []
    for cell in cells:
        done = cell.name in finished and cell.task in tasks
        if not done and cell.name not in names:
            continue
        same = cell.advice_of or cell.name
        after, advice_of = first.get((cell.task, cell.seed)), advised.get(same)
        made.append(cell if done else replace(cell, after=after, advice_of=advice_of))
        first.setdefault((cell.task, cell.seed), cell.name)
        advised.setdefault(same, cell.name)
    return made


def controls_missing(experiment: Experiment, cells: Sequence[Cell], part: Sequence[Cell]) -> list[str]:
    """Names of the cells that those of `part` are held against and that are not in it, as the file has them."""
    baseline, there = baseline_name(experiment), {cell.name for cell in part}
    places = {(cell.task, cell.seed) for cell in part}
    return [
        cell.name
        for cell in cells
        if cell.method == baseline and (cell.task, cell.seed) in places and cell.name not in there
    ]


def forecast(part: Sequence[Cell], finished: Mapping[str, CellResult], workers: int) -> str:
    """What is to be done, in one line: cells by task, and how long they take by the times of finished cells."""
    states = [
        CellStatus(cell.task, cell.method, cell.seed, "waiting")
        if (found := finished.get(cell.name)) is None
        else CellStatus(cell.task, cell.method, cell.seed, "finished", seconds=found.seconds)
        for cell in part
    ]
    todo = [one.task for one in states if one.status == "waiting"]
    if not todo:
        return "nothing to do: every cell is finished"
    each = ", ".join(f"{task} {todo.count(task)}" for task in dict.fromkeys(todo))
    return f"{counted(len(todo), 'cell')} to do ({each}), {time_left(states, workers).told}"
