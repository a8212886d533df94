"""What one segment's state machine remembers, and what its nodes work with.

The state is checkpointed after every node and therefore holds JSON values only; what cannot be stored (the episode,
the models, the simulator) is the context, given anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import add
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias, TypedDict

from pydantic import BaseModel, TypeAdapter

from ultra_agents.config import AgentConfig, AgentsConfig, VerificationConfig
from ultra_agents.contracts import Environment
from ultra_agents.errors import Interrupted
from ultra_agents.events import AdviceDecided, Dropped, Emit
from ultra_agents.narration import step_line
from ultra_agents.narration.outcomes import next_event
from ultra_agents.plugin_calls import action_word
from ultra_agents.records import (
    Attempt,
    CriticalState,
    Explanation,
    Narration,
    Note,
    Plan,
    Searched,
    Suggestion,
    TestResult,
    Trajectory,
)

if TYPE_CHECKING:
    from ultra_agents.agents.goal_terms import Goals
    from ultra_agents.agents.tools.toolbox import Toolbox

JSONObject: TypeAlias = dict[str, Any]
"""A record in JSON types."""
Role: TypeAlias = Literal["identifier", "advisor", "critic"]

STATES: TypeAdapter[tuple[CriticalState, ...]] = TypeAdapter(tuple[CriticalState, ...])
NOTES: TypeAdapter[tuple[Note, ...]] = TypeAdapter(tuple[Note, ...])
EXPLANATION: TypeAdapter[Explanation] = TypeAdapter(Explanation)


class Answer(Protocol):
    """A reply of a model, validated."""

    @property
    def value(self) -> Any:
        """An instance of the reply model asked for."""
        ...


class AsksModels(Protocol):
    """What agents need of the gateway (`ultra_agents.llm.gateway.Gateway`)."""

    def ask(
        self,
        *,
        agent: str,
        segment: str,
        models: Sequence[str],
        messages: list[tuple[str, str]],
        reply: type[BaseModel],
        step: int | None = None,
    ) -> Answer:
        """Ask the first of `models` that answers (none named: the first of all), about `step` of the segment.

        Raises:
            ReplyDropped: There is no reply that can be used.
        """
        ...


class Tester(Protocol):
    """The counterfactual test, provided by the pipeline; called from several threads."""

    def __call__(
        self, trajectory: Trajectory, suggestion: Suggestion, earlier: Sequence[Plan] = ()
    ) -> TestResult | None:
        """Test one suggestion, after the plans tested at its state `earlier`; None once the budget is spent."""
        ...


class Refines(Protocol):
    """The search around a suggestion, provided by the pipeline; called from several threads."""

    def __call__(self, trajectory: Trajectory, suggestion: Suggestion) -> Searched:
        """The suggestion as it was, or with better holds and torques."""
        ...


class State(TypedDict, total=False):
    """One segment on its way through the agents.

    Keys:
        fingerprint: What the conversation depends on; a checkpoint of another one is not used.
        opening: The message every question begins with.
        segment, source: Of the `Explanation` that is being made.
        states: `CriticalState`s in the identifier's order, each with its case so far.
        current: Index in `states` of the one being advised; the last of its attempts is the one being judged.
        notes: `Note`s so far.
        env_steps: Environment steps spent so far.
        tool_calls, tool_steps: Calls of tools so far, and what they took of `env_steps`.
        explanation: The end result; there when the segment is finished.
    """

    fingerprint: str
    opening: str
    segment: JSONObject
    source: str
    states: list[JSONObject]
    current: int
    notes: Annotated[list[JSONObject], add]
    env_steps: Annotated[int, add]
    tool_calls: Annotated[int, add]
    tool_steps: Annotated[int, add]
    explanation: JSONObject | None


def case_of(state: State) -> CriticalState:
    """The critical state being advised."""
    return STATES.validate_python(state["states"])[state["current"]]


def work_on(case: CriticalState) -> str:
    """Names the work on the last attempt of a case, within its segment, whichever process does it."""
    return f"{case.step}/{len(case.attempts)}"


def with_case(state: State, case: CriticalState) -> State:
    """The update that puts `case` in the place of the critical state being advised."""
    states = list(STATES.validate_python(state["states"]))
    states[state["current"]] = case
    return {"states": STATES.dump_python(tuple(states), mode="json")}


def with_attempt(case: CriticalState, attempt: Attempt) -> CriticalState:
    """The case with `attempt` in the place of the one being judged, its last."""
    return replace(case, attempts=(*case.attempts[:-1], attempt))


@dataclass(frozen=True)
class Context:
    """What the nodes work with.

    Attributes:
        trajectory: The episode.
        narration: The segment in words.
        environment: Brief, describer, action names.
        gateway: The models.
        agents: Numbers and models of the agents.
        verification: How suggestions are verified.
        tester: The simulator test, where there is one.
        emit: Where events go.
        source: Who proposes, as the explanation says it.
        stop: Asked before each node; true ends the segment there, resumably.
        effects: What actions do, as every agent is told; empty where it was not measured.
        tools: What models that call tools may call; None where they may call none.
        refines: The search around a suggestion before its test; None tests suggestions as they are.
        goals: What goals may be about and the search for them, where advice is goals.
    """

    trajectory: Trajectory
    narration: Narration
    environment: Environment
    gateway: AsksModels
    agents: AgentsConfig
    verification: VerificationConfig
    tester: Tester | None
    emit: Emit
    source: str
    stop: Callable[[], bool]
    effects: str = ""
    tools: Toolbox | None = None
    refines: Refines | None = None
    goals: Goals | None = None

    @property
    def segment(self) -> str:
        """Name of the segment."""
        return self.narration.segment.name

    @property
    def simulates(self) -> bool:
        """Suggestions are tested in the simulator, and the measurement decides."""
        return self.tester is not None and self.verification.simulates

    @property
    def reflects(self) -> bool:
        """The critic reads its own verdict again."""
        return self.verification.mode in ("reflect", "both")

    @property
    def rewards_only(self) -> bool:
        """The critic is asked for rewards alone, after the test, of what held; the simulator decides."""
        return self.simulates and self.agents.critic.asks == "rewards"

    def check(self) -> None:
        """Raise `Interrupted` if the run is to stop; nothing is lost."""
        if self.stop():
            raise Interrupted("stopped while explaining", hint="run the same command again to go on")

    def chain(self, role: Role) -> list[str]:
        """Names of the models to ask in turn; none: the first of all."""
        agent: AgentConfig = getattr(self.agents, role)
        return [name for name in (agent.llm, *agent.fallback) if name is not None]

    def suggestion(self, case: CriticalState) -> Suggestion:
        """What is being judged: the last attempt of `case`."""
        return Suggestion(self.narration.segment.episode, case.step, case.attempts[-1].plan)

    def taken(self, step: int) -> str:
        """Name of the action the policy took at `step`."""
        return action_word(self.environment, self.trajectory, step)

    def situation(self, step: int) -> str:
        """The step as the narration tells it."""
        return step_line(self.trajectory, step, self.environment)

    def outcome(self, step: int) -> str:
        """What `step` led to, in words: the next distinct reward of the episode, or else its end if it terminated.

        Empty where there is neither: rewards are dense, and the time limit or nobody ended the episode.
        """
        trajectory = self.trajectory
        later, what = next_event(trajectory, step), ""
        if later is not None:
            what = f"reward {trajectory.rewards[later]:+g}"
        elif trajectory.terminated:
            later, what = len(trajectory) - 1, "the episode terminated"
        if later is None:
            return ""
        far = later - step
        when = "at this step" if far == 0 else f"{far} {'step' if far == 1 else 'steps'} later"
        beyond = ", after this stretch" if later >= self.narration.segment.stop else ""
        return f"What followed: {what} {when}{beyond}."

    def decided(self, case: CriticalState, decision: str, reason: str) -> None:
        """Tell what became of the last attempt of `case`: `accept`, `revise` or `reject`."""
        attempt = case.attempts[-1]
        plan, test = attempt.plan, attempt.test
        what = plan.actions if attempt.goal is None else str(attempt.goal)
        gain, low, high, pairs = (
            (None, None, None, 0) if test is None else (test.gain, test.low, test.high, test.pairs)
        )
        spread = gain, low, high, pairs, work_on(case)
        self.emit(AdviceDecided(self.segment, case.step, what, plan.steps, decision, reason, *spread))

    def left(self, case: CriticalState) -> None:
        """Tell that the advisor would leave a case as it is."""
        taken, work = self.taken(case.step), f"{case.step}/left"
        self.emit(AdviceDecided(self.segment, case.step, taken, 0, "leave", case.reason, work=work))

    def noted(self, stage: str, reason: str, detail: str = "", *, work: str) -> JSONObject:
        """Tell that something was not used; the `Note` for the state. `work` names it within the segment."""
        self.emit(Dropped(stage, reason, self.segment, detail, work))
        return {"stage": stage, "reason": reason, "detail": detail}
