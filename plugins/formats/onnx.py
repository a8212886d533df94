"""ONNX networks, run by onnxruntime: they can be asked for actions, and a policy that can be trained imitates them.

A graph is data: it names operators of a fixed list, and nothing outside the file is opened (it is handed over as
bytes, so tensors kept in other files are refused). Its first input takes the observations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ultra_agents.contracts import Options
from ultra_agents.contracts.formats import Foreign, PolicyFormat, Request
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

from ._acting import teacher
from ._normalizer import named_normalizer

MAX_BYTES = 1 << 29
_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(uint8)": np.uint8,
    "tensor(float16)": np.float16, "tensor(int64)": np.int64,
}  # fmt: skip


class ONNX(PolicyFormat):
    """`.onnx` files; the first output is taken."""

    Options: ClassVar[type[Options]] = Options
    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)

    def recognises(self, path: Path) -> bool:
        """By its name: an ONNX file has no mark of its own."""
        return path.suffix.lower() == ".onnx"

    def read(self, request: Request) -> Foreign:
        """The network as something to ask."""
        try:
            import onnxruntime
        except ImportError as error:
            raise PolicyError(
                "an ONNX policy is run by onnxruntime, which is not installed", hint="pip install 'ultra-agents[onnx]'"
            ) from error
        path = request.path
        if path.stat().st_size > MAX_BYTES:
            raise PolicyError(
                f"{path} is too big for a policy", found=f"{path.stat().st_size:,} bytes", expected=f"{MAX_BYTES:,}"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common base
            raise PolicyError(
                f"{path} cannot be read as ONNX: it is damaged, cut short, or something else",
                found=" ".join(f"{type(error).__name__}: {error}".split())[:200],
                expected="one complete .onnx file, its weights inside",
                hint="export it again",
            ) from error
        first, output = session.get_inputs()[0], session.get_outputs()[0].name
        kind, single = _TYPES.get(first.type, np.float32), first.shape[:1] == [1]

        def forward(observations: Array) -> Array:
            rows = observations.astype(kind)
            batches = [rows[i : i + 1] for i in range(len(rows))] if single else [rows]
            return np.concatenate([np.asarray(session.run([output], {first.name: one})[0]) for one in batches])

        statistics = named_normalizer(request)
        act = teacher(forward, request, statistics)
        notes = [f"asks {first.name} {first.shape} -> {output}"]
        if statistics is not None:
            notes.append(f"normaliser of {statistics.count:,.0f} observations from {statistics.source}")
        return Foreign(act=act, told={"tool": "onnx"}, notes=tuple(notes))
