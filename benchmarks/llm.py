"""What asking costs: the gateway's own overhead, its throughput, and the embedded model's speed and prefix reuse.

Run `python benchmarks/llm.py [overhead] [throughput] [prefix] [speed]` (default: all), on an idle machine; prints one
JSON object a line, with the load it met. Targets: an ask costs less than 5 ms beside the model's time and less than
2 ms on a cache hit; 1, 4 and 16 episodes side by side take at most 10 % longer than the server's latency makes them.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, Field

from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.llm.gateway import Gateway
from ultra_agents.registry import create_llm


class Move(BaseModel):
    """A small reply."""

    rationale: str = Field(max_length=80)
    action: Literal["UP", "DOWN"]


def overhead(calls: int = 200) -> dict[str, float]:
    """Median milliseconds per ask with an instantaneous model, and on a cache hit."""
    script = LLMConfig(
        provider="scripted", options={"replies": [{"rationale": "x" * 60, "action": "UP"}], "cycle": True}
    )
    with tempfile.TemporaryDirectory() as folder, Gateway({"a": script}, GatewayConfig(), Path(folder)) as gateway:

        def ask(number: int) -> float:
            begun = time.perf_counter()
            gateway.ask(agent="advisor", segment="s", models=(), messages=[("user", f"{number} " * 500)], reply=Move)
            return 1000 * (time.perf_counter() - begun)

        ask(-1)
        fresh = [ask(number) for number in range(calls)]
        cached = [ask(number) for number in range(calls)]
    return {"fresh_ms": statistics.median(fresh), "cached_ms": statistics.median(cached)}


def tell(episode: int) -> str:
    """A narration of about 1,000 tokens."""
    steps = (f"step {i}: the ball is at {i * 7 % 50}, the paddle at {(i + episode) * 13 % 60}." for i in range(50))
    return f"Episode {episode}. " + " ".join(steps)


def speed(threads: int, together: int) -> dict[str, Any]:
    """Tokens/s of the embedded model with `together` questions at once, then of a second one on the same narration."""
    llm = create_llm("local", {"threads": threads, "context": 2048, "max_tokens": 60})
    try:
        chat = llm.open()
        wanted = {"type": "json_schema", "json_schema": {"name": "Move", "schema": Move.model_json_schema()}}
        bound = chat.bind(extra_body={"response_format": wanted})

        def ask(text: str) -> dict[str, Any]:
            used = bound.invoke(text).usage_metadata
            assert used is not None
            return dict(used)

        begun = time.perf_counter()
        with ThreadPoolExecutor(together) as pool:
            used = list(pool.map(lambda number: ask(tell(number) + " What was wrong?"), range(together)))
        seconds = time.perf_counter() - begun
        begun = time.perf_counter()
        again = ask(tell(0) + " Which action is better?")
        second = time.perf_counter() - begun
    finally:
        llm.close()
    return {
        "threads": threads,
        "together": together,
        "seconds": seconds,
        "prompt_tokens": sum(row["input_tokens"] for row in used),
        "completion_tokens": sum(row["output_tokens"] for row in used),
        "second_seconds": second,
        "second_prompt_tokens": again["input_tokens"],
        "second_prefilled": again["input_tokens"] - again["input_token_details"]["cache_read"],
    }


class Slow:
    """A loopback server of OpenAI's protocol that takes its time over every answer.

    Args:
        seconds: How long.
    """

    def __init__(self, seconds: float) -> None:
        said = json.dumps({"rationale": "it rises", "action": "UP"})
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        usage = {"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19}
        row = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        body = json.dumps(row).encode()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.say(b'{"data": [{"id": "m"}]}')

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                time.sleep(seconds)
                self.say(body)

            def say(self, content: bytes) -> None:
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def throughput(episodes: int, latency_s: float = 1.0, asks: int = 6) -> dict[str, float]:
    """`episodes` side by side, each of `asks` questions in turn, at a server that takes `latency_s` over each."""
    server = Slow(latency_s)
    entry = LLMConfig(provider="openai", options={"model": "m", "base_url": server.address})
    try:
        with tempfile.TemporaryDirectory() as folder, Gateway({"a": entry}, GatewayConfig(), Path(folder)) as gateway:

            def episode(number: int) -> None:
                for turn in range(asks):
                    question = [("system", tell(number)), ("user", f"turn {turn}?")]
                    gateway.ask(agent="advisor", segment=f"{number}", models=(), messages=question, reply=Move)

            warm = [("user", "Are you there?")]
            gateway.ask(agent="advisor", segment="warm", models=(), messages=warm, reply=Move)  # imports, connection
            begun = time.perf_counter()
            with ThreadPoolExecutor(episodes) as pool:
                list(pool.map(episode, range(episodes)))
            seconds = time.perf_counter() - begun
    finally:
        server.close()
    ideal = asks * latency_s
    return {
        "episodes": episodes,
        "seconds": seconds,
        "ideal": ideal,
        "over_ideal_percent": 100 * (seconds / ideal - 1),
    }


def prefix() -> dict[str, Any]:
    """Prompt tokens of an advisor's question after an identifier's on the same segment, and those prefilled for it."""
    from ultra_agents.agents import prompts
    from ultra_agents.agents.prompts import load_prompt
    from ultra_agents.contracts import Brief

    brief = Brief("Win the rally.", "A ball and two paddles.", "UP, DOWN, STAY", "+1 a point", "at 21 points")
    opening = prompts.opening(brief, tell(0))

    def question(agent: str) -> list[tuple[str, str]]:
        prompt = load_prompt(agent)
        return [("system", opening), *prompt.fill(**dict.fromkeys(prompt.variables, "12"))]

    llm = create_llm("local", {"context": 4096, "max_tokens": 4})
    try:
        chat = llm.open()
        used = [
            chat.invoke([list(pair) for pair in question(agent)]).usage_metadata for agent in ("identifier", "advisor")
        ]
    finally:
        llm.close()
    first, second = (cast(dict[str, Any], row) for row in used)
    reused = int(second["input_token_details"]["cache_read"])
    return {
        "identifier_prompt_tokens": first["input_tokens"],
        "advisor_prompt_tokens": second["input_tokens"],
        "advisor_prefilled": second["input_tokens"] - reused,
    }


def main() -> None:
    """Measure and print."""
    parts: dict[str, list[Callable[[], dict[str, Any]]]] = {
        "overhead": [overhead],
        "throughput": [partial(throughput, episodes) for episodes in (1, 4, 16)],
        "prefix": [prefix],
        "speed": [partial(speed, threads, together) for threads in (1, 2) for together in (1, 4)],
    }
    unknown = set(sys.argv[1:]) - set(parts)
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(parts)}")
    for name in sys.argv[1:] or parts:
        for measure in parts[name]:
            print(json.dumps({"what": name, "load": os.getloadavg()[0], **measure()}), flush=True)


if __name__ == "__main__":
    main()
