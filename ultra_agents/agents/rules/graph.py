"""The state machine of one episode, for rules, as a table of nodes; their `Command[Literal[...]]`s are the edges."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.rules import resolve
from ultra_agents.agents.rules.advisor import advise
from ultra_agents.agents.rules.critic import criticise, reflect
from ultra_agents.agents.rules.identifier import identify
from ultra_agents.agents.rules.state import Context, State

Graph: TypeAlias = CompiledStateGraph[State, Context, State, State]


def narrate(state: State, runtime: Runtime[Context]) -> Command[Literal["identify"]]:
    """Begin with the message that every question about this episode begins with."""
    fresh: State = {
        "opening": runtime.context.opening,
        "situations": [],
        "attempts": [],
        "refused": [],
        "alone_steps": 0,
        "proposal": None,
    }
    return Command(goto="identify", update=fresh)


def build_graph(checkpointer: BaseCheckpointSaver[Any] | None = None) -> Graph:
    """The compiled state machine; `checkpointer` remembers each episode after every node."""
    graph = StateGraph(State, context_schema=Context)
    graph.add_node("narrate", narrate)
    graph.add_node("identify", identify)
    graph.add_node("advise", advise)
    graph.add_node("criticise", criticise)
    graph.add_node("test", resolve.test)
    graph.add_node("reflect", reflect)
    graph.add_node("finish", resolve.finish)
    graph.add_edge(START, "narrate")
    graph.add_edge("finish", END)
    return graph.compile(checkpointer=checkpointer)
