"""From text to a syntax tree that holds nothing but what the language allows; foreign text is never evaluated.

Words and depth of brackets are checked before Python's parser sees the text, so that its own limits are out of reach.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator

from ultra_agents.contracts.quantities import WORD
from ultra_agents.rules.errors import Place, RuleError

MAX_CHARACTERS = 2000
"""Of one expression."""
MAX_WORDS = 800
"""Names, numbers and signs of one expression."""
MAX_BRACKETS = 30
"""Brackets within brackets."""
MAX_DEPTH = 60
"""Operations within operations."""

ALLOWED = (
    "numbers, names, + - * / %, ** 2 to 4, < <= > >= == !=, and, or, not, A if CONDITION else B, functions with ( )"
)
_KEYWORDS = frozenset({"and", "or", "not", "if", "else", "True", "False"})
_WORD = re.compile(
    r"(?P<space>\s+)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>\*\*(?!\*)|<=|>=|==|!=|//|&&|\|\||<<|>>|:=|[-+*/%<>(),.])",
    re.ASCII,
)
_HINTS = {
    "'": "there are no strings: write an action's name without quotes",
    '"': "there are no strings: write an action's name without quotes",
    "=": "compare with ==",
    ":=": "name values under let",
    "&": "write and",
    "&&": "write and",
    "|": "write or",
    "||": "write or",
    "!": "write not",
    "~": "write not",
    "^": "powers are written x ** 2",
    "//": "write floor(a / b)",
    "?": "write A if CONDITION else B",
    "[": "write functions with ( ); there are no lists",
    "{": "write functions with ( ); there are no sets",
    ";": "write one expression",
    "#": "comments belong into `why`",
}
_REFUSED_SIGNS = frozenset({"//", "&&", "||", "<<", ">>", ":="})
_NODES = (ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Compare, ast.Call, ast.Constant, ast.Attribute, ast.Name)


def parse_expression(text: str, place: Place) -> ast.expr:
    """The syntax tree of an expression, whose nodes' `col_offset` is the position in `text`.

    Raises:
        RuleError: It is empty, too long, nested too deeply, not an expression, or has a node that is not allowed.
    """
    if len(text) > MAX_CHARACTERS:
        raise place.refusal(
            f"an expression of {len(text)} characters is too long",
            expected=f"at most {MAX_CHARACTERS}",
            hint="name its parts under let",
        )
    if not text.strip():
        raise place.refusal("an expression is empty", expected=ALLOWED)
    _check_words(text, place)
    flat = re.sub(r"\s", " ", text)
    start = len(flat) - len(flat.lstrip())
    try:
        tree = ast.parse(flat[start:], mode="eval").body
    except SyntaxError as error:
        last = len(text.rstrip()) - 1
        at = min(start + error.offset - 1, last) if error.offset else last  # 0: the text ends too early
        raise place.refusal("this is no expression", text, at, expected=ALLOWED, hint=_advice(text, error)) from None
    except (RecursionError, MemoryError, ValueError):  # a caller's own stack may be nearly full
        raise _too_deep(place, text) from None
    _check_nodes(tree, text, place, start)
    return tree


def _advice(text: str, error: SyntaxError) -> str | None:
    if text.count("(") != text.count(")"):
        return "close every bracket; in YAML's { } quote an expression that has a comma"
    if "else" in (error.msg or ""):
        return "write A if CONDITION else B"
    return None


def _check_words(text: str, place: Place) -> None:
    """Refuse characters and words that are not part of the language, and text that would be nested too deeply."""
    count = brackets = at = 0
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            raise _strange(text, at, place)
        word, kind = match.group(), match.lastgroup
        if kind == "number":
            _check_number(text, at, word, place)
        elif kind == "name":
            _check_name(text, at, word, place)
        elif kind == "sign":
            if word in _REFUSED_SIGNS:
                raise place.refusal(
                    f"{word} is not part of the language", text, at, expected=ALLOWED, hint=_HINTS.get(word)
                )
            brackets += (word == "(") - (word == ")")
            if brackets > MAX_BRACKETS:
                raise _too_deep(place, text)
        count += kind != "space"
        if count > MAX_WORDS:
            raise place.refusal(
                f"an expression of more than {MAX_WORDS} names, numbers and signs is too long",
                hint="name its parts under let",
            )
        at = match.end()


def _strange(text: str, at: int, place: Place) -> RuleError:
    character = text[at]
    if character.isascii():
        problem, hint = f"the character {character!r} is not part of the language", _HINTS.get(character)
    else:
        problem, hint = f"the character {character!a} is not ASCII", "write names and signs in ASCII"
    return place.refusal(problem, text, at, expected=ALLOWED, hint=hint)


def _check_number(text: str, at: int, word: str, place: Place) -> None:
    after = text[at + len(word) : at + len(word) + 1]
    if len(word) > 30 or after == "." or after == "_" or after.isalnum():
        raise place.refusal("a number is not usable", text, at, expected="a decimal such as 12, 0.5 or 1e-3")
    if not float(word) < float("inf"):
        raise place.refusal("a number is too large", text, at, expected="a finite number")


def _check_name(text: str, at: int, word: str, place: Place) -> None:
    if keyword.iskeyword(word) and word not in _KEYWORDS:
        raise place.refusal(f"the word {word!r} is not part of the language", text, at, expected=ALLOWED)
    if word not in _KEYWORDS and not WORD.fullmatch(word):
        raise place.refusal(
            "a name is not usable", text, at, expected="at most 64 letters, digits and _, a letter first"
        )


def _check_nodes(tree: ast.expr, text: str, place: Place, start: int) -> None:
    """Refuse what the language lacks, and move every position to where it is in `text`."""
    for node, depth in _walk(tree):
        node.col_offset += start
        if depth > MAX_DEPTH:
            raise _too_deep(place, text)
        problem = _problem(node)
        if problem is not None:
            raise place.refusal(problem, text, node.col_offset, expected=ALLOWED)


def _walk(tree: ast.expr) -> Iterator[tuple[ast.expr, int]]:
    waiting = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting += [(child, depth + 1) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]


def _problem(node: ast.expr) -> str | None:
    """What is wrong with one node, whatever is below it."""
    if not isinstance(node, _NODES):
        return "a comma outside a function's brackets" if isinstance(node, ast.Tuple) else "this is not allowed here"
    if isinstance(node, ast.Constant) and not isinstance(node.value, int | float):
        return "this is not allowed here"
    if isinstance(node, ast.Attribute) and not isinstance(node.value, ast.Name):
        return "a dot is allowed in own.NAME and next.NAME only"
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name):
            return "only a function's name can stand before ( )"
        if node.keywords:
            return "arguments are given by position"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        exponent = node.right
        if not (isinstance(exponent, ast.Constant) and exponent.value in (2, 3, 4)):
            return "the exponent of ** must be 2, 3 or 4"
    return None


def _too_deep(place: Place, text: str) -> RuleError:
    return place.refusal(
        "an expression is nested too deeply",
        text,
        expected=f"at most {MAX_BRACKETS} brackets and {MAX_DEPTH} operations within one another",
        hint="name its parts under let",
    )
