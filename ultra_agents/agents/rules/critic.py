"""Stage 5, for rules: an implicit reward and a verdict, and the critic's second reading of them (ULTRA section 3).

Differs from the critic of moves: where sets are tested, one that the critic wants revised is tested first, since a
measurement tells the advisor more than an opinion; the critic's words go along with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.prompts import Message, load_prompt
from ultra_agents.agents.rules.advisor import as_said, sent_back
from ultra_agents.agents.rules.identifier import told
from ultra_agents.agents.rules.schemas import NOTHING, CriticReply, atoms_critic
from ultra_agents.agents.rules.state import SITUATIONS, Context, State, attempts_of, with_last, work_on
from ultra_agents.agents.rules.wording import acting
from ultra_agents.agents.state import JSONObject
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import RuleAttempt
from ultra_agents.rules import RuleError, RuleSet
from ultra_agents.yaml_text import write_yaml

Implicit: TypeAlias = tuple[str, str] | None
"""`potential` or `reward`, and the expression; None: what the set has."""

REJECTED = "rejected by critic"


def criticise(
    state: State, runtime: Runtime[Context]
) -> Command[Literal["criticise", "test", "reflect", "advise", "finish"]]:
    """Ask for an implicit reward and a verdict; where nothing usable comes, a test may still decide."""
    context = runtime.context
    context.check()
    attempt = attempts_of(state)[-1]
    name = "rules_critic" if context.form == "text" else "rules_critic_atoms"
    ask = load_prompt(name).fill(**_case(state, context, attempt), reasoning=attempt.reasoning)
    said = _asked("criticise", state, context, attempt, ask)
    if isinstance(said, Command):
        return said
    attempt, notes = said
    update: State = {**with_last(state, attempt), "refused": [], "notes": notes}
    if context.simulates:
        return Command(goto="test", update=update)
    if context.reflects and attempt.verdict is not None:
        return Command(goto="reflect", update=update)
    return decided_by_critic(state, context, attempt, update)


def reflect(state: State, runtime: Runtime[Context]) -> Command[Literal["reflect", "advise", "finish"]]:
    """Let the critic read its verdict again, with the measurement where there is one.

    A measured gain stands whatever the critic says; it may still correct the implicit reward, and ask for something
    better. A reading that cannot be used leaves the first one standing.
    """
    context = runtime.context
    context.check()
    attempt = attempts_of(state)[-1]
    ask = load_prompt("rules_reflection").fill(
        **_case(state, context, attempt),
        verdict=attempt.verdict or "none",
        implicit=f"the {attempt.implicit[0]} {attempt.implicit[1]}" if attempt.implicit else "no implicit reward",
        reasoning=attempt.judgement or "nothing usable was said",
        measurement=attempt.feedback,
    )
    said = _asked("reflect", state, context, attempt, ask)
    if isinstance(said, Command):
        return said
    attempt, notes = said
    update: State = {**with_last(state, attempt), "refused": [], "notes": notes}
    if attempt.gain is None:
        return decided_by_critic(state, context, attempt, update)
    passed = attempt.low is not None and attempt.low > 0
    wanted = attempt.verdict == "revise" if passed else attempt.verdict != "reject"
    if wanted and context.may_revise(state):
        context.decided(state, attempt, "revise", attempt.judgement)
        return Command(goto="advise", update=update)
    return Command(goto="finish", update=update)


def decided_by_critic(state: State, context: Context, attempt: RuleAttempt, update: State) -> Command[Any]:
    """Follow the critic's last verdict, where nothing is measured."""
    if attempt.verdict == "revise" and context.may_revise(state):
        context.decided(state, attempt, "revise", attempt.judgement)
        return Command(goto="advise", update=update)
    return Command(goto="finish", update=update)


def with_reward(context: Context, attempt: RuleAttempt) -> RuleSet:
    """The set of an attempt with the critic's implicit reward in it, where there is one; raises `RuleError`.

    The text is made from the data, so that an expression can bring in nothing but itself.
    """
    rules = context.parsed(attempt.text)
    if attempt.implicit is None:
        return rules
    kind, expression = attempt.implicit
    data: JSONObject = rules.document.model_dump(mode="json", exclude_defaults=True)
    data = {name: value for name, value in data.items() if name not in ("potential", "reward")}
    return context.parsed(write_yaml({"version": 1, **data, kind: expression}))


def _asked(
    node: str, state: State, context: Context, attempt: RuleAttempt, ask: list[Message]
) -> Command[Any] | tuple[RuleAttempt, list[JSONObject]]:
    """Ask once: the attempt with what the critic said, and notes; or back to this node with what is wrong."""
    refused = state["refused"]
    reply = CriticReply if context.form == "text" else atoms_critic(tuple(context.thresholds))
    number = sum(not one.refusal for one in attempts_of(state)) - 1
    try:
        answer = context.gateway.ask(
            agent="critic",
            segment=context.about(number),
            models=context.chain("critic"),
            messages=[("system", state["opening"]), *ask, *sent_back(refused)],
            reply=reply,
        )
    except ReplyDropped as problem:
        return attempt, [context.noted(node, problem.reason, problem.detail, work=work_on(state))]
    said = answer.value
    judged = replace(attempt, verdict=said.verdict, judgement=said.reasoning)
    implicit = _implicit(context, said)
    if implicit is None:  # also of a second reading that takes back what the first one gave
        return replace(judged, implicit=None), []
    try:
        with_reward(context, replace(judged, implicit=implicit))
    except RuleError as refusal:
        note = context.noted(node, "implicit reward refused", " ".join(str(refusal).split()), work=work_on(state))
        if len(refused) >= context.agents.max_repairs:
            return judged, [note]
        return Command(goto=node, update={"refused": [*refused, [as_said(said), str(refusal)]], "notes": [note]})
    return replace(judged, implicit=implicit), []


def _implicit(context: Context, said: Any) -> Implicit:
    """The implicit reward in a reply, if it gives one."""
    if isinstance(said, CriticReply):
        if said.implicit == "none" or not said.expression.strip():
            return None
        return said.implicit, said.expression.strip()
    if said.quantity == NOTHING:
        return None
    seen = context.thresholds[said.quantity]
    middle, half = (seen[0] + seen[-1]) / 2, (seen[-1] - seen[0]) / 2 or 1.0
    sign = "" if said.better == "higher" else "-"
    return "potential", f"{sign}clip(({said.quantity} - {middle:.6g}) / {half:.6g}, -1, 1)"


def _case(state: State, context: Context, attempt: RuleAttempt) -> dict[str, str]:
    """What both of the critic's questions begin with."""
    shares, changed = context.acting(context.parsed(attempt.text))
    return {
        "situations": told(SITUATIONS.validate_python(state["situations"])),
        "rules": attempt.text.strip(),
        "acting": acting(shares.tolist(), "of the steps of the episodes collected", changed),
    }
