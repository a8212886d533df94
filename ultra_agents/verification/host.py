"""Where the simulators are, whatever needs rollouts runs beside them: only what it asks and what it finds travels."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, Protocol

from ultra_agents.contracts import Environment, Policy
from ultra_agents.errors import UltraError
from ultra_agents.plugin_calls import plugin_fault
from ultra_agents.verification.candidates import RestoredState
from ultra_agents.verification.jobs import Course, JobResult, Terms
from ultra_agents.verification.rollouts import Player


class Task(Protocol):
    """What a pool plays; picklable, and what comes of it depends on the task only."""

    def course(self, host: Host) -> Course[Any]:
        """What there is to do where the simulators are."""
        ...


@dataclass(eq=False)
class _Running:
    """A course under way; `missing` of the results of its jobs have not come."""

    number: int
    course: Course[Any]
    results: list[JobResult | None]
    missing: int = 0


class Host:
    """Runs courses side by side on the simulators of this process.

    Args:
        environment: Must be able to restore.
        policy: Acts in the rollouts.
        terms: Uniforms and discount.
        slots: Rollouts side by side, at least 2.

    Attributes:
        environment: The same.
        player: Plays the rollouts.
        states: What is known of the policy alone at the states that were tested here, by episode and step.
    """

    def __init__(self, environment: Environment, policy: Policy, terms: Terms, slots: int) -> None:
        self.environment = environment
        self.player = Player(environment, policy, slots, terms)
        self.states: dict[tuple[int, int], RestoredState] = {}
        self._jobs: dict[int, tuple[_Running, int]] = {}
        self._count = 0
        self._ended: list[tuple[int, Any]] = []

    @property
    def busy(self) -> bool:
        """A task is not over, or was not handed back yet."""
        return bool(self._jobs or self._ended)

    def add(self, number: int, task: Task) -> None:
        """Begin a task, under a number of the caller's."""
        self._go_on(_Running(number, task.course(self), []), None)

    def tick(self) -> list[tuple[int, Any]]:
        """One step everywhere; outcomes of tasks that are over, an `UltraError` for those that failed.

        An error in a step fails every task under way, and leaves the host ready for others.
        """
        try:
            played = self.player.tick()
        except Exception as error:
            told = self._told(error)
            played = [*self.player.take(), *((number, told) for number in self.player.drop_all())]
        for number, result in played:
            running, place = self._jobs.pop(number)
            if running.missing == 0:  # it failed before
                continue
            if isinstance(result, UltraError):
                self._end(running, result)
                continue
            running.results[place] = result
            running.missing -= 1
            if not running.missing:
                self._go_on(running, running.results)
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Close the simulators."""
        self.player.close()

    def _go_on(self, running: _Running, results: Any) -> None:
        """Hand a course the results it waited for, and queue the jobs it asks for next."""
        try:
            jobs = running.course.send(results)
        except StopIteration as end:
            self._end(running, end.value)
        except Exception as error:
            self._end(running, self._told(error))
        else:
            running.results, running.missing = [None] * len(jobs), len(jobs)
            for place, job in enumerate(jobs):
                self._jobs[self._count] = running, place
                self.player.add(self._count, job)
                self._count += 1

    def _end(self, running: _Running, outcome: Any) -> None:
        running.missing = 0
        running.course.close()
        self._ended.append((running.number, outcome))

    def _told(self, error: Exception) -> UltraError:
        told = plugin_fault(self.environment, error)
        told.add_note(traceback.format_exc())
        return told
