"""What agents answer about rules: pydantic models made per request, the rationale before the decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, create_model

from ultra_agents.agents.rules.state import Form
from ultra_agents.agents.schemas import LONGEST_REASON, Judged
from ultra_agents.agents.sentences import reason, whole_sentences
from ultra_agents.rules import AtomsReply, Interface, reply_model

LONGEST_THOUGHT = 6000
"""Characters of a capable model's reasons."""
LONGEST_NAME = 80
NOTHING = "NO QUANTITY"
"""In the place of a quantity: no implicit reward."""

_STRICT = ConfigDict(extra="forbid", frozen=True)


class IdentifierReply(BaseModel):
    """Base of the identifier's replies."""

    model_config = _STRICT
    situations: list[Any]


class TextReply(BaseModel):
    """The advisor's reply where rules are written as text."""

    model_config = _STRICT
    reasoning: Annotated[str, BeforeValidator(lambda text: whole_sentences(text, LONGEST_THOUGHT))]
    rules: str


class AtomsAdvice(BaseModel):
    """Base of the advisor's replies where rules are atoms."""

    model_config = _STRICT
    reasoning: str
    rules: Sequence[Any]


class CriticReply(BaseModel):
    """The critic's reply where rules are written as text."""

    model_config = _STRICT
    reasoning: Annotated[str, BeforeValidator(lambda text: whole_sentences(text, LONGEST_THOUGHT))]
    implicit: Literal["potential", "reward", "none"]
    expression: str
    verdict: Judged


class AtomsCriticReply(BaseModel):
    """Base of the critic's replies where rules are atoms."""

    model_config = _STRICT
    reasoning: str
    quantity: str
    better: Literal["higher", "lower"]
    verdict: Judged


def identifier_reply(episodes: Sequence[int], most: int, form: Form) -> type[IdentifierReply]:
    """1 to `most` situations with examples in these episodes; steps are checked by who asks."""
    shown: Any = Literal[tuple(episodes)]
    step: Any = Annotated[int, Field(ge=0)]
    example: Any = create_model("Example", __config__=_STRICT, episode=(shown, ...), step=(step, ...))
    name: Any = Annotated[
        str,
        BeforeValidator(lambda text: text[:LONGEST_NAME].strip() if isinstance(text, str) else text),
        StringConstraints(min_length=1, max_length=LONGEST_NAME),
    ]
    fewer = 3 if form == "text" else 1  # small models do not get to the end of long replies
    examples: Any = Annotated[
        list[example],
        BeforeValidator(lambda rows: rows[:fewer] if isinstance(rows, list) else rows),
        Field(max_length=fewer),
    ]
    situation: Any = create_model(
        "Situation",
        __config__=_STRICT,
        rationale=(_reason(form), ...),
        name=(name, ...),
        examples=(examples, ...),
    )
    situations: Any = Annotated[list[situation], Field(min_length=1, max_length=most)]
    return create_model("IdentifierReply", __base__=IdentifierReply, situations=(situations, ...))


def atoms_advice(
    interface: Interface, thresholds: dict[str, list[float]]
) -> tuple[type[AtomsAdvice], type[AtomsReply]]:
    """The advisor's reply in atoms, and the model of its rules alone, which compiles them."""
    atoms = reply_model(interface, thresholds)
    rules: Any = atoms.model_fields["rules"]
    made = create_model(
        "AdvisorReply", __base__=AtomsAdvice, reasoning=(_reason("atoms"), ...), rules=(rules.annotation, rules)
    )
    return made, atoms


def atoms_critic(quantities: Sequence[str]) -> type[AtomsCriticReply]:
    """The critic's reply: a quantity that tells how close success is, or `NOTHING`."""
    names: Any = Literal[(*quantities, NOTHING)]
    return create_model(
        "CriticReply", __base__=AtomsCriticReply, reasoning=(_reason("atoms"), ...), quantity=(names, ...)
    )


def _reason(form: Form) -> Any:
    return reason(LONGEST_REASON if form == "atoms" else LONGEST_THOUGHT, lines=True)
