"""The error of this package, and what YAML a file of rules may hold."""

from __future__ import annotations

from collections.abc import Iterable

from ultra_agents.errors import did_you_mean
from ultra_agents.yaml_text import SHOWN, Dialect, Path, YamlError, dotted, text_or_none


class RuleError(YamlError):
    """A set of rules cannot be used: syntax, an unknown name, a wrong type, too large, or values that do not fit."""


def label(path: Path, whose: str = "") -> str:
    """A path in words, `rule 2, when`, after the name of the text if it has one."""
    match path:
        case ():
            return whose or "the rules"
        case ("rules", int(index), *rest):
            words = ", ".join([f"rule {index + 1}", *(dotted((part,), "") for part in rest)])
            return f"{whose}: {words}" if whose else words
        case _:
            return dotted(path, whose)


RULES = Dialect(characters=20_000, depth=6, scalar=text_or_none, aliases=False, error=RuleError, label=label)
"""Every scalar stays text: expressions are read by the rules' own grammar."""


def closest(name: str, known: Iterable[str]) -> str | None:
    """The closest known name, or when nothing is close what is known, cut where that is a long list."""
    words = sorted(set(known))
    hint = did_you_mean(name[:SHOWN], words) or (f"known: {', '.join(words)}" if words else None)
    return hint if hint is None or len(hint) <= 400 else hint[:400].rsplit(",", 1)[0] + ", ..."
