"""What asking costs: the gateway's own overhead, and the embedded model's speed and prefix reuse.

Run `python benchmarks/llm.py [--overhead]`, on an idle machine; prints one JSON object a line, with the load it met.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

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


def main() -> None:
    """Measure and print."""
    print(json.dumps({"load": os.getloadavg()[0], **overhead()}), flush=True)
    for threads in () if "--overhead" in sys.argv else (1, 2):
        for together in (1, 4):
            print(json.dumps({"load": os.getloadavg()[0], **speed(threads, together)}), flush=True)


if __name__ == "__main__":
    main()
