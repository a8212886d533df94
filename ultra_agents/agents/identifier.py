"""Stage 3: which states of the segment were critical (ULTRA section 3, identification).

Critical states are those where the agent's action has a significant effect on its ability to maximise future reward.
The model analyses cases from the episode: what happened, why, what else could have been done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.prompts import load_prompt
from ultra_agents.agents.schemas import Case, identifier_reply
from ultra_agents.agents.state import Context, Row, State
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import CriticalState


def identify(state: State, runtime: Runtime[Context]) -> Command[Literal["advise", "finish"]]:
    """Ask for the critical states; a step named twice counts once."""
    context = runtime.context
    context.check()
    agents, steps = context.agents, context.narration.steps
    ask = load_prompt("identifier").fill(max_critical=agents.max_critical, steps=", ".join(map(str, steps)))
    try:
        answer = context.gateway.ask(
            agent="identifier",
            segment=context.segment,
            models=context.chain("identifier"),
            messages=[("system", state["opening"]), *ask],
            reply=identifier_reply(steps, agents.max_critical),
        )
    except ReplyDropped as problem:
        return Command(goto="finish", update={"drops": [context.dropped("identify", problem.reason, problem.detail)]})
    return named(context, answer.value.cases)


def named(context: Context, cases: Sequence[Case]) -> Command[Literal["advise", "finish"]]:
    """Take the cases over; there may be none."""
    critical: list[Row] = []
    drops: list[Row] = []
    for case in cases:
        if any(case.step == other["step"] for other in critical):
            drops.append(context.dropped("identify", "step named twice", f"step {case.step}"))
            continue
        found = CriticalState(
            episode=context.narration.segment.episode,
            step=case.step,
            rationale=case.case_analysis,
            importance=float(case.importance),
        )
        critical.append(asdict(found))
    goto: Literal["advise", "finish"] = "advise" if critical else "finish"
    return Command(goto=goto, update={"critical": critical, "current": 0, "drops": drops})
