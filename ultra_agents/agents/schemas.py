"""What agents answer: pydantic models made per request: a grammar can only produce steps shown and legal actions.

The rationale comes before the decision in every model: a model that writes its reasons first decides better, and a
grammar keeps that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from ultra_agents.agents.sentences import reason
from ultra_agents.contracts import ActionCodec
from ultra_agents.records import Move, Plan, Verdict

MAX_ENUM = 50
"""Codecs with more names than this are checked with `encode` instead of being listed."""
END = "END"
"""In the place of a further action of a plan: none, the policy goes on."""
LEAVE = "LEAVE IT"
"""In the place of the first action: nothing earns more than what the policy did."""
LONGEST_REASON = 240
"""Characters; longer reasons cost a small model its decision."""

_STRICT = ConfigDict(extra="forbid", frozen=True)


def _whole(number: Any) -> Any:
    """`"12"` and `12.0` are the step 12."""
    if isinstance(number, str) and number.strip().isdecimal() and len(number) < 20:
        return int(number)
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _tenths(low: int) -> dict[str, Any]:
    """Numbers to choose from: llama.cpp's grammars know no bounds of numbers. Others in range are accepted too."""
    return {"enum": [tenth / 10 for tenth in range(10 * low, 11)]}


_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, json_schema_extra=_tenths(0))]
_Reward = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False, json_schema_extra=_tenths(-1))]

Judged = Annotated[Verdict, BeforeValidator(lambda word: word.strip().lower() if isinstance(word, str) else word)]
"""`Accept` is `accept`: servers without a grammar let models write as they like."""


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
    """Base of the advisor's replies: `action`, `hold` and so on, or `moves`."""

    model_config = _STRICT
    reasoning: str


class CriticReply(BaseModel):
    """Base of the critic's replies, the first one and after reflection."""

    model_config = _STRICT
    reasoning: str
    reward: float
    taken_reward: float


def identifier_reply(
    steps: Sequence[int], max_critical: int, reasoning: int = LONGEST_REASON
) -> type[IdentifierReply]:
    """Up to `max_critical` cases, none where nothing could be gained.

    The steps are among `steps`; each analysis has at most `reasoning` characters.
    """
    shown: Any = Annotated[Literal[tuple(steps)], BeforeValidator(_whole)]
    case = create_model(
        "Case",
        __config__=_STRICT,
        case_analysis=(reason(reasoning), ...),
        step=(shown, ...),
        importance=(_Share, ...),
    )
    cases = Annotated[list[case], Field(max_length=max_critical)]
    return create_model("IdentifierReply", __base__=IdentifierReply, cases=(cases, ...))


def critic_reply(reasoning: int = LONGEST_REASON, *, verdict: bool = True) -> type[CriticReply]:
    """Rewards and, unless it is not asked for, a verdict."""
    fields: dict[str, Any] = {
        "reasoning": (reason(reasoning), ...),
        "reward": (_Reward, ...),
        "taken_reward": (_Reward, ...),
    }
    if verdict:
        fields["verdict"] = (Judged, ...)
    return create_model("CriticReply", __base__=CriticReply, **fields)


def advisor_reply(
    codec: ActionCodec,
    max_hold: int,
    min_hold: int = 1,
    max_moves: int = 1,
    *,
    plan_steps: int | None = None,
    reasoning: int = LONGEST_REASON,
    as_list: bool = False,
) -> type[AdvisorReply]:
    """A plan: actions of `codec`, each held `min_hold` to `max_hold` steps; or that nothing is to be changed.

    Args:
        codec: Names the actions.
        max_hold: Steps of one move, at most.
        min_hold: And at least.
        max_moves: Moves, at most.
        plan_steps: Steps of all moves together, at most.
        reasoning: Characters of reasons.
        as_list: `moves` is a list, which names the actions once; an empty one changes nothing. Otherwise a plan is
            flat, `action_2`, `hold_2`, ..., because small models lose their way in nested lists: END instead of an
            action ends it, and so does leaving the fields out; LEAVE IT as the first changes nothing.
    """
    names, end, leave = codec.names, end_word(codec), leave_word(codec)
    hold = Annotated[int, Field(ge=min_hold, le=max_hold)]

    def one_of(*also: str) -> Any:
        return (
            Literal[(*names, *also)]
            if len(names) <= MAX_ENUM
            else Annotated[str, AfterValidator(_legal(codec, *also))]
        )

    fields: dict[str, Any] = {"reasoning": (reason(reasoning), ...)}
    if as_list:
        move = create_model("Move", __config__=_STRICT, action=(one_of(), ...), hold=(hold, ...))
        checked = AfterValidator(_within(plan_steps, lambda moves: sum(one.hold for one in moves)))
        fields["moves"] = (Annotated[list[move], Field(max_length=max_moves), checked], ...)
        return create_model("AdvisorReply", __base__=AdvisorReply, **fields)
    fields |= {"action": (one_of(leave), ...), "hold": (hold, ...)}
    for number in range(2, max_moves + 1):
        fields |= {f"action_{number}": (one_of(end), end), f"hold_{number}": (hold, min_hold)}
    made: type[AdvisorReply] = create_model("FlatReply", __base__=AdvisorReply, **fields)
    check = _within(plan_steps, lambda reply: sum(steps for _, steps in _flat_moves(reply, codec)))
    checks: dict[str, Any] = {"within_plan_steps": model_validator(mode="after")(check)}
    return create_model("AdvisorReply", __base__=made, __validators__=checks)


def leave_word(codec: ActionCodec) -> str:
    """What an advisor says in the place of an action where nothing is to be changed; no action of `codec`."""
    return LEAVE if LEAVE not in codec.names else f"{LEAVE} AS IT IS"


def end_word(codec: ActionCodec) -> str:
    """What an advisor says in the place of a further action when its plan is over; no action of `codec`."""
    return END if END not in codec.names else f"{END} OF PLAN"


def plan_of(reply: AdvisorReply, codec: ActionCodec) -> Plan | None:
    """The plan of an advisor's reply, its moves up to the first END; None where nothing is to be changed."""
    listed = getattr(reply, "moves", None)
    moves = _flat_moves(reply, codec) if listed is None else [(one.action, one.hold) for one in listed]
    return Plan.of(moves) if moves else None


def _flat_moves(reply: Any, codec: ActionCodec) -> list[Move]:
    if reply.action == leave_word(codec):
        return []
    moves: list[Move] = [(reply.action, reply.hold)]
    end = end_word(codec)
    while (action := getattr(reply, f"action_{len(moves) + 1}", end)) != end:
        moves.append((action, getattr(reply, f"hold_{len(moves) + 1}")))
    return moves


def _within(most: int | None, steps_of: Any) -> Any:
    """A check that a plan takes at most so many steps."""

    def check(reply: Any) -> Any:
        if most is not None and (steps := steps_of(reply)) > most:
            raise ValueError(f"the plan takes {steps} steps, and may take {most}")
        return reply

    return check


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
