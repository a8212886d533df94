"""Stage 6 for rules: the short test, and which of the sets is proposed."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.rules.critic import REJECTED, decided_by_critic, with_reward
from ultra_agents.agents.rules.state import PROPOSAL, SITUATIONS, Context, State, attempts_of, with_last, work_on
from ultra_agents.agents.rules.wording import feedback_on, measured
from ultra_agents.agents.state import NOTES, JSONObject
from ultra_agents.records import RuleAttempt, RuleProposal

HARMFUL = "loses in simulation"


def test(state: State, runtime: Runtime[Context]) -> Command[Literal["reflect", "advise", "finish"]]:
    """Measure the set in a few episodes; it goes back with the measurement while revisions are left.

    One that gained goes back only where `agents.improve` asks for something better still. A set that the critic
    rejected is measured, but not revised unless the measurement speaks for it.
    """
    context = runtime.context
    context.check()
    assert context.tester is not None, "the graph leads here only with a tester"
    attempt = attempts_of(state)[-1]
    trial = context.tester.try_out(context.parsed(attempt.text), context.episode)
    if trial is None:
        note = context.noted("test", "test budget spent", work=work_on(state))
        return decided_by_critic(state, context, attempt, {"notes": [note]})
    context.spent(trial, f"{context.about()} {work_on(state)}")
    budget = context.narration.token_budget // (1 if context.form == "text" else 4)
    words = feedback_on(trial, context.environment, context.interface, context.narration, budget)
    attempt = replace(
        attempt, gain=trial.gain, low=trial.low, high=trial.high, pairs=trial.pairs, coverage=trial.coverage,
        env_steps=trial.env_steps, feedback=words,
    )  # fmt: skip
    update: State = {
        **with_last(state, attempt),
        "env_steps": trial.env_steps,
        "alone_steps": trial.alone_steps,
    }
    again = context.may_revise(state) and (trial.passed or attempt.verdict != "reject")
    if context.reflects and (again or trial.passed):
        return Command(goto="reflect", update=update)
    if again and (not trial.passed or context.agents.improve):
        context.decided(state, attempt, "revise", measured(trial))
        return Command(goto="advise", update=update)
    return Command(goto="finish", update=update)


def finish(state: State, runtime: Runtime[Context]) -> State:
    """Propose the best set: by measured gain, or else the last one that the critic accepts."""
    context = runtime.context
    attempts = attempts_of(state)
    chosen, notes = _chosen(state, context, attempts)
    proposal = RuleProposal(
        text="" if chosen is None else with_reward(context, chosen).to_yaml(),
        source=context.source,
        reasoning="" if chosen is None else chosen.reasoning,
        episode=context.episode,
        situations=SITUATIONS.validate_python(state["situations"]),
        attempts=attempts,
        notes=NOTES.validate_python([*state["notes"], *notes]),
        env_steps=state["env_steps"],
    )
    return {"proposal": PROPOSAL.dump_python(proposal, mode="json"), "notes": notes}


def _chosen(
    state: State, context: Context, attempts: tuple[RuleAttempt, ...]
) -> tuple[RuleAttempt | None, list[JSONObject]]:
    usable = [one for one in attempts if not one.refusal]
    if not usable:
        return None, []
    known = [one for one in usable if one.gain is not None]
    if known:
        best = max(known, key=lambda one: one.gain or 0.0)
        if best.high is not None and best.high < 0:
            context.decided(state, best, "reject", HARMFUL)
            return None, [context.noted("test", HARMFUL, best.feedback.partition("\n")[0], work=work_on(state))]
    else:
        best = usable[-1]
        if best.verdict is None and not context.simulates:
            context.decided(state, best, "reject", "no verdict")
            return None, []  # why there is none is noted already
        if best.verdict in ("reject", "revise"):
            reason = REJECTED if best.verdict == "reject" else "no revision left"
            context.decided(state, best, "reject", reason)
            return None, [context.noted("criticise", reason, best.judgement, work=work_on(state))]
    context.decided(state, best, "accept", best.feedback.partition("\n")[0] or best.judgement)
    return best, []
