"""Text from anybody: nothing but `RuleError` or rules whose results are finite or the policy's, in little time."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultra_agents.rules import Interface, RuleError, parse_rules
from ultra_agents.rules.functions import FUNCTIONS
from ultra_agents.rules.operations import known
from ultra_agents.rules.program import Graph

DISCRETE = Interface(("x", "y"), ("UP", "DOWN"))
CONTINUOUS = Interface(("x", "y"), components=("hip", "ankle"), low=(-1, -1), high=(1, 1))
STATES = {"x": np.array([0.0, 1, -1, np.nan, np.inf, 1e308, -1e-308]), "y": np.array([2.0, 0, -1e308, 3, 4, 1e308, 0])}
WORDS = [
    "x", "y", "own", "own.hip", "next.x", "UP", "DOWN", "1", "0", "2", "1e308", "1e-308", "True", "if",
    "else", "and", "or", "not", "+", "-", "*", "/", "%", "**", "<", "<=", "==", "!=", "(", ")", ",", ".", "best", "n",
    "$", "__class__", "'", "lambda", *FUNCTIONS,
]  # fmt: skip

SIGNS = [
    *"{}[],:-?&*!%|>'\"\\#@`~<=\n\t\r ax1.", ": ", "- ", "? ", "&a ", "*a", "!!", "!<", "%41", "|2", "\\x", "\\U",
    "\n ", "\n  ", " #", "when", "do", "potential", "---", "...", "%YAML 1.1", "%TAG ! a\n", "\ufeff", "\u2028", "é",
    "rules", "<<",
]  # fmt: skip


def tried(text: str, interface: Interface | None) -> bool:
    """Whether the text was accepted; if so it was also put to use, and its results looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            rules = parse_rules(text, interface)
        except RuleError as error:
            str(error).encode("utf-8")
            return False
        n, width = len(STATES["x"]), len(rules.interface.components)
        missing = set(rules.names) - set(STATES)
        q = STATES | {name: np.linspace(-1, 1, n) for name in missing}
        own = np.zeros((n, width)) if width else np.zeros(n, np.int64)
        decision = rules.decide(q, own)
        assert decision.actions.shape == own.shape
        assert decision.covered.shape == decision.rule.shape == (n,)
        assert decision.rule.min() >= -1
        assert decision.rule.max() < max(len(rules.document.rules), 1)
        assert np.isfinite(decision.actions).all()
        if rules.document.potential is not None:
            assert np.isfinite(rules.potential(q)).all()
        if rules.document.reward is not None:
            assert np.isfinite(rules.reward(q, q)).all()
        assert parse_rules(rules.to_yaml(), interface) == rules
    return True


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(), st.sampled_from([None, DISCRETE, CONTINUOUS]))
def test_any_text(text: str, interface: Interface | None) -> None:
    tried(text, interface)
    tried(f"rules:\n- when: x > 1\n  do: UP\n  why: {text}", interface)
    tried(f"potential: {text}", interface)
    tried(f'potential: "{text}"', interface)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(SIGNS), max_size=25).map("".join))
def test_any_yaml(text: str) -> None:
    tried(text, DISCRETE)
    tried(f"potential: x\n{text}", DISCRETE)
    tried(f'potential: "{text}', DISCRETE)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(WORDS), max_size=12), st.sampled_from([None, DISCRETE, CONTINUOUS]))
def test_any_words(words: list[str], interface: Interface | None) -> None:
    text = " ".join(words).replace('"', "")
    tried(f'reward: "{text}"', interface)
    tried(f'rules: [{{when: "{text}", do: UP}}]', interface)
    tried(f'rules: [{{when: x > y, do: {{hip: "{text}"}}}}]', interface)
    tried(f'let: {{"f(x1)": "{text}"}}\nreward: f(x)', interface)


pieces = st.recursive(
    st.sampled_from(["x", "y", "0", "1", "1e308", "2"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["+", "-", "*", "/", "%"]), inner, inner).map(lambda t: f"({t[1]} {t[0]} {t[2]})"),
        st.tuples(st.sampled_from(["abs", "sqrt", "exp", "floor", "sin", "tanh"]), inner).map(
            lambda t: f"{t[0]}({t[1]})"
        ),
        st.tuples(st.sampled_from(["min", "hypot", "argmax", "atan2"]), inner, inner).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]})"
        ),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} < {t[2]} else {t[0]} ** 3)"),
        st.tuples(inner, inner, inner).map(lambda t: f"fold({', '.join(t)})"),
        inner.map(lambda t: f"best(n, -2, 2, n * {t})"),
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(pieces)
def test_any_expression_gives_finite_results_or_abstains(text: str) -> None:
    tried(f'reward: "{text}"', DISCRETE)
    tried(f'rules: [{{when: "{text} > 0", do: {{hip: "{text}"}}}}, {{when: true, do: {{ankle: 1 / x}}}}]', CONTINUOUS)


HOSTILE: dict[str, Callable[[int], str]] = {
    "a long text": lambda n: "x" * n,
    "brackets": lambda n: f"potential: '{'(' * n}x{')' * n}'",
    "open brackets": lambda n: f"potential: '{'(' * n}'",
    "minus": lambda n: f"potential: '{'-' * n}x'",
    "not": lambda n: f"potential: '{'not ' * n}x'",
    "if else": lambda n: f"potential: '{'1 if x > 0 else ' * n}x'",
    "sums": lambda n: f"potential: 'x{'+x' * n}'",
    "powers": lambda n: f"potential: 'x{'**2' * n}'",
    "minus powers": lambda n: f"potential: 'x{'**-x' * n}'",
    "calls": lambda n: f"potential: '{'abs(' * n}x{')' * n}'",
    "comparisons": lambda n: f"potential: 'x{'<x' * n}'",
    "dots": lambda n: f"potential: 'x{'.x' * n}'",
    "digits": lambda n: f"potential: '{'9' * n}'",
    "spaces": lambda n: f"potential: '{' ' * n}x'",
    "lists in YAML": lambda n: f"potential: {'[' * n}",
    "mappings in YAML": lambda n: f"potential: {'{a: ' * n}",
    "nested blocks": lambda n: "\n".join(" " * i + "a:" for i in range(min(n, 180))),
    "dashes": lambda n: "- " * n,
    "question marks": lambda n: "? " * n,
    "colons": lambda n: "a: " * n,
    "quotes": lambda n: "'" * n,
    "anchors": lambda n: f"a: &a [x]\nb: [{'*a, ' * n}]",
    "documents": lambda n: "---\n" * n,
    "comments": lambda n: "#\n" * n,
    "keys": lambda n: "\n".join(f"k{i}: x" for i in range(n // 8)),
    "equal keys": lambda n: "k: x\n" * (n // 5),
    "commas": lambda n: f"potential: 'max({'x,' * n}x)'",
    "lets": lambda n: (
        "let:\n" + "".join(f"  'f{i}(o)': f{max(i - 1, 0)}(o) + f{max(i - 1, 0)}(o)\n" for i in range(min(n, 60)))
    ),
    "doubling lets": lambda n: (
        "let:\n  'f0(o)': o\n"
        + "".join(f"  'f{i}(o)': f{i - 1}(o) + f{i - 1}(o)\n" for i in range(1, min(n, 59)))
        + "potential: f58(x)"
    ),
    "escapes": lambda n: 'potential: "' + "\\ud800" * n + '"',
}


HARMLESS = {"comparisons", "spaces"}
"""Allowed as long as they are short."""


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("size", [300, 1800, 19_000, 1_000_000])
@pytest.mark.timeout(20)
def test_hostile_text_is_refused(name: str, size: int) -> None:
    assert not tried(HOSTILE[name](size), DISCRETE) or (name in HARMLESS and size < 2000)


def test_text_is_refused_where_the_stack_is_nearly_full() -> None:
    text = f"potential: '{'(' * 25}x{')' * 25}'"
    outcomes = set()

    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
            return
        try:
            parse_rules(text, DISCRETE)
            outcomes.add("read")
        except RuleError:
            outcomes.add("refused")

    limit = sys.getrecursionlimit()
    for depth in [*range(0, limit // 2, 10), *range(limit // 2, limit)]:  # the calls refused are a few frames apart
        try:
            deeper(depth)
        except RecursionError:
            assert depth > 0.8 * limit  # no room for a single call
            break
    assert outcomes == {"read", "refused"}


def test_shared_parts_keep_large_rules_small() -> None:
    text = "let:\n  a0: x\n" + "".join(f"  a{i}: a{i - 1} * a{i - 1}\n" for i in range(1, 55)) + "potential: a54"
    assert tried(text, DISCRETE)


def test_an_infinity_is_no_value_though_numpy_said_nothing() -> None:
    assert np.isnan(known(np.array([np.inf, -np.inf]))).all()
    graph = Graph()
    assert np.isnan(graph.nodes[graph.call("number", np.exp, graph.constant(1000.0))].constant)
