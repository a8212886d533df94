"""A person's word on what held in the test, before it is used: one LangGraph interrupt for each suggestion.

The question that waits is in the agents' checkpoint with every answer given so far: a run that is stopped there goes
on at that question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from ultra_agents.agents.checkpoint import CheckpointPlace, open_checkpoint, thread_of
from ultra_agents.agents.running import digest
from ultra_agents.errors import ApprovalNeeded

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

Said: TypeAlias = Literal["yes", "no", "all", "none"]
"""`all` and `none` are about this question and those after it."""
Question: TypeAlias = tuple[str, str]
"""What it is about, `EPISODE:STEP` or `rules`, and what a person is told."""


class State(TypedDict):
    """Keys: the questions, and the answers to the first of them."""

    questions: list[list[str]]
    answers: list[bool]


def ask(state: State) -> Command[Literal["ask", "__end__"]]:
    """Wait for the answer to the next question."""
    questions, answers = state["questions"], state["answers"]
    if len(answers) == len(questions):
        return Command(goto="__end__")
    said: Said = interrupt(len(answers))
    rest = len(questions) - len(answers) if said in ("all", "none") else 1
    return Command(goto="ask", update={"answers": [*answers, *[said in ("yes", "all")] * rest]})


def approved(
    place: CheckpointPlace, questions: Sequence[Question], answer: Callable[[Question, int], Said | None]
) -> list[bool]:
    """The answer to each question; those of an earlier part of the run are not asked again.

    Args:
        place: The agents' checkpoint.
        questions: What is asked, in order.
        answer: Given a question and how many come after it, what a person says; None says nothing yet.

    Raises:
        ApprovalNeeded: There is no answer yet; it holds the questions.
        RunError: The checkpoint cannot be used.
    """
    asked = [list(one) for one in questions]
    thread = thread_of(place, f"approve {digest(asked)}")
    config: RunnableConfig = {"configurable": {"thread_id": thread}, "recursion_limit": len(asked) + 5}
    with open_checkpoint(place) as saver:
        graph: Any = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile(checkpointer=saver)
        if not graph.get_state(config).values:
            graph.invoke({"questions": asked, "answers": []}, config, durability="sync")
        while (known := graph.get_state(config)).next:
            done = len(known.values["answers"])
            said = answer(questions[done], len(asked) - done - 1)
            if said is None:
                left = [one for one, _ in questions[done:]]
                raise ApprovalNeeded(
                    f"{len(left)} of {len(asked)} suggestions that held wait for a person's word",
                    questions=tuple(questions),
                    found=f"agents.approve; waiting: {', '.join(left[:8])}{', ...' if len(left) > 8 else ''}",
                )
            graph.invoke(Command(resume=said), config, durability="sync")
        answers: list[bool] = known.values["answers"]
        return answers
