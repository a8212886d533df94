"""A stream followed: how often it is told, how it ends, and what the whole of it says."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessageChunk

from ultra_agents.errors import Interrupted
from ultra_agents.llm.retry import CallFailed
from ultra_agents.llm.streaming import PAUSE_S, follow


def piece(text="", finish=None, tokens=None):
    about = {} if finish is None else {"finish_reason": finish}
    usage = None if tokens is None else {"input_tokens": 11, "output_tokens": tokens, "total_tokens": 11 + tokens}
    return AIMessageChunk(content=text, response_metadata=about, usage_metadata=usage)


class Stream:
    """Pieces that come at set times, on a clock of their own; remembers that it was closed."""

    def __init__(self, *timed):
        self.timed, self.now, self.closed, self.given = timed, 0.0, 0, 0

    def clock(self):
        return self.now

    def __iter__(self):
        for now, one in self.timed:
            self.now = now
            self.given += 1
            if isinstance(one, Exception):
                raise one
            yield one

    def close(self):
        self.closed += 1

    def follow(self, told, timeout_s=10.0, unwanted=lambda: False):
        return follow(self, told.append, timeout_s, unwanted, self.clock)


def test_it_is_told_at_once_and_then_not_oftener_than_every_pause():
    step = PAUSE_S / 5
    pieces = [(0.0, piece("")), *((index * step, piece(str(index))) for index in range(1, 13))]
    told = []
    whole = Stream(*pieces, (20 * step, piece("", "stop", 7))).follow(told)
    assert told == ["1", "123456", "1234567891011", "123456789101112"]
    assert whole.content == "123456789101112"


def test_nothing_is_told_of_a_reply_without_words():
    told = []
    assert Stream((0, piece()), (1, piece("", "stop"))).follow(told).content == ""
    assert told == []


def test_its_ending_and_its_counts_are_those_said_last():
    pieces = [piece("a", None, 1), piece("b", "stop", 2), piece("", "stop", 3), piece("")]
    whole = Stream(*((0.0, one) for one in pieces)).follow([])
    assert whole.content == "ab"
    assert whole.usage_metadata["output_tokens"] == 3
    assert whole.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize("pieces", [[], [piece("half of")], [piece("half of"), piece("", None, 3)]])
def test_one_without_an_ending_has_failed(pieces):
    with pytest.raises(CallFailed, match="ended before the reply did") as caught:
        Stream(*((0.0, one) for one in pieces)).follow([])
    assert caught.value.failure.kind == "passing"
    assert caught.value.failure.charged


def test_one_that_trickles_ends_at_the_timeout_and_is_let_go():
    stream = Stream(*((float(second), piece("x")) for second in range(100)))
    with pytest.raises(TimeoutError):
        stream.follow([], timeout_s=5.0)
    assert (stream.given, stream.closed) == (7, 1)


def test_one_that_nobody_wants_any_more_is_let_go():
    told = []
    stream = Stream(*((float(second), piece("x")) for second in range(100)))
    with pytest.raises(Interrupted):
        stream.follow(told, unwanted=lambda: len(told) == 2)
    assert told == ["x", "xx"]
    assert stream.closed == 1


def test_one_that_breaks_passes_its_own_error_on():
    stream = Stream((0.0, piece("x")), (0.1, ConnectionResetError("gone")))
    with pytest.raises(ConnectionResetError):
        stream.follow([])
    assert stream.closed == 1
