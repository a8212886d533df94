"""Rules as flat JSON for small models: a quantity, < or >, a threshold, an action; a grammar rules out every error.

`reply_model` makes the schema of one environment, `rules_of` compiles a reply to the same programs as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, create_model

from ultra_agents.rules.document import Document, Rule
from ultra_agents.rules.errors import RuleError
from ultra_agents.rules.interface import Interface, bounds_of
from ultra_agents.rules.ruleset import RuleSet, build

MOST_ATOMS = 6
"""Atoms of one reply, by default."""
SHARES = (-0.5, -0.25, -0.1, 0.1, 0.25, 0.5)
"""What an atom may add to a component, in shares of the widest component's range; of 2 where none has bounds."""


class Atom(BaseModel):
    """One rule: where `quantity` is below (or above) `threshold`, take `action`, or add `add` to `component`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: str
    relation: Literal["<", ">"]
    threshold: float = Field(allow_inf_nan=False)


class AtomsReply(BaseModel):
    """A decision list: the first atom that holds acts. `reply_model` narrows it to one environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: Sequence[Any]


def reply_model(
    interface: Interface, thresholds: Mapping[str, Sequence[float]] | None = None, most: int = MOST_ATOMS
) -> type[AtomsReply]:
    """The schema of a reply: names of quantities, actions and components are the interface's and no others.

    Args:
        interface: What rules may speak of and decide.
        thresholds: Quantity -> the thresholds it may be compared with, for example its quantiles; a quantity without
            any is not offered. None: any finite number.
        most: Atoms of a reply, at most.

    Raises:
        RuleError: Nothing can be written: no quantity with a threshold, or nothing to decide.
    """
    names = [name for name in interface.quantities if thresholds is None or thresholds.get(name)]
    if not names or not (interface.actions or interface.components):
        raise RuleError("no atom can be written", expected="quantities with thresholds, and actions or components")
    decided = _decided(interface)
    offered: list[Any] = []
    for name in names if thresholds is not None else []:
        values = [float(one) for one in dict.fromkeys((thresholds or {})[name])]
        if not np.isfinite(values).all():
            raise RuleError("a threshold is not finite", found=f"{name}: {values}", expected="finite numbers")
        fields: dict[str, Any] = {"quantity": (_one_of([name]), ...), "threshold": (_one_of(values), ...), **decided}
        offered.append(create_model(f"Atom_{name}", __base__=Atom, **fields))
    if thresholds is None:
        fields = {"quantity": (_one_of(names), ...), **decided}
        offered.append(create_model("Atom", __base__=Atom, **fields))
    rules: Any = (list[reduce(or_, offered)], Field(min_length=1, max_length=most))  # type: ignore[misc]
    return create_model("AtomsReply", __base__=AtomsReply, rules=rules)


def rules_of(reply: AtomsReply, interface: Interface) -> RuleSet:
    """The rules of a reply; an atom whose condition an earlier one has could never act and is left out."""
    rules: dict[str, Rule] = {}
    for atom in reply.rules:
        condition = f"{atom.quantity} {atom.relation} {atom.threshold!r}"
        rules.setdefault(condition, Rule(when=condition, do=_choice(atom, interface)))
    return build(Document(rules=tuple(rules.values())), interface)


def as_text(reply: AtomsReply) -> str:
    """One line per atom, for people and prompts."""
    return "\n".join(
        f"where {atom.quantity} {atom.relation} {atom.threshold:g}: {_told(atom)}" for atom in reply.rules
    )


def _decided(interface: Interface) -> dict[str, Any]:
    """The fields that say what an atom does."""
    if not interface.continuous:
        return {"action": (_one_of(interface.actions), ...)}
    spans = [high - low for low, high in (bounds_of(interface, i) for i in range(len(interface.components)))]
    span = max((one for one in spans if np.isfinite(one)), default=2.0)
    return {"component": (_one_of(interface.components), ...), "add": (_one_of([one * span for one in SHARES]), ...)}


def _one_of(values: Sequence[Any]) -> Any:
    return Literal[tuple(values)]


def _choice(atom: Any, interface: Interface) -> str | dict[str, str]:
    if not interface.continuous:
        return interface.words[interface.actions.index(atom.action)]
    return {atom.component: f"own.{atom.component} + {atom.add!r}"}


def _told(atom: Any) -> str:
    return str(atom.action) if hasattr(atom, "action") else f"{atom.component} {atom.add:+g}"
