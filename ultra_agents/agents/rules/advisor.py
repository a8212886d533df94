"""Stage 4, for rules: a whole set of rules, and once more with what was measured (ULTRA section 3, improvement).

A text that the language refuses goes back with the refusal, in the language's own words, a counted number of times.
Text is parsed, never evaluated.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal, TypeAlias

from langgraph.runtime import Runtime
from langgraph.types import Command
from pydantic import BaseModel

from ultra_agents.agents.prompts import Message, load_prompt
from ultra_agents.agents.rules.identifier import told
from ultra_agents.agents.rules.schemas import TextReply, atoms_advice
from ultra_agents.agents.rules.state import SITUATIONS, Context, State, attempts_of, with_attempts, work_on
from ultra_agents.agents.rules.wording import standing
from ultra_agents.agents.tools.consulting import consult
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import RuleAttempt
from ultra_agents.rules import AtomsReply, RuleError, RuleSet, rules_of
from ultra_agents.rules.atoms import MOST_ATOMS
from ultra_agents.rules.errors import RULES

Next: TypeAlias = Command[Literal["advise", "criticise", "finish"]]

REFUSED = "rules refused"
"""The counted reason of a set that the language does not read, or that could change nothing."""
TUNED = (
    "The simulator will tune the constants within their bounds, all of them together, in a few dozen settings: "
    "declare three to six, for the strengths and thresholds that matter most, and let the bounds of a strength reach "
    "to both sides of 0, since the sign of a first guess is often wrong. Quote an expression that has a comma."
)
"""Said where constants are tuned: many of them are not tuned well, and a wrong sign that is ruled out is not found."""
_FENCE = re.compile(r"\A\s*```[a-zA-Z]*\n(?P<text>.*?)\n?```\s*\Z", re.DOTALL)


def advise(state: State, runtime: Runtime[Context]) -> Next:
    """Ask once for a set of rules; a set that cannot be used is asked for again, with what is wrong."""
    context = runtime.context
    context.check()
    before, refused = attempts_of(state), state["refused"]
    asked = [("system", state["opening"]), *_question(state, context), *sent_back(refused)]
    reply: type[BaseModel] = TextReply
    atoms: type[AtomsReply] | None = None
    if context.form == "atoms":
        reply, atoms = atoms_advice(context.interface, context.thresholds)
    segment = context.about(sum(not one.refusal for one in before))
    consulted = consult(context, state, "advisor", segment, asked, reply, work=work_on(state))
    try:
        said = consulted.reply()
    except ReplyDropped as problem:
        note = context.noted("advise", problem.reason, problem.detail, work=work_on(state))
        return consulted.into(Command(goto="finish", update={"notes": [note], "refused": []}))
    text = ""
    try:
        if atoms is None:
            text = unfenced(said.rules)
            rules = context.parsed(text)
        else:
            rules = rules_of(atoms.model_construct(rules=said.rules), context.interface)
            text = rules.to_yaml()
        _usable(context, rules, before)
    except RuleError as refusal:
        why = str(refusal)
        tried = RuleAttempt(text[: RULES.characters], said.reasoning, refusal=why)
        again = len(refused) < context.agents.max_repairs
        update: State = {
            **with_attempts((*before, tried)),
            "refused": [*refused, [as_said(said), why]] if again else [],
            "notes": [context.noted("advise", REFUSED, " ".join(why.split()), work=work_on(state))],
        }
        return consulted.into(Command(goto="advise" if again else "finish", update=update))
    written = with_attempts((*before, RuleAttempt(text, said.reasoning)))
    return consulted.into(Command(goto="criticise", update={**written, "refused": []}))


def as_said(reply: BaseModel) -> str:
    """A reply as it goes on in the conversation; of one that is far too long the beginning."""
    text = json.dumps(reply.model_dump(mode="json"), ensure_ascii=False)
    return text if len(text) <= 2 * RULES.characters else f"{text[:2000]} ..."


def sent_back(refused: list[list[str]]) -> list[Message]:
    """What was said before and why it cannot be used, as the conversation goes on."""
    messages: list[Message] = []
    for said, why in refused:
        messages.append(("assistant", said))
        messages.append(("user", f"That cannot be used:\n{why}\nMend it, and answer again in full."))
    return messages


def unfenced(text: str) -> str:
    """The text within a code fence, where it is nothing but one."""
    match = _FENCE.match(text)
    return match["text"] if match else text


def _question(state: State, context: Context) -> list[Message]:
    attempts = [one for one in attempts_of(state) if not one.refusal]
    best, feedback = standing(attempts)
    words: dict[str, Any] = {
        "situations": told(SITUATIONS.validate_python(state["situations"])),
        "best": best,
        "feedback": feedback,
    }
    if context.form == "atoms":
        does = "a part of the action, and what is added to it" if context.interface.continuous else "the action"
        decided = f"{MOST_ATOMS} rules, each of them a quantity, < or >, a threshold, and {does}"
        return load_prompt("rules_advisor_atoms").fill(**words, decided=decided)
    remarks = list[str]()
    if context.interface.continuous:
        part = context.interface.components[0]
        remarks.append(
            f"A graded correction of what the policy does, as in own.{part} + gain * quantity, in the phase where it "
            "matters, usually earns more than an action in its place."
        )
    if context.tuned:
        remarks.append(TUNED)
    return load_prompt("rules_advisor").fill(**words, correcting=" ".join(remarks))


def _usable(context: Context, rules: RuleSet, before: tuple[RuleAttempt, ...]) -> None:
    """Raise `RuleError` for a set that says nothing new, or that would change nothing in the episodes collected."""
    if not rules.document.rules:
        raise RuleError(
            "there is no rule to act by", found="a potential or a reward alone", expected="rules: at least one"
        )
    if any(context.parsed(one.text) == rules for one in before if not one.refusal):
        raise RuleError("this set was proposed before", hint="change what was wrong with it")
    shares, changed = context.acting(rules)
    steps = sum(len(one) for one in context.trajectories)
    if not changed:
        acting = "no rule acts" if not shares.any() else "rules act, but as the policy does"
        raise RuleError(
            "these rules change nothing",
            found=f"in the {steps:,} steps of the episodes collected {acting}",
            expected="a condition that holds where the policy should act otherwise",
            hint="check units, signs and thresholds against the quantities seen",
        )
