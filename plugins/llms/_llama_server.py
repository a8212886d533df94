"""llama.cpp's server in a process of its own: it can be stopped in the middle of an answer, and its faults stay there.

In the process that asks, a server that still answers can neither be destroyed (its destructor waits for the answer
with the interpreter's lock held) nor be left to the end (its threads run into what the interpreter takes down).

Run as a program this file is that process. It reads its settings from standard input as one line of JSON, answers with
one line, `{"address": ...}` or `{"error": ...}`, and ends when its input is closed: at the latest when whoever started
it is gone, however that came about.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from typing import IO, Any


@dataclass(frozen=True)
class Settings:
    """What a server is started with; equal settings can share one.

    Attributes:
        path: The GGUF file.
        context: Tokens of prompt and reply of one request.
        slots: Requests answered side by side.
        threads: Processor threads.
        gpu_layers: Layers on a GPU.
    """

    path: str
    context: int
    slots: int
    threads: int
    gpu_layers: int


class LlamaServer:
    """A running server.

    Args:
        settings: What it serves.

    Attributes:
        address: Where it listens, `http://127.0.0.1:PORT`.

    Raises:
        RuntimeError: It did not start; the text is the server's own.
    """

    def __init__(self, settings: Settings) -> None:
        with tempfile.TemporaryFile() as said:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,  # Ctrl-C in the terminal is for the run, which still wants its answers
            )
            try:
                answer = self._ask(asdict(settings))
            except BaseException:
                self.stop()
                raise
            if "address" not in answer:
                self.stop()
                raise RuntimeError(answer.get("error") or self._how_it_ended(said))
        self.address = str(answer["address"])

    def _ask(self, settings: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(settings).encode() + b"\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        return dict(json.loads(line)) if line else {}

    def _how_it_ended(self, said: IO[bytes]) -> str:
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
        return f"its process ended with {self._process.returncode}" + "".join(f": {line}" for line in last)

    def stop(self) -> None:
        """End it, in the middle of an answer too, and free its port."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _start(settings: Settings) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings.path
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = settings.context * settings.slots  # divided evenly among the slots
    params.n_parallel = settings.slots
    params.cpuparams.n_threads = settings.threads
    params.cpuparams_batch.n_threads = settings.threads
    params.cpuparams.poll = 0  # waiting threads sleep: beside training they would burn a core each
    params.cpuparams_batch.poll = 0
    params.n_gpu_layers = settings.gpu_layers
    params.cache_prompt = True
    params.cache_ram_mib = 256
    params.offline = True
    params.ui = False
    params.verbosity = -1
    params.warmup = False
    params.fit_params = False
    return xllamacpp.Server(params)


def main() -> None:
    """Serve until standard input is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the library prints is no answer
    settings = Settings(**json.loads(sys.stdin.readline()))
    try:
        server = _start(settings)
    except Exception as error:
        print(json.dumps({"error": f"{error}" or type(error).__name__}), file=answer, flush=True)
    else:
        print(json.dumps({"address": str(server.listening_address).rstrip("/")}), file=answer, flush=True)
        sys.stdin.read()
    os._exit(0)  # its threads may be in the middle of an answer


if __name__ == "__main__":
    main()
