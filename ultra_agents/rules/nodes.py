"""What a compiled expression is made of: nodes, each of them one operation on earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Range: TypeAlias = tuple[float, float]
"""Least and greatest value."""
Kind: TypeAlias = Literal["number", "condition", "action"]
Leaf: TypeAlias = tuple[str, str]
"""Where a value comes from (quantity, next, constant, own) and its name."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation on earlier nodes, or a leaf, or a constant; its value lies within `range` where it has one.

    `each` are the nodes of candidates (of a `best` around it) on which its value depends.
    """

    kind: Kind
    range: Range
    function: Callable[..., Any] | None = None
    args: tuple[int, ...] = ()
    leaf: Leaf | None = None
    constant: Any = None
    each: frozenset[int] = frozenset()
