"""What one segment's state machine remembers, and what its nodes work with.

The state is checkpointed after every node and therefore holds JSON values only; what cannot be stored (the episode,
the models, the simulator) is the context, given anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import add
from typing import Annotated, Any, Literal, Protocol, TypeAlias, TypedDict

from pydantic import BaseModel

from ultra_agents.config import AgentConfig, AgentsConfig, VerificationConfig
from ultra_agents.contracts import Environment
from ultra_agents.errors import Interrupted
from ultra_agents.events import AdviceDecided, Dropped, Emit
from ultra_agents.narration.describe import step_line
from ultra_agents.narration.rewards import reward_events
from ultra_agents.plugin_calls import action_word
from ultra_agents.records import Drop, Narration, Suggestion, TestResult, Trajectory

Row: TypeAlias = dict[str, Any]
"""A record as `dataclasses.asdict` makes it."""
Role: TypeAlias = Literal["identifier", "advisor", "critic"]


class Answer(Protocol):
    """A reply of a model, validated."""

    @property
    def value(self) -> Any:
        """An instance of the reply model asked for."""
        ...


class Asks(Protocol):
    """What agents need of the gateway (`ultra_agents.llm.gateway.Gateway`)."""

    def ask(
        self,
        *,
        agent: str,
        segment: str,
        models: Sequence[str],
        messages: list[tuple[str, str]],
        reply: type[BaseModel],
    ) -> Answer:
        """Ask the first of `models` that answers (none named: the first of all).

        Raises:
            ReplyDropped: There is no reply that can be used.
        """
        ...


class Tester(Protocol):
    """The counterfactual test, provided by the pipeline; called from several threads."""

    def __call__(self, trajectory: Trajectory, suggestion: Suggestion) -> TestResult | None:
        """Test one suggestion; None once the budget for tests is spent."""
        ...


class State(TypedDict, total=False):
    """One segment on its way through the agents.

    Keys:
        fingerprint: What the conversation depends on; a checkpoint of another one is not used.
        opening: The message every question begins with.
        critical: `CriticalState`s, in the identifier's order.
        current: Index in `critical` of the state being advised.
        suggestion: The `Suggestion` being judged.
        tried: The plan, `[[action, hold], ...]`, of every suggestion made for the current state.
        feedback: Why the suggestions before came back.
        critique: The `Critique` of `suggestion`.
        test: The `TestResult` of `suggestion`, once tested.
        refusal: Why `suggestion` is about to be dropped: `stage`, `reason`, `detail`.
        proposed, env_steps: Totals.
        advice, drops, trials: `Advice`, `Drop` and `Trial` rows so far.
        explanation: The end result; there when the segment is finished.
    """

    fingerprint: str
    opening: str
    critical: list[Row]
    current: int
    suggestion: Row | None
    tried: list[list[Any]]
    feedback: str
    critique: Row | None
    test: Row | None
    refusal: Row | None
    proposed: Annotated[int, add]
    env_steps: Annotated[int, add]
    advice: Annotated[list[Row], add]
    drops: Annotated[list[Row], add]
    trials: Annotated[list[Row], add]
    explanation: Row | None


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
        source: Written into advice: who proposed it.
        stop: Asked before each node; true ends the segment there, resumably.
    """

    trajectory: Trajectory
    narration: Narration
    environment: Environment
    gateway: Asks
    agents: AgentsConfig
    verification: VerificationConfig
    tester: Tester | None
    emit: Emit
    source: str
    stop: Callable[[], bool]

    @property
    def segment(self) -> str:
        """Name of the segment."""
        return self.narration.segment.name

    @property
    def simulates(self) -> bool:
        """Suggestions are tested in the simulator, and the measurement decides."""
        return self.tester is not None and self.verification.mode in ("simulate", "both")

    @property
    def reflects(self) -> bool:
        """The critic reads its own verdict again."""
        return self.verification.mode in ("reflect", "both")

    def check(self) -> None:
        """Raise `Interrupted` if the run is to stop; nothing is lost."""
        if self.stop():
            raise Interrupted("stopped while explaining", hint="run the same command again to go on")

    def chain(self, role: Role) -> list[str]:
        """Names of the models to ask in turn; none: the first of all."""
        agent: AgentConfig = getattr(self.agents, role)
        return [name for name in (agent.llm, *agent.fallback) if name is not None]

    def taken(self, step: int) -> str:
        """Name of the action the policy took at `step`."""
        return action_word(self.environment, self.trajectory, step)

    def situation(self, step: int) -> str:
        """The step as the narration tells it."""
        return step_line(self.trajectory, step, self.environment)

    def outcome(self, step: int) -> str:
        """The next distinct reward after `step` within the segment, in words; empty where there is none."""
        rewards, stop = self.trajectory.rewards, self.narration.segment.stop
        events = reward_events(rewards)
        for later in range(step, stop):
            if events[later]:
                when = "at this step" if later == step else f"{later - step} steps later"
                return f"What followed: reward {rewards[later]:+g} {when}."
        return ""

    def decided(self, suggestion: Suggestion, decision: str, reason: str, test: Row | None) -> None:
        """Tell what became of a suggestion: `accept`, `revise` or `reject`; `test` is its `TestResult`, if any."""
        action = " then ".join(name for name, _ in suggestion.moves)
        hold = sum(steps for _, steps in suggestion.moves)
        found = test or {}
        gain, low, high, pairs = (found.get(name) for name in ("gain", "low", "high", "pairs"))
        self.emit(
            AdviceDecided(self.segment, suggestion.step, action, hold, decision, reason, gain, low, high, pairs or 0)
        )

    def dropped(self, stage: str, reason: str, detail: str = "") -> Row:
        """Tell that something was not used; the row for the state."""
        drop = Drop(stage, reason, self.segment, detail)
        self.emit(Dropped(drop.stage, drop.reason, drop.segment, drop.detail))
        return {"stage": stage, "reason": reason, "segment": self.segment, "detail": detail}
