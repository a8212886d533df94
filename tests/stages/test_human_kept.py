"""Whether a person's set of rules becomes the run's: where the run's own held, by the episodes that both played."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stages.test_recorded_episodes import begun
from ultra_agents.records import RuleProposal
from ultra_agents.stages.findings import RulesFound
from ultra_agents.stages.human_kept import _takes_the_place
from ultra_agents.verification import RuleTest
from ultra_agents.verification.rules import REST, WHOLE

POLICY = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 1.0, 1.0]


def accepted(earned: float, pairs_of: str) -> RuleTest:
    returns = tuple((alone, alone + earned) for alone in POLICY)
    return RuleTest(
        "accepted", earned, earned, earned, len(POLICY), 1.0, 100, "rules: []",
        returns=returns, spread=0.1, pairs_of=pairs_of,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mine", "own", "takes", "says"),
    [
        (accepted(3.0, WHOLE), accepted(1.0, WHOLE), True, "surely better in the 8 episodes both played"),
        (
            accepted(1.0, WHOLE),
            accepted(1.0, WHOLE),
            False,
            "in the 8 episodes both played yours is not surely better",
        ),
        (accepted(3.0, WHOLE), accepted(1.0, REST), False, "in different episodes, the two cannot be compared"),
    ],
)
def test_a_set_that_held_is_replaced_by_one_that_is_surely_better(
    mine: RuleTest, own: RuleTest, takes: bool, says: str, tmp_path: Path
) -> None:
    found = RulesFound((RuleProposal(own.rules, "model"),), own, own.rules, chosen=0)
    did, told = _takes_the_place(begun(tmp_path), found, mine)
    assert (did, says in told) == (takes, True), told
