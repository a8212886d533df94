"""TorchScript archives: programs that can be asked for actions, and a policy that can be trained imitates them.

An archive is code. It is not Python, but torch's interpreter runs whatever operators it names, those that map files
into memory among them, and its loader has had memory errors; so it is opened only for a user who vouches for it, and
in a process of its own, with limits (`_graphs`).
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
from gymnasium.spaces import Box

from ultra_agents.contracts import Options
from ultra_agents.contracts.formats import Foreign, PolicyFormat, Request
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

from ._acting import teacher
from ._graphs import Graph
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
        graph = Graph("torchscript", path)
        space = request.observation_space
        screens = isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) == 3

        def forward(observations: Array) -> Array:
            rows = np.ascontiguousarray(observations if screens else observations.astype(np.float32))
            return graph(rows)

        act = teacher(forward, request, named_normalizer(request))
        return Foreign(act=act, told={"tool": "torchscript"}, notes=("trusted: its code runs",))
