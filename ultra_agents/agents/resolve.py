"""Stage 6 and what follows: the test, and what becomes of a suggestion."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.critic import NO_GAIN, may_revise, present, refuse, revise, suggestion_of
from ultra_agents.agents.state import Context, Row, State
from ultra_agents.agents.validity import INVALID
from ultra_agents.agents.wording import in_words, measured, result_row, suggestion_row
from ultra_agents.events import StepsSpent
from ultra_agents.records import Advice, Critique, Suggestion, TestResult
from ultra_agents.verification import refusal


def test(state: State, runtime: Runtime[Context]) -> Command[Literal["reflect", "accept", "advise", "reject"]]:
    """Measure the suggestion in the simulator; a refuted one goes back with the measurement while revisions are left.

    A refuted suggestion without revisions left, or that the critic had rejected as well, is not reflected on: nothing
    could come of it. Whatever was measured is kept as a trial, with the reward the critic gave before it knew.
    """
    context = runtime.context
    context.check()
    assert context.tester is not None, "the graph leads here only with a tester"
    suggestion = suggestion_of(state)
    result = context.tester(context.trajectory, suggestion)
    if result is None:
        return refuse("test", "test budget spent", in_words(suggestion))
    update: Row = {"env_steps": int(result.env_steps)}
    context.emit(StepsSpent("test", int(result.env_steps)))
    if result.stopped == "invalid":
        why = refusal(context.environment, context.trajectory, suggestion) or "not testable"
        return refuse("test", f"{INVALID}{why}", in_words(suggestion), update)
    if not math.isfinite(result.gain):
        return refuse("test", f"{INVALID}gain is not a number", in_words(suggestion), update)
    critique, critical = present(state["critique"]), state["critical"][state["current"]]
    trial: Row = {
        "suggestion": suggestion_row(suggestion),
        "result": result_row(result),
        "importance": critical["importance"],
        "reward": critique["reward"],
    }
    update |= {"test": trial["result"], "trials": [trial]}
    words = measured(suggestion, result)
    if not result.passed and (critique["verdict"] == "reject" or not may_revise(state, context)):
        return refuse("test", NO_GAIN, words, update)
    if context.reflects:
        return Command(goto="reflect", update=update)
    if result.passed:
        return Command(goto="accept", update=update)
    return revise(context, state, words, update)


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
        then=suggestion.then,
    )
    why = measured(suggestion, result) if result else critique.rationale
    context.decided(suggestion, "accept", why, state["test"])
    return _onward(state, {"advice": [advice.to_json()]})


def reject(state: State, runtime: Runtime[Context]) -> Command[Literal["advise", "finish"]]:
    """Count why nothing came of it, and go on to the next critical state."""
    context, refusal = runtime.context, present(state["refusal"])
    if state["suggestion"] is not None:
        context.decided(Suggestion(**state["suggestion"]), "reject", refusal["reason"], state["test"])
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
            "trials": state.get("trials", []),
        }
    }
