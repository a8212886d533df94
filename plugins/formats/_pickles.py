"""Pickles read without running them: what a pickle *would* call is written down, nothing is ever called.

`pickletools.genops` splits the bytes into opcodes; the small machine here keeps a stack of plain values. A global is
a `Name` (never imported), a call is a `Call` (never made). Names outside the caller's list are refused, because a
state dictionary or a normaliser has no use for them.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

MAX_OPCODES = 2_000_000
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_TEXT = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"}
_NUMBERS = {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT"}
_OLD_TEXT = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED = {"PROTO", "FRAME"}
_DTYPES = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})


@dataclass(frozen=True)
class Name:
    """Something a pickle names: `module.name`, not imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Call:
    """Something a pickle would call, and what it would then put into the result.

    Attributes:
        function: A `Name`, as everything callable in a pickle is.
        args: What it would be given.
        state: What `BUILD` would set on the result: usually the object's `__dict__`.
        items: What would be stored under keys, for subclasses of dict.
        extended: What would be appended, for subclasses of list.
    """

    function: object
    args: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    extended: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Call({self.function})"


@dataclass(frozen=True, eq=False)
class Persistent:
    """A reference to something outside the pickle: torch's storages."""

    key: Any


class _Mark:
    pass


def read_pickle(data: bytes, allowed: Callable[[Name], bool], path: Path, whose: str) -> Any:
    """What a pickle describes, as plain values, `Name`, `Call` and `Persistent`.

    Args:
        data: The pickle.
        allowed: Whether a global may be named at all.
        path: The file, for messages.
        whose: What the pickle is in that file, for messages ("the weights").

    Raises:
        PolicyError: It names something else, is cut short, or is no pickle.
    """
    try:
        return _Machine(allowed, path, whose).run(data)
    except PolicyError:
        raise
    except Exception as error:  # whatever a hand-made stream provokes, it is damage
        raise PolicyError(
            f"{whose} of {path} cannot be read: damaged, cut short, or something else",
            found=f"{type(error).__name__}: {error}"[:200],
            expected="a complete pickle",
            hint="copy or save it again",
        ) from error


class _Machine:
    """The stack machine of `pickle`, over inert values."""

    def __init__(self, allowed: Callable[[Name], bool], path: Path, whose: str) -> None:
        self.allowed, self.path, self.whose = allowed, path, whose
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """Interpret opcode after opcode."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > MAX_OPCODES:
                raise ValueError(f"more than {MAX_OPCODES:,} instructions")
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise ValueError("no end")

    def step(self, name: str, argument: Any) -> None:
        """One opcode."""
        stack = self.stack
        if name in _IGNORED:
            return
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _TEXT or name in _NUMBERS or name in _OLD_TEXT:
            stack.append(argument)
        elif name in _BYTES:
            stack.append(bytes(argument))
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[len(self.memo) if name == "MEMOIZE" else int(argument)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[int(argument)])
        elif name == "MARK":
            stack.append(_Mark())
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self.until_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in ("GLOBAL", "INST"):
            module, _, word = str(argument).partition(" ")
            found = self.name(module, word)
            stack.append(Call(found, tuple(self.until_mark())) if name == "INST" else found)
        elif name == "STACK_GLOBAL":
            word, module = stack.pop(), stack.pop()
            stack.append(self.name(str(module), str(word)))
        elif name in ("REDUCE", "NEWOBJ"):
            args, function = stack.pop(), stack.pop()
            stack.append(Call(function, tuple(args)))
        elif name == "NEWOBJ_EX":
            kwargs, args, function = stack.pop(), stack.pop(), stack.pop()
            stack.append(Call(function, (*args, kwargs)))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], Call):
                raise ValueError("a state for something that is no object")
            stack[-1].state = state
        elif name in ("PERSID", "BINPERSID"):
            stack.append(Persistent(argument if name == "PERSID" else stack.pop()))
        else:
            self.collect(name)

    def collect(self, name: str) -> None:
        """Opcodes that make or fill tuples, lists, dictionaries and sets."""
        stack = self.stack
        if name.startswith("EMPTY_"):
            stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}, "EMPTY_SET": []}[name])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("TUPLE", "LIST", "FROZENSET"):
            rows = self.until_mark()
            stack.append(rows if name == "LIST" else tuple(rows))
        elif name == "DICT":
            rows = self.until_mark()
            stack.append(dict(zip(rows[::2], rows[1::2], strict=True)))
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            rows = [stack.pop()] if name == "APPEND" else self.until_mark()
            target = stack[-1]
            (target.extended if isinstance(target, Call) else target).extend(rows)
        elif name in ("SETITEM", "SETITEMS"):
            rows = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self.until_mark()
            target = stack[-1]
            (target.items if isinstance(target, Call) else target).update(zip(rows[::2], rows[1::2], strict=True))
        else:
            raise ValueError(f"the instruction {name} is not expected here")

    def until_mark(self) -> list[Any]:
        """Everything pushed since the last mark, which goes too."""
        rows: list[Any] = []
        while not isinstance(row := self.stack.pop(), _Mark):
            rows.append(row)
        return rows[::-1]

    def name(self, module: str, word: str) -> Name:
        """A global, if the caller allows it."""
        found = Name(module, word)
        if not self.allowed(found):
            raise PolicyError(
                f"{self.whose} of {self.path} would run code when opened, so nothing of it was taken",
                found=f"a call of {found}"[:200],
                expected="numbers and the names of array types only",
                hint="do not open it with another tool, either; if you made it, save the state dictionary alone",
            )
        return found


def numpy_name(name: Name) -> bool:
    """Names with which numpy arrays, scalars and types are pickled."""
    return (name.module, name.name) in {
        ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"), ("__builtin__", "bytes"),
        *(
            (f"numpy.{core}.{module}", word)
            for core in ("core", "_core")
            for module, word in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
        ),
    }  # fmt: skip


def as_array(value: Any) -> Array:
    """The array or number a pickle describes.

    Raises:
        ValueError: It describes none, or one whose bytes do not fit its shape.
    """
    if isinstance(value, bool | int | float):
        return np.asarray(value)
    if not isinstance(value, Call) or not isinstance(value.function, Name):
        raise ValueError(f"no array but {type(value).__name__}")
    if value.function.name == "_reconstruct":
        _, shape, dtype, fortran, data = value.state
    elif value.function.name == "_frombuffer":
        data, dtype, shape, order = value.args
        fortran = order == "F"
    elif value.function.name == "scalar":
        (dtype, data), shape, fortran = value.args, (), False
    else:
        raise ValueError(f"no array but {value.function}")
    kind, content = _dtype(dtype), _content(data)
    sizes = tuple(int(size) for size in shape)
    if min(sizes, default=1) < 0 or int(np.prod(sizes, dtype=object)) * kind.itemsize != len(content):
        raise ValueError(f"{len(content)} bytes for an array {sizes} of {kind}")
    return np.frombuffer(content, dtype=kind).reshape(sizes, order="F" if fortran else "C").copy()


def _dtype(value: Any) -> np.dtype[Any]:
    text = value.args[0] if isinstance(value, Call) and value.args else None
    if text not in _DTYPES:
        raise ValueError(f"an array of {text}")
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "|"
    return np.dtype(f"{order if order in ('<', '>') else '|'}{text}" if text[1] != "1" else text)


def _content(value: Any) -> bytes:
    if isinstance(value, Call) and value.function == Name("__builtin__", "bytes") and not value.args:
        return b""  # as Python 3 writes it for protocol 2
    if isinstance(value, Call) and value.function == Name("_codecs", "encode"):  # bytes in a pickle of protocol 2
        text, coding = value.args
        if coding != "latin1":
            raise ValueError(f"bytes coded as {coding}")
        return str(text).encode("latin1")
    if not isinstance(value, bytes):
        raise ValueError(f"no bytes but {type(value).__name__}")
    return value
