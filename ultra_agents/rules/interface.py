"""What rules can speak of and decide in one environment: quantities, and actions or components."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import gymnasium
import numpy as np

from ultra_agents.contracts import Environment, capabilities
from ultra_agents.contracts.quantities import RESERVED, WORD, is_word
from ultra_agents.rules.errors import RuleError
from ultra_agents.yaml_text import quoted


@dataclass(frozen=True)
class Interface:
    """The names an environment gives to rules.

    Args:
        quantities: Names of what can be seen, each one word of ASCII letters, digits and underscores.
        actions: Names of the discrete actions, in the order of the action space; any text. Empty if continuous.
        components: Names of the parts of a continuous action, in order, one word each. Empty if discrete.
        low: Least value of each component, `(len(components),)`; results are clipped to it. None: not clipped.
        high: Greatest value of each.

    Raises:
        RuleError: A name is not a word or is there twice, actions and components are both given, or bounds misfit.
    """

    quantities: Sequence[str]
    actions: Sequence[str] = ()
    components: Sequence[str] = ()
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None

    def __post_init__(self) -> None:
        for name in ("quantities", "actions", "components"):
            names = tuple(getattr(self, name))
            twice = [one for one, count in Counter(names).items() if count > 1]
            if twice:
                raise RuleError(f"an interface names one of its {name} twice", found=repr(twice[0]))
            object.__setattr__(self, name, names)
        for name in (*self.quantities, *self.components):
            if not is_word(name):
                raise RuleError(
                    "a quantity or component has a name that cannot be written in a rule",
                    found=quoted(name),
                    expected=f"a word of ASCII letters, digits and _, none of {', '.join(sorted(RESERVED))}",
                )
        if self.actions and self.components:
            raise RuleError("an interface has either actions or components", found="both")
        for name in ("low", "high"):
            bound = getattr(self, name)
            if bound is not None:
                values = tuple(float(value) for value in bound)
                if len(values) != len(self.components):
                    raise RuleError(
                        f"an interface's {name} misfits its components",
                        found=f"{len(values)} numbers",
                        expected=f"{len(self.components)}",
                    )
                object.__setattr__(self, name, values)

    @property
    def continuous(self) -> bool:
        """Whether rules give numbers to components instead of choosing among actions."""
        return bool(self.components)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """One word per action, for use within expressions: `Push left` is `Push_left`."""
        return action_words(self.actions)


def interface_of(environment: Environment) -> Interface:
    """What rules can speak of and decide in `environment`.

    Components of an action are named by its codec, else `a0`, `a1`, ...; results are clipped to the action space.

    Raises:
        RuleError: The environment offers no quantities, or a name of its that cannot be written in a rule.
    """
    if "quantities" not in capabilities(environment):
        raise RuleError(
            f"rules have nothing to speak of in {environment.env_id!r}: its plugin offers no quantities",
            found=f"capabilities: {', '.join(sorted(capabilities(environment))) or 'none'}",
            expected="quantities and legend",
            hint="override both in the plugin (examples/write_an_environment_plugin.md), or use advice as moves",
        )
    names, space = tuple(environment.legend), environment.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return Interface(names, actions=environment.actions.names)
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise RuleError(
            f"rules cannot decide the actions of {environment.env_id!r}",
            found=str(space)[:200],
            expected="Discrete, or a Box of one dimension",
        )
    components = environment.actions.components or tuple(f"a{index}" for index in range(space.shape[0]))
    return Interface(names, components=components, low=space.low.tolist(), high=space.high.tolist())


def action_words(names: Iterable[str]) -> tuple[str, ...]:
    """One distinct word per action name: signs spelt out, other characters as `_`, else `action_0`."""
    words: list[str] = []
    for index, name in enumerate(names):
        text = re.sub(r"-(?=\.?\d)", " minus ", re.sub(r"\+(?=\.?\d)", " plus ", name))
        word = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:56] if not WORD.fullmatch(name) else name
        if not word:
            word = f"action_{index}"
        if not word[0].isalpha():
            word = f"action_{word}"
        if keyword.iskeyword(word) or word in RESERVED:
            word += "_"
        words.append(word)
    counts = Counter(words)
    numbered = [word if counts[word] == 1 else f"{word}_{index}" for index, word in enumerate(words)]
    if len(set(numbered)) < len(numbered):
        return tuple(f"action_{index}" for index in range(len(numbered)))
    return tuple(numbered)


def bounds_of(interface: Interface, component: int) -> tuple[float, float]:
    """Least and greatest value of a component; infinite where the interface names none."""
    low = -np.inf if interface.low is None else interface.low[component]
    high = np.inf if interface.high is None else interface.high[component]
    return low, high
