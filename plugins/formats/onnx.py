"""ONNX networks, run by onnxruntime: they can be asked for actions, and a policy that can be trained imitates them.

A graph is data: it names operators of a fixed list, and nothing outside the file is opened (it is handed over as
bytes, so tensors kept in other files are refused). Its first input takes the observations. It runs in a process of
its own, with limits (`_graphs`).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from ultra_agents.contracts import Options
from ultra_agents.contracts.formats import Foreign, PolicyFormat, Request
from ultra_agents.errors import PolicyError

from ._acting import teacher
from ._graphs import Graph
from ._normalizer import named_normalizer

MAX_BYTES = 1 << 29


class ONNX(PolicyFormat):
    """`.onnx` files; the first output is taken."""

    Options: ClassVar[type[Options]] = Options
    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)

    def recognises(self, path: Path) -> bool:
        """By its name: an ONNX file has no mark of its own."""
        return path.suffix.lower() == ".onnx"

    def read(self, request: Request) -> Foreign:
        """The network as something to ask."""
        if find_spec("onnxruntime") is None:
            raise PolicyError(
                "an ONNX policy is run by onnxruntime, which is not installed", hint="pip install 'ultra-agents[onnx]'"
            )
        path = request.path
        if path.stat().st_size > MAX_BYTES:
            raise PolicyError(
                f"{path} is too big for a policy", found=f"{path.stat().st_size:,} bytes", expected=f"{MAX_BYTES:,}"
            )
        forward = Graph("onnx", path)
        statistics = named_normalizer(request)
        act = teacher(forward, request, statistics)
        notes = [forward.about]
        if statistics is not None:
            notes.append(f"normaliser of {statistics.count:,.0f} observations from {statistics.source}")
        return Foreign(act=act, told={"tool": "onnx"}, notes=tuple(notes))
