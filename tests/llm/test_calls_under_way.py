"""Calls at a kill are counted once; processes that share a cache ask each question once and use the stored reply."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from ultra_agents.errors import BudgetReached, Interrupted, LLMError, RunError
from ultra_agents.events import Warned
from ultra_agents.llm.cache import AnswerCache
from ultra_agents.llm.exchange_log import UNSEEN
from ultra_agents.llm.replies import RawReply
from ultra_agents.llm.single_flight import SingleFlight, this_machine

ASKING = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal
from pydantic import BaseModel
from ultra_agents.config import GatewayConfig, LLMConfig
from ultra_agents.llm.gateway import Gateway

class Move(BaseModel):
    rationale: str
    step: Literal[3, 6]
    action: Literal["UP", "DOWN"]

address, folder, cache, questions = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
llms = {"a": LLMConfig(provider="openai", options={"model": "m", "base_url": address, "timeout_s": 30})}

def ask(number):
    said = [("user", f"question {number}")]
    return gateway.ask(agent="critic", segment="s", models=(), messages=said, reply=Move).value.rationale

with Gateway(llms, GatewayConfig(cache=cache), folder) as gateway, ThreadPoolExecutor(2) as pool:
    for line in pool.map(ask, range(questions)):
        print(line, flush=True)
"""


def process(server, folder, cache, questions):
    arguments = [sys.executable, "-c", ASKING, f"{server.address}/v1", str(folder), str(cache), str(questions)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_call_under_way_at_a_kill_is_counted_once(bench, server):
    server.queue = [server.ok(bench.GOOD), None]
    killed = process(server, bench.folder, bench.folder / "llm-cache.sqlite", 2)
    transcript = bench.folder / "transcript.jsonl"
    until(lambda: len(server.requests) == 2 and transcript.is_file() and transcript.read_bytes().endswith(b"\n"))
    killed.kill()
    killed.communicate()
    server.queue = [server.ok(bench.GOOD)]
    for _ in range(2):
        with bench.gateway({"a": bench.openai(server)}, budget={"calls": 2}) as gateway:
            spent = gateway.usage()["critic"]
            with pytest.raises(BudgetReached):
                bench.ask(gateway)
        assert spent.calls == 2 == len(server.requests)
        assert spent.prompt_tokens > 11
    assert bench.verdicts().count(UNSEEN) == 1
    assert len([event for event in bench.events if isinstance(event, Warned)]) == 1


@pytest.mark.parametrize("at", ["exchange", "call_answered"])
def test_a_run_that_ends_between_answer_and_note_loses_no_charge(bench, server, monkeypatch, at):
    server.says(bench.GOOD)
    with bench.gateway({"a": bench.openai(server)}) as gateway:

        def killed(*arguments, **named):
            raise SystemExit

        monkeypatch.setattr(gateway._log, at, killed)
        with pytest.raises(SystemExit):
            bench.ask(gateway)
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        before = gateway.usage()["identifier"]
        assert bench.ask(gateway).cached is (at == "exchange")
        after = gateway.usage()["identifier"]
    assert before.calls == 1
    assert after.calls == len(server.requests)
    if at == "exchange":
        assert (before.prompt_tokens, before.completion_tokens) == (11, 7), "what the server counted"


def test_failures_and_retries_are_counted_as_they_were(bench, server):
    server.queue = [(500, {}, b'{"error": {"message": "busy"}}'), server.ok("no JSON"), server.ok(bench.GOOD)]
    for _ in range(2):
        with bench.gateway({"a": bench.openai(server)}) as gateway:
            bench.ask(gateway)
    assert UNSEEN not in bench.verdicts()
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        assert gateway.usage()["identifier"].calls == 2


def test_a_call_that_was_stopped_counts_and_one_never_made_does_not(bench, server):
    server.queue = [None]
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        with pytest.raises(Interrupted):
            bench.ask(gateway, stop=lambda: True)
        with pytest.raises(Interrupted):
            bench.ask(gateway, stop=lambda: bool(server.requests))
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        assert gateway.usage()["identifier"].calls == 1


def test_processes_that_share_a_cache_ask_each_question_once_and_use_the_stored_reply(bench, server, cache_place):
    count = iter(range(1000))

    class Numbered(list):
        def __len__(self):
            return 2

        def pop(self, index):
            time.sleep(0.02)
            return server.ok({**bench.GOOD, "rationale": f"answer {next(count)}"})

    server.queue = Numbered()
    running = [process(server, bench.folder / name, cache_place, 20) for name in ("one", "two")]
    one, two = (asking.communicate(timeout=120)[0].splitlines() for asking in running)
    assert one == two
    assert len(one) == 20
    assert len(server.requests) == 20


def test_the_claim_of_a_killed_process_ends_and_that_of_a_living_one_does_not(cache_place):
    cache = AnswerCache(cache_place)
    assert cache.claim("question", "x:1:another-machine", 0.3)
    flight = SingleFlight(cache, lease_s=0.4)
    with pytest.raises(Interrupted), flight.claim("question", stop=lambda: True):
        pass
    held, release = threading.Event(), threading.Event()

    def hold():
        with flight.claim("question"):
            held.set()
            release.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(20)
    time.sleep(1.0)  # longer than the lease: it is renewed
    assert not cache.claim("question", "another", 1)
    release.set()
    holder.join()
    assert cache.claim("question", "another", 1)
    flight.close()
    cache.close()


def test_the_claim_of_a_process_killed_on_this_machine_is_taken_over_at_once(cache_place):
    cache = AnswerCache(cache_place)
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    assert cache.claim("question", f"x:{killed.pid}:{this_machine()}", 10_000)
    assert cache.claim("another", f"x:{os.getpid()}:{this_machine()}", 10_000)
    flight = SingleFlight(cache)
    with flight.claim("question", stop=lambda: True):
        pass
    with pytest.raises(Interrupted), flight.claim("another", stop=lambda: True):
        pass
    flight.close()
    cache.close()


def test_the_reply_stored_first_is_the_one_used(bench, server):
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        stored = json.dumps({**bench.GOOD, "step": 6})

        def other_process_is_first(*arguments):
            gateway._cache.put(arguments[2], RawReply(stored, 1, 1, 0.0))

        gateway._log.call_answered = other_process_is_first
        server.says(bench.GOOD)
        answer = bench.ask(gateway)
    assert answer.value.step == 6
    assert answer.usage.completion_tokens == 7, "what was paid is one's own call"


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("database or disk is full", "make room"),
        ("attempt to write a readonly database", "writable"),
        ("database is locked", "another process"),
        ("file is not a database", "move it aside"),
    ],
)
def test_an_unusable_cache_is_never_told_to_be_deleted(bench, server, monkeypatch, said, hint):
    import sqlite3

    server.says(bench.GOOD)
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        real = gateway._cache._db._db

        class Failing:
            def execute(self, *arguments):
                raise sqlite3.OperationalError(said)

            def close(self):
                real.close()

        gateway._cache._db._db = Failing()
        with pytest.raises(LLMError, match="cannot be used") as caught:
            bench.ask(gateway)
    assert caught.value.exit_code == 2
    assert hint in caught.value.hint
    assert "delete" not in str(caught.value)


def test_a_disk_that_fills_up_while_a_line_is_written_is_one_message_and_costs_no_line(bench, server, monkeypatch):
    server.says(bench.GOOD)
    real, left = os.write, [100]

    def nearly_full(handle, data):
        if not left[0]:
            raise OSError(28, "No space left on device")
        part = data[: left[0]]
        left[0] -= len(part)
        return real(handle, part)

    with bench.gateway({"a": bench.openai(server)}) as gateway:
        monkeypatch.setattr("ultra_agents.llm.transcript.os.write", nearly_full)
        with pytest.raises(RunError, match="No space left") as caught:
            bench.ask(gateway)
        monkeypatch.undo()
    assert caught.value.exit_code == 2
    assert server.requests == [], "nothing is paid for that cannot be written down"
    with bench.gateway({"a": bench.openai(server)}) as gateway:
        assert bench.ask(gateway).value.step == 3
        assert gateway.usage()["identifier"].calls == 1
