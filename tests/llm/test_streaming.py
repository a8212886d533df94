"""A stream followed: how often it is shown, how it ends, and what the whole of it says."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessageChunk

from ultra_agents.errors import Interrupted
from ultra_agents.llm.failures import CallFailed
from ultra_agents.llm.streaming import MIN_INTERVAL_S, read_stream


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

    def read(self, shown, timeout_s=10.0, cancelled=lambda: False):
        return read_stream(self, shown.append, timeout_s, cancelled, self.clock)


def test_it_is_told_at_once_and_then_not_oftener_than_every_pause():
    step = MIN_INTERVAL_S / 5
    pieces = [(0.0, piece("")), *((index * step, piece(str(index))) for index in range(1, 13))]
    shown = []
    whole = Stream(*pieces, (20 * step, piece("", "stop", 7))).read(shown)
    assert shown == ["1", "123456", "1234567891011", "123456789101112"]
    assert whole.content == "123456789101112"


def test_nothing_is_told_of_a_reply_without_words():
    shown = []
    assert Stream((0, piece()), (1, piece("", "stop"))).read(shown).content == ""
    assert shown == []


def test_its_ending_and_its_counts_are_those_said_last():
    pieces = [piece("a", None, 1), piece("b", "stop", 2), piece("", "stop", 3), piece("")]
    whole = Stream(*((0.0, one) for one in pieces)).read([])
    assert whole.content == "ab"
    assert whole.usage_metadata["output_tokens"] == 3
    assert whole.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize("pieces", [[], [piece("half of")], [piece("half of"), piece("", None, 3)]])
def test_one_without_an_ending_has_failed(pieces):
    with pytest.raises(CallFailed, match="ended before the reply did") as caught:
        Stream(*((0.0, one) for one in pieces)).read([])
    assert caught.value.failure.kind == "transient"
    assert caught.value.failure.charged


def test_one_that_trickles_ends_at_the_timeout_and_is_let_go():
    stream = Stream(*((float(second), piece("x")) for second in range(100)))
    with pytest.raises(TimeoutError):
        stream.read([], timeout_s=5.0)
    assert (stream.given, stream.closed) == (7, 1)


def test_one_that_nobody_wants_any_more_is_let_go():
    shown = []
    stream = Stream(*((float(second), piece("x")) for second in range(100)))
    with pytest.raises(Interrupted):
        stream.read(shown, cancelled=lambda: len(shown) == 2)
    assert shown == ["x", "xx"]
    assert stream.closed == 1


def test_one_that_breaks_passes_its_own_error_on():
    stream = Stream((0.0, piece("x")), (0.1, ConnectionResetError("gone")))
    with pytest.raises(ConnectionResetError):
        stream.read([])
    assert stream.closed == 1
