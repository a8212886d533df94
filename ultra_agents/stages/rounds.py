"""What became of one more round of expert iteration (`stages.iterate` makes it)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Round:
    """One round: episodes of the better copy, advice for them, a copy of that copy, and its test.

    Attributes:
        number: 2 for the first one after the stage `imitate`.
        headline: One line for a person.
        episodes: Episodes of the copy that the round began with.
        mean_return: Their mean return; 0 without any.
        tested: Suggestions that were tested.
        plans: Accepted ones, which the new copy learnt.
        steps: Demonstrated steps.
        agreement: How nearly the policy before and the new copy do there what was demonstrated (`contracts.agreed`);
            empty where nothing was learnt.
        gain: Mean paired difference of return, the new copy minus the policy before.
        low: Lower end of its interval.
        high: Upper end.
        pairs: Paired episodes.
        verdict: As `Imitation.verdict`; empty where nothing was learnt.
        used: The new copy takes the place of the policy before.
        collecting: Environment steps of the episodes.
        testing: Of proposing and testing the suggestions.
        imitating: Of replays, and of the comparison where that was not part of the tests.
        copy: The new copy, where it is used.
    """

    number: int
    headline: str
    episodes: int = 0
    mean_return: float = 0.0
    tested: int = 0
    plans: int = 0
    steps: int = 0
    agreement: tuple[float, ...] = ()
    gain: float = 0.0
    low: float = 0.0
    high: float = 0.0
    pairs: int = 0
    verdict: str = ""
    used: bool = False
    collecting: int = 0
    testing: int = 0
    imitating: int = 0
    copy: Any = None  # a Policy; pydantic shall not look into it

    @property
    def env_steps(self) -> int:
        """Environment steps of all of it."""
        return self.collecting + self.testing + self.imitating
