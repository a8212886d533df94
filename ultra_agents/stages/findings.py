"""What a run knows of its starting policy's episodes, growing stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from ultra_agents.contracts import Policy
from ultra_agents.effects import Effects, Event
from ultra_agents.records import HUMAN, Advice, Explanation, Narration, RuleProposal, Trajectory
from ultra_agents.stages.rounds import Round
from ultra_agents.verification import JointResult, RuleTest
from ultra_agents.verification.reward import RewardTest


@dataclass(frozen=True)
class Restoring:
    """Whether simulator states can be restored, bit by bit.

    Attributes:
        exact: They can.
        why: If not, who cannot do what, as the beginning of a sentence.
        env_steps: Environment steps of finding out; charged to nobody: they ask whether a plugin keeps its contract.
    """

    exact: bool
    why: str = ""
    env_steps: int = 0


@dataclass(frozen=True)
class JointOutcome(JointResult):
    """The joint test of a run (`stages.joint`).

    Attributes:
        rows: Rows that were tested together.
        decide: `verification.decide`, as the test was asked.
        imitated: The set was tested as the policy that imitates it, not as the table in force.
        advice: Episode and step of the rows kept.
        steps: Demonstrated steps that policy learnt from.
        agreement: As `Imitation.agreement`, of that policy.
    """

    rows: int = 0
    decide: str = "both"
    imitated: bool = False
    advice: tuple[tuple[int, int], ...] = ()
    steps: int = 0
    agreement: tuple[float, ...] = ()


@dataclass(frozen=True)
class Explained:
    """What the agents and the tests made of the segments.

    Attributes:
        explanations: One per segment, in order.
        joint: The joint test, where one ran.
        copy: The policy that it tested and kept, where the set was tested as imitated.
    """

    explanations: tuple[Explanation, ...] = ()
    joint: JointOutcome | None = None
    copy: Any = None  # a Policy; pydantic shall not look into it


@dataclass(frozen=True)
class Imitation:
    """What became of learning from demonstrations.

    Attributes:
        plans: Accepted suggestions replayed.
        steps: States they passed: the demonstrations.
        gain: Mean paired difference of return, the copy minus the policy; 0 where nothing was compared.
        low: Lower end of its interval.
        high: Upper end.
        pairs: Paired episodes.
        env_steps: Environment steps of replays and test.
        used: Refining starts from the copy.
        verdict: `holds`, `loses`, `no gain`, `undecided` or `not paid for`, of the copy against the policy; `untested`
            where nothing was compared, empty where nothing was imitated.
        headline: One line for a person.
        copy: The policy that learnt, where it is used.
        agreement: How nearly the policy and the copy do there what was demonstrated (`contracts.agreed`).
    """

    plans: int
    steps: int
    gain: float
    low: float
    high: float
    pairs: int
    env_steps: int
    used: bool
    headline: str
    copy: Any = None  # a Policy; pydantic shall not look into it
    verdict: str = ""
    agreement: tuple[float, ...] = ()


@dataclass(frozen=True)
class TableTest:
    """Whether the advice table may act in training (`stages.in_force`).

    Attributes:
        verdict: `holds`, `loses`, `no gain`, `undecided`, `not paid for`; `untested` where no test was asked for,
            `retired` where the table acts for nobody, `empty` without rows.
        acts: It is in force in training.
        reaches: By row, the distance in spreads of the features up to which it acts: 0 at its own state only, below 0
            nowhere. Empty: all as far as the calibrated radius, which nothing exceeds where the table was tested.
        gain: Mean paired difference of return per episode, the table in force minus the policy alone; 0 without pairs.
        low: Lower end of its interval.
        high: Upper end.
        pairs: Paired episodes.
        env_steps: Environment steps of both tests.
        rows: Rows of the table.
        neighbours: States around theirs at which rows were tested.
        stopped: Why the test in episodes stopped.
        headline: One line for a person.
    """

    verdict: str
    acts: bool
    reaches: tuple[float, ...] = ()
    gain: float = 0.0
    low: float = 0.0
    high: float = 0.0
    pairs: int = 0
    env_steps: int = 0
    rows: int = 0
    neighbours: int = 0
    stopped: str = ""
    headline: str = ""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    @property
    def acting(self) -> int:
        """Rows that may act somewhere."""
        return sum(radius >= 0 for radius in self.reaches)

    @property
    def words(self) -> str:
        """How far the rows reach."""
        further = sum(radius > 0 for radius in self.reaches)
        own, nowhere = self.acting - further, self.rows - self.acting
        reach = "row reaches beyond its own state" if further == 1 else "rows reach beyond their own state"
        others = f"{own} {'does' if own == 1 else 'do'} not"
        return f"{further} {reach}, {others}, {nowhere} {'acts' if nowhere == 1 else 'act'} nowhere"


@dataclass(frozen=True)
class MeasuredEffects:
    """What actions do and what preceded events, measured before anybody is asked.

    Attributes:
        text: What every agent is told of it; empty where nothing stood out.
        effects: What actions do; None where it could not be measured.
        events: What preceded events.
        env_steps: Environment steps it took.
    """

    text: str = ""
    effects: Effects | None = None
    events: tuple[Event, ...] = ()
    env_steps: int = 0


StartName: TypeAlias = Literal["policy", "copy", "policy+rules", "copy+rules"]


@dataclass(frozen=True)
class RulesFound:
    """The sets of rules that were proposed, and what the test left of the best.

    Attributes:
        proposals: In order.
        test: Of the acting ones; None where there was none, or nothing was tested.
        rules: What is left as YAML: the confirmed set, or what there is without a test; empty without any.
        reward_rank: Of runs of earlier versions: rank correlation of its implicit reward with the return over the
            collected episodes.
        headline: One line for a person.
        untested: The set is used without a test, as the configuration asks.
        chosen: Position of the proposal it came from; None without any.
        refused: A person said no to what held (`agents.approve`).
        reward: What the tests of its implicit reward found; None without one.
    """

    proposals: tuple[RuleProposal, ...] = ()
    test: RuleTest | None = None
    rules: str = ""
    reward_rank: float | None = None
    headline: str = ""
    untested: bool = False
    chosen: int | None = None
    refused: bool = False
    reward: RewardTest | None = None

    def refuse(self) -> RulesFound:
        """The same, to which a person said no: nothing of it acts."""
        return replace(self, refused=True, headline=f"refused by a person; {self.headline}")

    @property
    def held(self) -> bool:
        """There are rules that may act."""
        accepted = self.untested or (self.test is not None and self.test.verdict == "accepted")
        return accepted and not self.refused

    @property
    def rewards(self) -> bool:
        """An implicit reward may be used: no test of it, and no person, speaks against it."""
        if self.refused:
            return False
        if self.reward is not None:
            return self.reward.acts
        return self.reward_rank is None or self.reward_rank >= 0

    @property
    def by_person(self) -> bool:
        """The set that was chosen is a person's."""
        return self.chosen is not None and self.proposals[self.chosen].source == HUMAN

    @property
    def env_steps(self) -> int:
        """Environment steps of proposing and testing."""
        raced = None if self.reward is None else self.reward.race
        tests = [one.env_steps for one in (self.test, raced) if one is not None]
        return sum(one.env_steps for one in self.proposals) + sum(tests)


@dataclass(frozen=True)
class Start:
    """Where refining starts, of the four policies that rules make (`stages.start`).

    Attributes:
        chosen: Which.
        returns: Paired returns by entrant; none where nothing was compared.
        gains: Mean gain over the policy, and its interval's ends, by entrant.
        stopped: `good`, `pairs` (all were played) or `steps` (the budget was spent); empty where nothing was compared.
        labels: States the copy learnt from.
        agreement: How nearly the copies of earlier rounds did what the rules do, in the states of the next.
        imitating: Environment steps of the rounds.
        comparing: Environment steps of the comparison.
        headline: One line for a person.
        copy: The network to begin with, where it is not the starting policy itself.
    """

    chosen: StartName
    returns: dict[str, tuple[float, ...]] = field(default_factory=dict)
    gains: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    stopped: str = ""
    labels: int = 0
    agreement: tuple[float, ...] = ()
    imitating: int = 0
    comparing: int = 0
    headline: str = ""
    copy: Any = None  # a Policy; pydantic shall not look into it


@dataclass(frozen=True, eq=False)
class Findings:
    """What is known so far; every stage adds its part.

    Attributes:
        trajectories: The collected episodes.
        restoring: Whether their states can be restored.
        effects: What actions do there; empty where nobody is told.
        narrations: Their segments worth telling, in words.
        explained: What came of explaining those.
        advice: The rows of the advice table.
        measures: What the advice is worth.
        imitation: What became of imitating it.
        rounds: Further rounds of expert iteration.
        rules: What came of advice as rules.
        start: Where refining starts with them.
        table: Whether the table may act in training; None where nobody asked.
    """

    trajectories: Sequence[Trajectory]
    restoring: Restoring = Restoring(False)
    effects: MeasuredEffects = MeasuredEffects()
    narrations: Sequence[Narration] = ()
    explained: Explained = Explained()
    advice: Sequence[Advice] = ()
    measures: dict[str, Any] = field(default_factory=dict)
    imitation: Imitation | None = None
    rounds: tuple[Round, ...] = ()
    rules: RulesFound | None = None
    start: Start | None = None
    table: TableTest | None = None

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """One per segment."""
        return self.explained.explanations

    @property
    def copy(self) -> Policy | None:
        """The newest copy that learnt from advice and is used."""
        made = [one.copy for one in (self.imitation, *self.rounds) if one is not None and one.copy is not None]
        return made[-1] if made else None

    @property
    def explaining(self) -> int:
        """Environment steps of collecting, explaining and testing, moves and rules."""
        tested = sum(one.env_steps for one in self.explanations) + (0 if self.rules is None else self.rules.env_steps)
        return sum(map(len, self.trajectories)) + tested + self.effects.env_steps

    @property
    def imitating(self) -> int:
        """Environment steps of learning from advice, the first time."""
        return 0 if self.imitation is None else self.imitation.env_steps

    @property
    def iterating(self) -> int:
        """Environment steps of further rounds."""
        return sum(one.env_steps for one in self.rounds)

    @property
    def human_rule_steps(self) -> int:
        """Environment steps of testing a person's sets of rules."""
        sets = () if self.rules is None else self.rules.proposals
        return sum(each.env_steps for one in sets if one.source == HUMAN for each in one.attempts)

    def episode(self, index: int) -> Trajectory:
        """The episode `index`."""
        return next(one for one in self.trajectories if one.episode == index)

    @property
    def told(self) -> list[tuple[Trajectory, Narration]]:
        """Each narration with its episode."""
        by_episode = {one.episode: one for one in self.trajectories}
        return [(by_episode[one.segment.episode], one) for one in self.narrations]
