"""What agents answer: pydantic models made per request: a grammar can only produce steps shown and legal actions.

The rationale comes before the decision in every model: a model that writes its reasons first decides better, and a
grammar keeps that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, create_model

from ultra_agents.contracts import ActionCodec
from ultra_agents.records import Move, Plan, Verdict

MAX_ENUM = 50
"""Codecs with more names than this are checked with `encode` instead of being listed."""
END = "END"
"""In the place of a further action of a plan: none, the policy goes on."""
LONGEST_REASON = 240
"""Characters; longer reasons cost a small model its decision."""

_STRICT = ConfigDict(extra="forbid", frozen=True)


def _shorten(text: Any) -> Any:
    """Servers that ignore `maxLength` are not asked again for a long sentence: it is cut."""
    if not isinstance(text, str) or len(text := " ".join(text.split())) <= LONGEST_REASON:
        return text
    return text[: LONGEST_REASON - 4].rstrip() + " ..."


def _whole(number: Any) -> Any:
    """`"12"` and `12.0` are the step 12."""
    if isinstance(number, str) and number.strip().isdecimal() and len(number) < 20:
        return int(number)
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _tenths(low: int) -> dict[str, Any]:
    """Numbers to choose from: llama.cpp's grammars know no bounds of numbers. Others in range are accepted too."""
    return {"enum": [tenth / 10 for tenth in range(10 * low, 11)]}


_Reason = Annotated[str, BeforeValidator(_shorten), StringConstraints(max_length=LONGEST_REASON)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, json_schema_extra=_tenths(0))]
_Reward = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False, json_schema_extra=_tenths(-1))]


class NamedState(Protocol):
    """One critical state in an identifier's reply."""

    case_analysis: str
    step: int
    importance: float


class IdentifierReply(BaseModel):
    """Base of the identifier's replies."""

    model_config = _STRICT
    cases: list[Any]


class AdvisorReply(BaseModel):
    """Base of the advisor's replies."""

    model_config = _STRICT
    reasoning: _Reason
    action: str
    hold: int


class CriticReply(BaseModel):
    """The critic's reply, the first one and after reflection."""

    model_config = _STRICT
    reasoning: _Reason
    reward: _Reward
    taken_reward: _Reward
    verdict: Verdict


def identifier_reply(steps: Sequence[int], max_critical: int) -> type[IdentifierReply]:
    """Up to `max_critical` cases whose steps are among `steps`; none where nothing could be gained."""
    shown: Any = Annotated[Literal[tuple(steps)], BeforeValidator(_whole)]
    case = create_model(
        "Case",
        __config__=_STRICT,
        case_analysis=(_Reason, ...),
        step=(shown, ...),
        importance=(_Share, ...),
    )
    cases = Annotated[list[case], Field(max_length=max_critical)]
    return create_model("IdentifierReply", __base__=IdentifierReply, cases=(cases, ...))


def advisor_reply(codec: ActionCodec, max_hold: int, min_hold: int = 1, max_moves: int = 1) -> type[AdvisorReply]:
    """An action of `codec`, held `min_hold` to `max_hold` steps; with `max_moves` above 1 a plan of up to so many.

    The plan is flat, `action_2`, `hold_2`, ..., because small models lose their way in nested lists; END instead of
    an action ends it, and so does leaving the fields out.
    """
    names = codec.names
    listed = len(names) <= MAX_ENUM
    action: Any = Literal[names] if listed else Annotated[str, AfterValidator(_legal(codec))]
    hold = Annotated[int, Field(ge=min_hold, le=max_hold)]
    end = end_word(codec)
    further: Any = Literal[(*names, end)] if listed else Annotated[str, AfterValidator(_legal(codec, end))]
    fields: dict[str, Any] = {"action": (action, ...), "hold": (hold, ...)}
    for number in range(2, max_moves + 1):
        fields |= {f"action_{number}": (further, end), f"hold_{number}": (hold, min_hold)}
    return create_model("AdvisorReply", __base__=AdvisorReply, **fields)


def end_word(codec: ActionCodec) -> str:
    """What an advisor says in the place of a further action when its plan is over; no action of `codec`."""
    return END if END not in codec.names else f"{END} OF PLAN"


def plan_of(reply: AdvisorReply, codec: ActionCodec) -> Plan:
    """The plan of an advisor's reply: its moves up to the first END."""
    moves: list[Move] = [(reply.action, reply.hold)]
    end = end_word(codec)
    while (action := getattr(reply, f"action_{len(moves) + 1}", end)) != end:
        moves.append((action, getattr(reply, f"hold_{len(moves) + 1}")))
    return Plan.of(moves)


def _legal(codec: ActionCodec, *also: str) -> Any:
    def check(name: str) -> str:
        if name in also:
            return name
        try:
            codec.encode(name)
        except KeyError as error:
            raise ValueError(f"no action is called {name!r}; for example {', '.join(codec.names[:5])}") from error
        return name

    return check
