"""The state of a Gymnasium environment as plain bytes: JSON and numpy arrays, never a pickle.

Numbers, text, containers, arrays, generators and simple objects of the environment's own packages are written down;
aliases stay aliases. Whatever else there is (spaces, functions, windows, C++ worlds) is taken for a constant and kept
as it is in the environment restored into. Whether that is enough is not assumed: see `probe`.
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from collections import deque
from enum import Enum
from typing import Any

import gymnasium
import numpy as np

from ultra_agents.errors import EnvironmentFault

_MISSING: Any = object()
_CONTAINERS: dict[str, type] = {
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque,
}  # fmt: skip
_DEEPEST = 60


def save(env: gymnasium.Env[Any, Any]) -> bytes:
    """The state of `env` and of all its wrappers."""
    layers = _layers(env)
    writer = _Writer(layers)
    return zlib.compress(json.dumps([writer.attributes(layer) for layer in layers]).encode(), 1)


def load(env: gymnasium.Env[Any, Any], saved: bytes) -> None:
    """Put a saved state into `env`, which must be made with the same arguments.

    Raises:
        EnvironmentFault: The bytes are damaged or of another environment.
    """
    layers = _layers(env)
    try:
        written = json.loads(zlib.decompress(saved))
        reader = _Reader(layers)
        found = [reader.attributes(node, vars(layer)) for node, layer in zip(written, layers, strict=True)]
    except (zlib.error, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise EnvironmentFault(
            f"this is not a snapshot of {env.unwrapped.spec.id if env.unwrapped.spec else env}",
            found=f"{len(saved)} bytes: {type(error).__name__} {error}",
        ) from error
    for layer, attributes in zip(layers, found, strict=True):
        kept = {name: value for name, value in vars(layer).items() if name in ("env", "spec")}
        vars(layer).clear()
        vars(layer).update(attributes | kept)


def _layers(env: Any) -> list[Any]:
    """The wrappers from the outermost one, then the environment itself."""
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _packages(layers: list[Any]) -> frozenset[str]:
    """Top-level packages whose simple objects may be part of the state."""
    return frozenset(cls.__module__.split(".")[0] for layer in layers for cls in type(layer).__mro__[:-1])


class _Writer:
    def __init__(self, layers: list[Any]) -> None:
        self._packages = _packages(layers)
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # an id is a name only as long as its object lives
        for layer in layers:
            self._new(layer)

    def attributes(self, owner: Any, depth: int = 0) -> dict[str, Any]:
        return {
            name: self.node(value, depth + 1) for name, value in vars(owner).items() if name not in ("env", "spec")
        }

    def node(self, value: Any, depth: int = 0) -> Any:
        if value is None or type(value) in (bool, int, float, str):
            return value
        if id(value) in self._seen:
            return {"t": "ref", "i": self._seen[id(value)]}
        if depth > _DEEPEST:
            return {"t": "keep"}
        kind = type(value).__name__
        if type(value) in _CONTAINERS.values():
            index = self._new(value)
            items = sorted(value, key=repr) if kind in ("set", "frozenset") else value
            length = value.maxlen if isinstance(value, deque) else None
            return {"t": kind, "i": index, "n": length, "v": [self.node(item, depth + 1) for item in items]}
        if type(value) is dict:
            index = self._new(value)
            return {"t": "dict", "i": index, "v": [[self.node(k), self.node(v, depth + 1)] for k, v in value.items()]}
        if type(value) is np.ndarray and value.dtype.kind in "biufcUS":
            data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
            return {"t": "array", "i": self._new(value), "d": value.dtype.str, "s": value.shape, "v": data}
        if isinstance(value, np.generic) and value.dtype.kind in "biufcUS":
            return {"t": "scalar", "d": value.dtype.str, "v": base64.b64encode(value.tobytes()).decode()}
        if type(value) is bytes:
            return {"t": "bytes", "v": base64.b64encode(value).decode()}
        if type(value) is np.random.Generator and type(value.bit_generator) is np.random.PCG64:
            return {"t": "generator", "i": self._new(value), "v": value.bit_generator.state}
        return self._object(value, depth)

    def _object(self, value: Any, depth: int) -> Any:
        cls = type(value)
        name = [cls.__module__, cls.__qualname__]
        if isinstance(value, Enum):
            return {"t": "enum", "c": name, "v": value.name}
        constant = isinstance(value, (type, gymnasium.Space)) or callable(value) or not hasattr(value, "__dict__")
        if constant or cls.__module__.split(".")[0] not in self._packages:
            return {"t": "keep"}
        index = self._new(value)
        return {"t": "object", "i": index, "c": name, "v": self.attributes(value, depth)}

    def _new(self, value: Any) -> int:
        self._seen[id(value)] = len(self._alive)
        self._alive.append(value)
        return len(self._alive) - 1


class _Reader:
    def __init__(self, layers: list[Any]) -> None:
        self._packages = _packages(layers)
        self._made: dict[int, Any] = dict(enumerate(layers))

    def attributes(self, node: dict[str, Any], present: dict[str, Any]) -> dict[str, Any]:
        return {name: self.value(child, present.get(name, _MISSING)) for name, child in node.items()}

    def value(self, node: Any, present: Any = _MISSING) -> Any:
        """The value of a node; `present` is what stands in its place now, for what is kept."""
        if not isinstance(node, dict):
            return node
        kind = node["t"]
        if kind == "ref":
            return self._made[node["i"]]
        if kind == "keep":
            if present is _MISSING:
                raise ValueError("something that cannot be saved is missing in this environment")
            return present
        if kind == "scalar":
            return np.frombuffer(base64.b64decode(node["v"]), _plain(node["d"]))[0]
        if kind == "bytes":
            return base64.b64decode(node["v"])
        if kind == "enum":
            return self._known(node["c"], Enum)[node["v"]]
        return self._shared(kind, node, present)

    def _shared(self, kind: str, node: dict[str, Any], present: Any) -> Any:
        """Values that may be referred to again."""
        index = node["i"]
        if kind == "array":
            flat = np.frombuffer(base64.b64decode(node["v"]), _plain(node["d"]))
            self._made[index] = flat.reshape(node["s"]).copy()
        elif kind == "generator":
            self._made[index] = np.random.Generator(np.random.PCG64())
            self._made[index].bit_generator.state = node["v"]
        elif kind == "dict":
            self._made[index] = made = {}
            before = present if isinstance(present, dict) else {}
            for key_node, child in node["v"]:
                key = self.value(key_node)
                made[key] = self.value(child, before.get(key, _MISSING))
        elif kind == "object":
            cls = self._known(node["c"], object)
            self._made[index] = thing = cls.__new__(cls)
            vars(thing).update(self.attributes(node["v"], vars(present) if type(present) is cls else {}))
        elif kind in ("list", "deque"):
            row: Any = [] if kind == "list" else deque(maxlen=node["n"])
            self._made[index] = row
            row.extend(self._items(node, present))
        else:
            self._made[index] = _CONTAINERS[kind](self._items(node, present))
        return self._made[index]

    def _items(self, node: dict[str, Any], present: Any) -> list[Any]:
        before = list(present) if isinstance(present, (list, tuple, deque)) else []
        before += [_MISSING] * (len(node["v"]) - len(before))
        return [self.value(child, now) for child, now in zip(node["v"], before, strict=False)]

    def _known(self, name: list[str], base: type) -> Any:
        """A class by name, of the environment's own packages and imported already: nothing is imported or called."""
        module, qualified = name
        found: Any = sys.modules.get(module) if module.split(".")[0] in self._packages else None
        for part in qualified.split("."):
            found = getattr(found, part, None)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ValueError(f"{module}.{qualified} is no class of this environment")
        return found


def _plain(dtype: str) -> np.dtype[Any]:
    plain = np.dtype(dtype)
    if plain.kind not in "biufcUS":
        raise ValueError(f"arrays of {dtype} are not read")
    return plain
