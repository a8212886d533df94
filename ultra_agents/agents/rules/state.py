"""What one episode's state machine remembers on its way to a set of rules, and what its nodes work with.

The state is checkpointed after every node and therefore holds JSON values only; what cannot be stored (the episodes,
the models, the simulator) is the context, given anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import add
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeAlias, TypedDict

import numpy as np
from pydantic import TypeAdapter

from ultra_agents.agents.state import AsksModels, JSONObject, Role
from ultra_agents.config import AgentConfig, AgentsConfig, NarrationConfig
from ultra_agents.contracts import Environment, Policy
from ultra_agents.errors import Interrupted
from ultra_agents.events import Dropped, Emit, RulesDecided
from ultra_agents.records import FloatArray, RuleAttempt, RuleProposal, RuleTrial, Situation, Trajectory
from ultra_agents.rules import Interface, RuleSet, parse_rules
from ultra_agents.rules.layer import RulePolicy

if TYPE_CHECKING:
    from ultra_agents.agents.tools.toolbox import Toolbox

Form: TypeAlias = Literal["text", "atoms"]
"""How a model writes rules."""

SITUATIONS: TypeAdapter[tuple[Situation, ...]] = TypeAdapter(tuple[Situation, ...])
ATTEMPTS: TypeAdapter[tuple[RuleAttempt, ...]] = TypeAdapter(tuple[RuleAttempt, ...])
PROPOSAL: TypeAdapter[RuleProposal] = TypeAdapter(RuleProposal)


class TriesRules(Protocol):
    """The short test of a set of rules (`verification.trials.RuleTrials`); called from several threads."""

    def try_out(self, rules: RuleSet, episode: int) -> RuleTrial | None:
        """Test a set that came of collected episode `episode`; None where nothing may be spent."""
        ...


class State(TypedDict, total=False):
    """One episode on its way through the agents.

    Keys:
        fingerprint: What the conversation depends on; a checkpoint of another one is not used.
        opening: The message every question begins with.
        situations: `Situation`s, as the identifier named them.
        attempts: `RuleAttempt`s so far; the last one is being judged.
        refused: `[what was said, why it cannot be used]` of the present node's questions so far.
        notes: `Note`s so far.
        env_steps: Environment steps spent so far.
        tool_calls, tool_steps: Calls of tools so far, and what they took of `env_steps`.
        alone_steps: Those of the policy alone, which all episodes share; 0 where nothing was played.
        proposal: The end result; there when the episode is finished.
    """

    fingerprint: str
    opening: str
    situations: list[JSONObject]
    attempts: list[JSONObject]
    refused: list[list[str]]
    notes: Annotated[list[JSONObject], add]
    env_steps: Annotated[int, add]
    tool_calls: Annotated[int, add]
    tool_steps: Annotated[int, add]
    alone_steps: int
    proposal: JSONObject | None


def attempts_of(state: State) -> tuple[RuleAttempt, ...]:
    """The attempts so far."""
    return ATTEMPTS.validate_python(state["attempts"])


def work_on(state: State) -> str:
    """Names the work on the last set that was written, within its episode, whichever process does it."""
    return f"{len(state['attempts'])}/{len(state['refused'])}"


def with_attempts(attempts: Sequence[RuleAttempt]) -> State:
    """The update that keeps these attempts."""
    return {"attempts": ATTEMPTS.dump_python(tuple(attempts), mode="json")}


def with_last(state: State, attempt: RuleAttempt) -> State:
    """The update that puts `attempt` in the place of the one being judged, the last."""
    return with_attempts((*attempts_of(state)[:-1], attempt))


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the nodes work with.

    Attributes:
        trajectory: The episode that this state machine is about.
        trajectories: All collected episodes, this one among them.
        thresholds: By quantity, its quantiles in these episodes; those without any value are left out.
        environment: Brief, quantities, actions.
        interface: What rules may speak of and decide there.
        policy: What rules are in force over.
        opening: The message every question begins with.
        shown: Episodes of which stretches are told in it.
        gateway: The models.
        form: How they write rules.
        agents: Numbers and models of the agents.
        narration: Token budgets.
        mode: `verification.mode`.
        tester: The short test, where there is one.
        spent: Told of each short test, and of the name of that piece of work.
        emit: Where events go.
        source: Who proposes, as the proposal says it.
        stop: Asked before each node; true ends the episode there, resumably.
        tools: What models that call tools may call; None where they may call none.
        tuned: The constants of what is written are tuned afterwards.
    """

    trajectory: Trajectory
    trajectories: Sequence[Trajectory]
    thresholds: dict[str, list[float]]
    environment: Environment
    interface: Interface
    policy: Policy
    opening: str
    shown: tuple[int, ...]
    gateway: AsksModels
    form: Form
    agents: AgentsConfig
    narration: NarrationConfig
    mode: str
    tester: TriesRules | None
    spent: Callable[[RuleTrial, str], None]
    emit: Emit
    source: str
    stop: Callable[[], bool]
    tools: Toolbox | None = None
    tuned: bool = False

    @property
    def episode(self) -> int:
        """Number of the episode."""
        return self.trajectory.episode

    @property
    def simulates(self) -> bool:
        """Sets are tested in the simulator, and the measurement decides."""
        return self.tester is not None and self.mode in ("simulate", "both")

    @property
    def reflects(self) -> bool:
        """The critic reads its own verdict again."""
        return self.mode in ("reflect", "both")

    def check(self) -> None:
        """Raise `Interrupted` if the run is to stop; nothing is lost."""
        if self.stop():
            raise Interrupted("stopped while rules were written", hint="run the same command again to go on")

    def about(self, attempt: int = 0) -> str:
        """What a question is about, for transcript and screens: `2:rules`, of a later attempt `2:rules-1`."""
        return f"{self.episode}:rules{f'-{attempt}' if attempt else ''}"

    def chain(self, role: Role) -> list[str]:
        """Names of the models to ask in turn; none: the first of all. Members of a panel stand in for each other."""
        agent: AgentConfig = getattr(self.agents, role)
        return list(agent.names)

    def may_revise(self, state: State) -> bool:
        """The last attempt may go back to the advisor."""
        return sum(not one.refusal for one in attempts_of(state)) <= self.agents.max_revisions

    def parsed(self, text: str) -> RuleSet:
        """The rules of a text; raises `RuleError`."""
        return parse_rules(text, self.interface)

    def acting(self, rules: RuleSet) -> tuple[FloatArray, float]:
        """In the states of all collected episodes: the share in which each rule acts, and where any changes something.

        Costs no environment step.
        """
        layer = RulePolicy(self.policy, rules, self.environment)
        acted, changed = [], []
        for one in self.trajectories:
            acted.append(layer.decide(one.observations, one.actions).rule)
            changed.append(layer.differs(one.observations, one.actions))
        which = np.concatenate(acted)
        shares = np.array([np.mean(which == rule) for rule in range(len(rules.document.rules))])
        return shares, float(np.mean(np.concatenate(changed)))

    def decided(self, state: State, attempt: RuleAttempt, decision: str, reason: str) -> None:
        """Tell what became of the last attempt: `accept`, `revise` or `reject`."""
        number = len(attempts_of(state))
        rules = len(self.parsed(attempt.text).document.rules)
        spread = attempt.gain, attempt.low, attempt.high, attempt.pairs
        self.emit(RulesDecided(self.about(), number, rules, decision, reason, *spread, str(number)))

    def noted(self, stage: str, reason: str, detail: str = "", *, work: str) -> JSONObject:
        """Tell that something was not used; the `Note` for the state. `work` names it within the episode."""
        self.emit(Dropped(stage, reason, self.about(), detail, work))
        return {"stage": stage, "reason": reason, "detail": detail}
