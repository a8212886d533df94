"""Foreign networks in a process of their own, with limits on its memory and on the time of one answer.

A graph of some hundred bytes can ask for any amount of memory, or never end; the process that asks outlives it. Arrays
travel as `.npy`, words as UTF-8: nothing is unpickled on either side.
"""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import weakref
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

MOST_BYTES = 4 << 30
"""Memory of the process (`RLIMIT_DATA`)."""
ANSWER_S = 120.0
"""Seconds one answer may take, loading included."""
_TOOLS = {"onnx": "ONNX", "torchscript": "TorchScript"}
_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(uint8)": np.uint8,
    "tensor(float16)": np.float16, "tensor(int64)": np.int64,
}  # fmt: skip


class Graph:
    """A network in a process of its own.

    Args:
        kind: `onnx` or `torchscript`.
        path: The file.

    Attributes:
        about: What the network takes and gives, in words.

    Raises:
        PolicyError: It cannot be loaded within the limits.
    """

    def __init__(self, kind: str, path: Path) -> None:
        self.path = path
        self._here, there = Pipe()
        command = [sys.executable, "-P", "-m", __name__, kind, str(path.absolute()), str(there.fileno())]
        limits = [str(MOST_BYTES)]
        self._process = subprocess.Popen(
            [*command, *limits], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=[there.fileno()],
        )  # fmt: skip
        there.close()
        weakref.finalize(self, _end, self._process, self._here)
        problem = f"{path} cannot be read as {_TOOLS[kind]}: it is damaged, cut short, or something else"
        answer = self._answer(problem)
        if answer[:1] != b"+":
            raise self._failed(problem, answer[1:].decode(errors="replace"))
        self.about = answer[1:].decode()

    def __call__(self, observations: Array) -> Array:
        """The first output for observations `(n, ...)`.

        Raises:
            RuntimeError: The network refuses them.
            PolicyError: It does not answer within the limits.
        """
        problem = f"the network in {self.path} gives no answer: it takes other observations, or asks for too much"
        try:
            self._here.send_bytes(_packed(observations))
        except OSError as error:
            raise self._failed(problem, "its process has ended") from error
        answer = self._answer(problem)
        if answer[:1] != b"+":
            raise RuntimeError(answer[1:].decode(errors="replace"))
        return _unpacked(answer[1:])

    def _answer(self, problem: str) -> bytes:
        try:
            if not self._here.poll(ANSWER_S):
                self._process.kill()
                raise self._failed(problem, f"nothing within {ANSWER_S:.0f} s")
            answer = self._here.recv_bytes(MOST_BYTES)
        except (EOFError, OSError) as error:
            raise self._failed(problem, f"its process ended with status {self._process.wait()}") from error
        return answer

    def _failed(self, problem: str, found: str) -> PolicyError:
        return PolicyError(
            problem,
            found=found,
            expected=f"an answer within {ANSWER_S:.0f} s and {MOST_BYTES >> 30} GiB of memory",
            hint="export it again",
        )


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    process.kill()
    process.wait()


def _packed(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def _unpacked(data: bytes) -> Array:
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))


def _onnx(path: str) -> tuple[str, Callable[[Array], Array]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(Path(path).read_bytes(), options, providers=["CPUExecutionProvider"])
    first, output = session.get_inputs()[0], session.get_outputs()[0].name
    kind, single = _TYPES.get(first.type, np.float32), first.shape[:1] == [1]

    def forward(observations: Array) -> Array:
        rows = observations.astype(kind)
        batches = [rows[i : i + 1] for i in range(len(rows))] if single else [rows]
        return np.concatenate([np.asarray(session.run([output], {first.name: one})[0]) for one in batches])

    return f"asks {first.name} {first.shape} -> {output}", forward


def _torchscript(path: str) -> tuple[str, Callable[[Array], Array]]:
    import torch

    load: Any = torch.jit.load
    module = load(path, map_location="cpu").eval()

    def forward(observations: Array) -> Array:
        with torch.no_grad():
            out = module(torch.from_numpy(observations.copy()))
        return np.asarray((out[0] if isinstance(out, tuple | list) else out).numpy())

    return "", forward


def _serve(kind: str, path: str, descriptor: int, memory: int) -> None:
    """Load the network and answer until nobody asks any more."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked = Connection(descriptor)
    try:
        about, forward = {"onnx": _onnx, "torchscript": _torchscript}[kind](path)
        asked.send_bytes(b"+" + about.encode())
        while True:
            asked.send_bytes(b"+" + _packed(forward(_unpacked(asked.recv_bytes()))))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:  # the runtimes' errors have no common base
        asked.send_bytes(b"-" + " ".join(f"{type(error).__name__}: {error}".split())[:200].encode(errors="replace"))


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    os._exit(0)  # the runtimes' threads may be stuck
