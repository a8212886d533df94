"""Every refusal says what was found where, what is allowed, and how to mend it; it is short enough to be sent back."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import pytest

from ultra_agents.errors import UltraError
from ultra_agents.rules import Interface, RuleError, load_rules, parse_rules
from ultra_agents.rules.document import MAX_CONSTANTS, MAX_LETS, MAX_RULES

DISCRETE = Interface(("x", "y", "arrival_y"), ("UP", "DOWN", "Push left"))
CONTINUOUS = Interface(("x", "y"), components=("hip", "ankle"))


def refusal(text: str, interface: Interface = DISCRETE) -> RuleError:
    with pytest.raises(RuleError) as caught:
        parse_rules(text, interface)
    error = caught.value
    assert isinstance(error, UltraError)
    assert error.exit_code == 2
    assert len(str(error)) < 700
    assert str(error).isascii()
    return error


WHEN = {
    "x > 3 and": ("this is no expression", "character 9 of", None),
    "x > 0 if y": ("this is no expression", None, "A if CONDITION else B"),
    "min(x, 3 > 1": ("this is no expression", None, "close every bracket"),
    "arival_y > 3": ("no quantity, let or constant 'arival_y'", "character 1 of", "did you mean 'arrival_y'?"),
    "speed > 3": ("there is no quantity", None, "known: arrival_y, x, y"),
    "x > 0 and y": ("a number where a condition is needed", "character 11 of", "> 0.5"),
    "not x": ("a number where a condition is needed", "character 5 of", None),
    "UP": ("UP is an action", None, None),
    "own > 1": ("a number where an action is needed", "character 7 of", None),
    "own < UP": ("actions have no order", None, None),
    "own == UPP": ("there is no action 'UPP'", "character 8 of", "did you mean 'UP'?"),
    "own.hip > 1": ("own.hip is not known here", None, None),
    "next.x > 1": ("next.x is not known here", None, None),
    "next > 1": ("next needs a quantity", None, None),
    "x.real > 1": ("x.real is not known here", None, None),
    "x[0] > 1": ("the character '[' is not part of the language", "character 2 of", "write functions with ( )"),
    "x == 'UP'": ("the character \"'\" is not part of the language", "character 6 of", "without quotes"),
    "x = 3": ("the character '=' is not part of the language", "character 3 of", "compare with =="),
    "x > 3 && y > 2": ("&& is not part of the language", "character 7 of", "write and"),
    "x // 2 > 1": ("// is not part of the language", None, "floor(a / b)"),
    "lambda x> 1": ("the word 'lambda' is not part of the language", "character 1 of", None),
    "x in y": ("the word 'in' is not part of the language", None, None),
    "__import__ > 1": ("a name is not usable", None, None),
    "ｘ > 1": ("is not ASCII", "uff58", None),
    "x ** y > 1": ("the exponent of ** must be 2, 3 or 4", None, None),
    "x ** 9 ** 9 > 1": ("the exponent of ** must be 2, 3 or 4", None, None),
    "x > 1e999": ("a number is too large", "character 5 of", None),
    "x > 0x10": ("a number is not usable", None, None),
    "x > 1_000": ("a number is not usable", None, None),
    "x > " + "9" * 40: ("a number is not usable", None, None),
    "x > ...": ("this is not allowed here", "character 5 of", None),
    "x, y": ("a comma outside a function's brackets", None, None),
    "max(*x) > 1": ("this is not allowed here", None, None),
    "(x)(y) > 1": ("there is no function 'x'", None, None),
    "min(x, y)(x) > 1": ("only a function's name can stand before ( )", None, None),
    "mni(x, y) > 1": ("there is no function 'mni'", "character 1 of", "did you mean 'min'?"),
    "abs(x, y) > 1": ("abs takes other arguments", None, None),
    "interp(x, 0, 1, 2) > 1": ("interp takes other arguments", None, None),
    "abs > 1": ("the function abs needs its arguments in ( )", None, None),
    "clip(x, 3, 1) > 1": ("the low end of clip is above its high end", None, None),
    "fold(x, 3, 3) > 1": ("the low end of fold is not below its high end", None, None),
    "interp(x, 0, 1, 0, 2) > 1": ("the points of interp are not in increasing order", None, None),
    "best(n, 0, 21, n - x) > 1": ("best over 22 values is not allowed", None, None),
    "best(n, 0, x, n - x) > 1": ("the bounds of best must be whole numbers", None, None),
    "best(n, 0, 5, x) > 1": ("does not depend on n", "character 15 of", None),
    "best(x, 0, 5, x) > 1": ("the name 'x' is taken", None, None),
    "best(n, 0, 3, best(m, 0, 3, m - n)) > 1": ("best within best is not allowed", None, "under let"),
    "x > 1 / 0": ("this never has a value", "character 5 of", None),
    "x > sqrt(-1)": ("this never has a value", None, None),
    "x > 5 and x < 3": ("can never be true", None, None),
    "x > 5 and y > 0 and x <= 5": ("can never be true", None, None),
    "x < y and y < x": ("can never be true", None, None),
    "x == 1 and x == 2": ("can never be true", None, None),
    "x == y and x < y": ("can never be true", None, None),
    "isfinite(x) and not isfinite(x)": ("can never be true", None, None),
    "own == UP and own == DOWN": ("can never be true", None, None),
    "abs(x) < 0": ("can never be true", None, None),
    "sin(x) > 1": ("can never be true", None, None),
    "1 > 2": ("can never be true", None, None),
    "false": ("can never be true", None, None),
    "'" + "(" * 31 + "x" + ")" * 31 + " > 1'": ("nested too deeply", None, "under let"),
    "x" + "+x" * 80 + " > 1": ("nested too deeply", None, "under let"),
    "x" + "+x" * 420 + " > 1": ("more than 800 names", None, "under let"),
    "x" + "+x" * 1200 + " > 1": ("an expression of 2405 characters is too long", None, "under let"),
}  # fmt: skip


@pytest.mark.parametrize("when", WHEN, ids=lambda text: text[:40])
def test_a_condition_is_refused(when: str) -> None:
    problem, found, hint = WHEN[when]
    error = refusal(f"version: 1\nrules:\n  - when: {when}\n    do: UP\n")
    assert error.problem.startswith("rule 1, when (line 3, column ")
    assert problem in error.problem
    assert found is None or found in str(error.found)
    assert hint is None or hint in str(error.hint)
    assert error.line == 3


DO = {
    (DISCRETE, "UPP"): "there is no action 'UPP'",
    (DISCRETE, "1"): "a number where an action is needed",
    (DISCRETE, "UP if x else DOWN"): "a number where a condition is needed",
    (DISCRETE, "UP if x > 1 else 3"): "a number where an action is needed",
    (DISCRETE, "[UP, DOWN]"): "one expression is needed, not a list",
    (DISCRETE, "{hip: 1}"): "actions are discrete here",
    (CONTINUOUS, "UP"): "actions are continuous here",
    (CONTINUOUS, "{}"): "no component is named",
    (CONTINUOUS, "{hipp: 1}"): "there is no component 'hipp'",
    (CONTINUOUS, "{hip: own}"): "own needs a component",
    (CONTINUOUS, "{hip: own.hop}"): "there is no component 'hop'",
    (CONTINUOUS, "{hip: clip(x, 0, 1)}"): "is no component's name (an expression that has a comma is quoted)",
}


@pytest.mark.parametrize(("interface", "do"), DO)
def test_what_is_done_is_refused(interface: Interface, do: str) -> None:
    error = refusal(f"rules:\n- when: x > 1\n  do: {do}\n", interface)
    assert DO[interface, do] in error.problem
    assert "rule 1, do" in error.problem
    assert error.line == 3


LETTERS = "abcdefghijklm"
FILE = {
    "": "there is not one document",
    "- a": "there is no mapping",
    "version: 1": "there are no rules, no potential and no reward",
    "version: 2\npotential: x": "version (line 1, column 10)",
    "rule: []\npotential: x": "rule (line 1, column 7): this key is not known",
    "rules: [{when: x > 1}]": "the key 'do' is missing",
    "rules: [{when: x > 1, do: UP, wy: z}]": "this key is not known",
    "rules: [{when: min(x, 1) > 1, do: UP}]": "this key is not known",
    "potential: x\npotential: y": "a key is given twice",
    "potential: x\nreward: y": "a potential or a reward, not both",
    "potential: next.x": "next.x is not known here",
    "potential: own == UP": "own, what the policy proposes, is not known here",
    "let: {a: 0 + (own == UP)}\npotential: a": "a potential cannot depend on own",
    "reward: next.z": "there is no quantity, let or constant 'z'",
    "constants: {a: 5}\npotential: x": "a constant is a list [value, low, high]",
    "constants: {a: [5, 6, 7]}\npotential: x": "5 is not within [6, 7]",
    "constants: {a: [5, 1, .inf]}\npotential: x": "a list of three numbers",
    "constants: {x: [5, 1, 6]}\npotential: x": "the name 'x' is taken by a quantity",
    "constants: {a b: [5, 1, 6]}\npotential: x": "a name is not usable",
    "let: {a: b, b: 1}\npotential: a": "there is no quantity, let or constant 'b'",
    "let: {'f(a)': f(a)}\npotential: f(x)": "there is no function 'f'",
    "let: {'f(a)': a}\npotential: f(x, y)": "f takes 1, not 2 arguments",
    "let: {'f(a)': a + b}\npotential: x": "there is no quantity, let or constant 'b'",
    "let: {'f(a, a)': a}\npotential: x": "a let with parameters is not usable",
    "let: {'abs(a)': a}\npotential: x": "the function 'abs' exists already",
    "let: {own: 1}\npotential: x": "a name is not usable",
    "let: {a: UP}\npotential: x": "UP is an action",
    "rules: [{when: true, do: UP}, {when: x > 1, do: DOWN}]": "can never act: rule 1 acts wherever it would",
    "rules: [{when: x > 1, do: UP}, {when: 1 < x, do: DOWN}]": "can never act: rule 1 acts wherever it would",
    "potential: &a x": "anchors, aliases and tags",
    "potential: !!python/name:os.system x": "anchors, aliases and tags",
    "! [x]": "anchors, aliases and tags",
    "potential: !\n  a: 1": "anchors, aliases and tags",
    'potential: "\\UFFFFFFFF"': "this is not YAML",
    "%YAML 1." + "9" * 5000 + "\n---\npotential: x": "this is not YAML",
    "? [a]\n: 1": "a key must be a word",
    "potential: {a: [[[[[[[1]]]]]]]}": "nested too deeply",
    "potential: [x": "this is not YAML",
    "potential: 'x": "this is not YAML",
    "potential: x: y": "this is not YAML",
    "\tpotential: x": "this is not YAML",
    "potential: x\n---\npotential: y": "there is not one document",
    "potential: \x00": "this is not YAML",
    "potential: \ud800": "this is not YAML",
    "x" * 20_001: "the text is too long",
    "rules: [" + "{when: x > 1, do: UP}, " * (MAX_RULES + 1) + "]": f"at most {MAX_RULES}",
    "potential: x\nlet: {" + ", ".join(f"a{i}: x" for i in range(MAX_LETS + 1)) + "}": f"at most {MAX_LETS}",
    "potential: x\nconstants: {" + ", ".join(f"a{i}: [1, 0, 2]" for i in range(MAX_CONSTANTS + 1)) + "}": (
        f"at most {MAX_CONSTANTS}"
    ),
    "let: {'a(o)': o+o, " + ", ".join(f"'{b}(o)': {a}(o)+{a}(o)" for a, b in pairwise(LETTERS))
    + "}\npotential: m(x)": "the rules are too large",
    "let: {'a0(o)': o+1, " + ", ".join(f"'a{i + 1}(o)': a{i}(o)+1" for i in range(40)) + "}\npotential: x":
        "lets within lets are nested too deeply",
}  # fmt: skip


@pytest.mark.parametrize("text", FILE, ids=lambda text: ascii(text[:50]))
def test_a_file_is_refused(text: str) -> None:
    assert FILE[text] in refusal(text).problem


def test_the_place_is_that_of_the_character() -> None:
    text = "rules:\n  - {when: 'x > 1 and mis < 3', do: UP}\n  - when: >-\n      x > 1\n      and mis < 3\n    do: UP"
    error = refusal(text)
    assert (error.line, error.column) == (2, text.splitlines()[1].index("mis") + 1)
    folded = refusal(text.replace("mis", "x", 1))
    assert folded.line == 3  # where the text begins: it goes over several lines
    assert "character 11 of" in str(folded.found)


def test_a_rule_after_one_that_may_abstain_is_not_refused() -> None:
    parse_rules("rules: [{when: x > 1, do: own}, {when: x > 1, do: UP}]", DISCRETE)
    parse_rules("rules: [{when: true, do: {hip: 1 / x}}, {when: y > 1, do: {hip: 0}}]", CONTINUOUS)


@pytest.mark.parametrize(
    "when", ["x > 3 or x < 1", "x >= 3 and x <= 3", "x > a and x < 2 * a", "abs(x) <= 0", "x > 1 and not x > 2"]
)
def test_a_condition_that_can_be_true_is_not_refused(when: str) -> None:
    parse_rules(f"constants: {{a: [1, 0, 2]}}\nrules: [{{when: {when}, do: UP}}]", DISCRETE)


def test_a_file_is_named_and_one_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with pytest.raises(RuleError, match="cannot read the rules"):
        load_rules(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RuleError, match="cannot read the rules"):
        load_rules(path)
    path.write_text("rules: [{when: x >, do: UP}]")
    with pytest.raises(RuleError, match=r"mine\.yaml: rule 1, when \(line 1, column "):
        load_rules(path)
    path.write_text("#" * 30_000)
    with pytest.raises(RuleError, match="too long"):
        load_rules(path)


def test_an_error_survives_a_process_boundary() -> None:
    error = refusal("rules: [{when: z > 1, do: UP}]")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.line, again.column) == (str(error), error.line, error.column)


@pytest.mark.parametrize(
    "arguments",
    [
        {"quantities": ("x", "x")}, {"quantities": ("own",)}, {"quantities": ("a b",)}, {"quantities": ("lambda",)},
        {"quantities": (), "actions": ("A",), "components": ("b",)},
        {"quantities": (), "components": ("b",), "low": (1, 2)},
    ],
)  # fmt: skip
def test_an_interface_is_refused(arguments: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(RuleError):
        Interface(**arguments)  # type: ignore[arg-type]
