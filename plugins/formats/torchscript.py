"""TorchScript archives: programs that can be asked for actions, and a policy that can be trained imitates them.

An archive is code. It is not Python, but torch's interpreter runs whatever operators it names, those that map files
into memory among them, and its loader has had memory errors; so it is opened only for a user who vouches for it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box

from ultra_agents.contracts import Options
from ultra_agents.contracts.formats import Foreign, PolicyFormat, Request
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

from ._acting import teacher
from ._normalizer import named_normalizer


class TorchScript(PolicyFormat):
    """Archives of `torch.jit.save`; the first output is taken."""

    Options: ClassVar[type[Options]] = Options
    suffixes: ClassVar[tuple[str, ...]] = (".ts", ".pt")

    def recognises(self, path: Path) -> bool:
        """A zip with `constants.pkl` and a folder `code`."""
        try:
            with zipfile.ZipFile(path) as file:
                names = {name.partition("/")[2] for name in file.namelist()}
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return False
        return "constants.pkl" in names and any(name.startswith("code/") for name in names)

    def read(self, request: Request) -> Foreign:
        """The program as something to ask; only with `trust`."""
        path = request.path
        if not request.trust:
            raise PolicyError(
                f"{path} is a TorchScript archive: a program, which runs when it is asked for actions",
                found="code for torch's interpreter, which may open files",
                expected="weights, or your word that the file is harmless",
                hint="if you made this file yourself: --trust; ONNX networks and state dictionaries need no trust",
            )
        import torch

        try:
            load: Any = torch.jit.load
            module = load(str(path), map_location="cpu").eval()
        except Exception as error:  # torch raises RuntimeError and others
            raise PolicyError(
                f"{path} cannot be read as TorchScript: it is damaged, cut short, or of a newer torch",
                found=" ".join(f"{type(error).__name__}: {error}".split())[:200],
                hint="save it again with torch.jit.save",
            ) from error
        space = request.observation_space
        screens = isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) == 3

        def forward(observations: Array) -> Array:
            rows = np.ascontiguousarray(observations if screens else observations.astype(np.float32))
            with torch.no_grad():
                out = module(torch.from_numpy(rows))
            return np.asarray((out[0] if isinstance(out, tuple | list) else out).numpy())

        act = teacher(forward, request, named_normalizer(request))
        return Foreign(act=act, told={"tool": "torchscript"}, notes=("trusted: its code runs",))
