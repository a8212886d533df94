"""Small policies made by the tools themselves, and bombs that would leave a file behind if anybody opened them."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from ultra_agents.contracts import Request

torch.set_num_threads(1)
SCREEN = Box(0, 255, (40, 40, 3), np.uint8)


class Screens(gymnasium.Env[Any, Any]):
    """Random pictures, channels last."""

    observation_space, action_space = SCREEN, Discrete(3)

    def reset(self, **_: Any) -> Any:
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 1.0, False, False, {}


class Bomb:
    """Unpickled, it makes the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.fixture
def spaces() -> Callable[[str], tuple[Any, Any]]:
    def of(env_id: str) -> tuple[Any, Any]:
        env = gymnasium.make(env_id)
        return env.observation_space, env.action_space

    return of


@pytest.fixture
def request_for(spaces: Any) -> Callable[..., Request]:
    """A request for a file in an environment."""

    def make(path: Path, env_id: str, **more: Any) -> Request:
        return Request(path, *spaces(env_id), **more)

    return make


@pytest.fixture
def bomb(tmp_path: Path) -> tuple[bytes, Path]:
    """A pickle, shown to work, and the file it makes."""
    mark = tmp_path / "exploded"
    data = pickle.dumps(Bomb(mark))
    pickle.loads(data)
    assert mark.exists(), "the bomb must work, or what follows proves nothing"
    mark.unlink()
    return data, mark


def replaced(path: Path, out: Path, **members: bytes) -> Path:
    """A copy of the zip `path` with other contents for the members whose last name is given."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            key = name.rpartition("/")[2].replace(".", "_")
            target.writestr(name, members.get(key, source.read(name)))
    return out


def torch_zip(path: Path, **members: bytes) -> bytes:
    """The bytes of the torch file inside the SB3 zip `path`, with members exchanged."""
    with zipfile.ZipFile(path) as source:
        inner = path.with_suffix(".inner")
        inner.write_bytes(source.read("policy.pth"))
    return replaced(inner, path.with_suffix(".bad"), **members).read_bytes()


def saved(tensors: Any) -> bytes:
    """What `torch.save` writes."""
    out = io.BytesIO()
    torch.save(tensors, out)
    return out.getvalue()
