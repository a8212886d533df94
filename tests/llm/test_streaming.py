"""A streamed reply: how often its text is shown, how it ends, and the message its chunks add up to."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessageChunk

from ultra_agents.errors import Interrupted
from ultra_agents.llm.failures import CallFailed
from ultra_agents.llm.streaming import MIN_INTERVAL_S, read_stream


def chunk(text="", finish=None, tokens=None):
    about = {} if finish is None else {"finish_reason": finish}
    usage = None if tokens is None else {"input_tokens": 11, "output_tokens": tokens, "total_tokens": 11 + tokens}
    return AIMessageChunk(content=text, response_metadata=about, usage_metadata=usage)


class Stream:
    """Chunks at set times of a clock of its own; counts how often it was closed."""

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
        return read_stream(self, shown.append, timeout_s, cancelled, clock=self.clock)


def test_text_is_shown_at_once_and_then_at_most_once_per_interval():
    step = MIN_INTERVAL_S / 5
    chunks = [(0.0, chunk("")), *((index * step, chunk(str(index))) for index in range(1, 13))]
    shown = []
    whole = Stream(*chunks, (20 * step, chunk("", "stop", 7))).read(shown)
    assert shown == ["1", "123456", "1234567891011", "123456789101112"]
    assert whole.content == "123456789101112"


def test_nothing_is_shown_of_an_empty_reply():
    shown = []
    assert Stream((0, chunk()), (1, chunk("", "stop"))).read(shown).content == ""
    assert shown == []


def test_finish_reason_and_usage_are_those_of_the_last_chunk():
    chunks = [chunk("a", None, 1), chunk("b", "stop", 2), chunk("", "stop", 3), chunk("")]
    whole = Stream(*((0.0, one) for one in chunks)).read([])
    assert whole.content == "ab"
    assert whole.usage_metadata["output_tokens"] == 3
    assert whole.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize("chunks", [[], [chunk("half of")], [chunk("half of"), chunk("", None, 3)]])
def test_a_stream_without_finish_reason_has_failed(chunks):
    with pytest.raises(CallFailed, match="ended before the reply did") as caught:
        Stream(*((0.0, one) for one in chunks)).read([])
    assert caught.value.failure.kind == "transient"
    assert caught.value.failure.charged


def test_a_slow_stream_ends_at_the_timeout_and_is_closed():
    stream = Stream(*((float(second), chunk("x")) for second in range(100)))
    with pytest.raises(TimeoutError):
        stream.read([], timeout_s=5.0)
    assert (stream.given, stream.closed) == (7, 1)


def test_a_cancelled_stream_is_closed():
    shown = []
    stream = Stream(*((float(second), chunk("x")) for second in range(100)))
    with pytest.raises(Interrupted):
        stream.read(shown, cancelled=lambda: len(shown) == 2)
    assert shown == ["x", "xx"]
    assert stream.closed == 1


def test_a_broken_stream_raises_its_own_error():
    stream = Stream((0.0, chunk("x")), (0.1, ConnectionResetError("gone")))
    with pytest.raises(ConnectionResetError):
        stream.read([])
    assert stream.closed == 1
