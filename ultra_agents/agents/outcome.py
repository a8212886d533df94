"""Stage 6 and what follows: the test, and what becomes of a suggestion."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.advisor import in_words
from ultra_agents.agents.critic import NO_GAIN, may_revise, present, refuse, revise, suggestion_of
from ultra_agents.agents.state import Context, Row, State
from ultra_agents.records import Advice, Critique, Suggestion, TestResult


def test(state: State, runtime: Runtime[Context]) -> Command[Literal["reflect", "accept", "advise", "reject"]]:
    """Measure the suggestion in the simulator; a refuted one goes back with the measurement while revisions are left.

    A refuted suggestion without revisions left, or that the critic had rejected as well, is not reflected on: nothing
    could come of it.
    """
    context = runtime.context
    context.check()
    assert context.tester is not None, "the graph leads here only with a tester"
    suggestion = suggestion_of(state)
    result = context.tester(context.trajectory, suggestion)
    if result is None:
        return refuse("test", "test budget spent", in_words(suggestion))
    update: Row = {"test": _plain(result), "env_steps": int(result.env_steps)}
    hopeless = present(state["critique"])["verdict"] == "reject" or not may_revise(state, context)
    if not result.passed and hopeless:
        return refuse("test", NO_GAIN, result.in_words(), update)
    if context.reflects:
        return Command(goto="reflect", update=update)
    if result.passed:
        return Command(goto="accept", update=update)
    return revise(context, state, result.in_words(), update)


def _plain(result: TestResult) -> Row:
    """The result in JSON types; testers compute with numpy's."""
    gain, low, high = (float(value) for value in (result.gain, result.low, result.high))
    pairs, env_steps = int(result.pairs), int(result.env_steps)
    return asdict(TestResult(gain, low, high, pairs, env_steps, bool(result.passed), str(result.stopped)))


def accept(state: State, runtime: Runtime[Context]) -> Command[Literal["advise", "finish"]]:
    """Write the row of advice, and go on to the next critical state."""
    context, suggestion = runtime.context, suggestion_of(state)
    critical, critique = state["critical"][state["current"]], Critique(**present(state["critique"]))
    result = TestResult(**state["test"]) if state["test"] else None
    advice = Advice(
        episode=suggestion.episode,
        step=suggestion.step,
        action=suggestion.action,
        hold=suggestion.hold,
        reward=critique.reward,
        taken_action=context.taken(suggestion.step),
        taken_reward=critique.taken_reward,
        rationale=critical["rationale"],
        advice=suggestion.rationale,
        critique=critique.rationale,
        importance=critical["importance"],
        source=context.source,
        test=result,
    )
    why = result.in_words() if result else critique.rationale
    context.decided(suggestion, "accept", why, result.gain if result else None)
    return _onward(state, {"advice": [advice.to_json()]})


def reject(state: State, runtime: Runtime[Context]) -> Command[Literal["advise", "finish"]]:
    """Count why nothing came of it, and go on to the next critical state."""
    context, refusal = runtime.context, present(state["refusal"])
    if state["suggestion"] is not None:
        measured = state["test"]
        context.decided(
            Suggestion(**state["suggestion"]),
            "reject",
            refusal["reason"],
            measured["gain"] if measured else None,
        )
    return _onward(state, {"drops": [context.dropped(**refusal)]})


def _onward(state: State, update: Row) -> Command[Literal["advise", "finish"]]:
    following = state["current"] + 1
    goto: Literal["advise", "finish"] = "advise" if following < len(state["critical"]) else "finish"
    clean: Row = {
        "current": following,
        "suggestion": None,
        "tried": [],
        "feedback": "",
        "critique": None,
        "test": None,
    }
    return Command(goto=goto, update={**update, **clean, "refusal": None})


def finish(state: State, runtime: Runtime[Context]) -> State:
    """Sum the segment up."""
    segment = runtime.context.narration.segment
    return {
        "explanation": {
            "segment": asdict(segment),
            "critical": state["critical"],
            "proposed": state["proposed"],
            "advice": state["advice"],
            "drops": state["drops"],
            "env_steps": state["env_steps"],
        }
    }
