"""The state machine of one segment: stages 2-6 as a table of nodes; their `Command[Literal[...]]`s are the edges."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeAlias

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents import resolve
from ultra_agents.agents.advisor import advise
from ultra_agents.agents.critic import criticise, reflect
from ultra_agents.agents.identifier import identify
from ultra_agents.agents.prompts import opening
from ultra_agents.agents.state import Context, State

Graph: TypeAlias = CompiledStateGraph[State, Context, State, State]


class Node(Protocol):
    """A stage: reads the state, says what changes and where to go."""

    def __call__(self, state: State, runtime: Runtime[Context]) -> Any:
        """Do the work of the stage."""
        ...


@dataclass(frozen=True)
class Roles:
    """The three nodes that decide; the controls put their own here, so that everything else is the same for all."""

    identify: Node = identify
    advise: Node = advise
    criticise: Node = criticise


def narrate(state: State, runtime: Runtime[Context]) -> Command[Literal["identify"]]:
    """Put the brief and the narration into the message with which every question about this segment begins."""
    context = runtime.context
    fresh: State = {
        "opening": opening(context.environment.brief, context.narration.text, context.effects),
        "segment": asdict(context.narration.segment),
        "source": context.source,
        "states": [],
        "current": 0,
        "explanation": None,
    }
    return Command(goto="identify", update=fresh)


def build_graph(checkpointer: BaseCheckpointSaver[Any] | None = None, roles: Roles | None = None) -> Graph:
    """The compiled state machine; `checkpointer` remembers each segment after every node."""
    roles = roles or Roles()
    nodes: dict[str, Node] = {
        "narrate": narrate,
        "identify": roles.identify,
        "advise": roles.advise,
        "criticise": roles.criticise,
        "test": resolve.test,
        "reflect": reflect,
        "accept": resolve.accept,
        "reject": resolve.reject,
        "finish": resolve.finish,
    }
    graph = StateGraph(State, context_schema=Context)
    for name, node in nodes.items():
        graph.add_node(name, node)
    graph.add_edge(START, "narrate")
    graph.add_edge("finish", END)
    return graph.compile(checkpointer=checkpointer)
