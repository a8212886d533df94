"""A person's moves from the browser: tested in the run that is shown, in a thread, and kept where it takes any."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ultra_agents.errors import RunError, UltraError
from ultra_agents.ui.inspect.advise_screen import AdviceAnswer

if TYPE_CHECKING:
    from ultra_agents.contracts import Environment


class RunAdviser:
    """Tests moves as `ultra advise` does; where the run cannot keep them, as `ultra advise --dry` does.

    Args:
        path: The run folder.
        environment: Names its actions.
        longest: Most environment steps of a plan.
    """

    def __init__(self, path: Path, environment: Environment, longest: int) -> None:
        self._path, self._environment, self._longest = path, environment, longest
        self._one = threading.Lock()

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions that are listed."""
        return tuple(self._environment.actions.names)

    def fate(self) -> str:
        """What will be done with moves, in words."""
        why = self._refused()
        return "what is tested is kept, its steps are charged" if why is None else f"only tested, not kept: {why}"

    def read(self, episode: int, step: int, text: str) -> str:
        """The moves in words."""
        from ultra_agents.verification import parse_moves

        return str(parse_moves(text, self._environment, self._longest))

    def test(self, episode: int, step: int, text: str, progress: Callable[[str, int], object]) -> AdviceAnswer:
        """Test them, one at a time."""
        from ultra_agents.cli.advise.bench import open_bench

        if not self._one.acquire(blocking=False):
            raise RunError("another test is going on", hint="wait for its verdict")
        try:
            dry = self._refused() is not None
            with open_bench(self._path, dry, workers=0) as bench:
                tried = bench.try_moves(episode, step, text, progress=progress)
            return AdviceAnswer(str(tried.attempt.plan), tried.test, bench.kept, not (dry or tried.known))
        finally:
            self._one.release()

    def _refused(self) -> str | None:
        """Why the run takes no moves now; None where it does."""
        from ultra_agents.cli.watch import is_locked
        from ultra_agents.runs import RunFolder
        from ultra_agents.stages.human import check_takes

        try:
            check_takes(RunFolder.open(self._path), rules=False)
        except UltraError as error:
            return error.problem
        return "another process runs it now" if is_locked(self._path) else None
