"""Keys: what a terminal sends, and what they do to the view."""

from __future__ import annotations

import os
import pty
import termios
import threading

import pytest

from tests.ui import sample_run
from ultra_agents.ui.keys import KeyReader, has_keyboard, split_keys
from ultra_agents.ui.run_state import RunState
from ultra_agents.ui.view import MAX_SCROLL, View, press, with_scroll_limits

PANES = ["flow", "conversation"]


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        (b"p", ["p"]),
        (b" q\t", ["SPACE", "q", "TAB"]),
        (b"\x1b[A\x1bOB\x1b[5~\x1b[6~", ["UP", "DOWN", "PAGEUP", "PAGEDOWN"]),
        (b"\x1b[H\x1b[4~\x1b[Z", ["HOME", "END", "SHIFT_TAB"]),
        (b"\x1b", ["ESC"]),
        (b"\x1b[200~x", ["x"]),
        ("ü€".encode(), ["ü", "€"]),
        (b"\xff\xfe\x00", []),
        (b"\x1b[", []),
    ],
)
def test_what_a_terminal_sends_is_split_into_keys(sent: bytes, keys: list[str]) -> None:
    assert split_keys(sent) == keys


def pressed(*keys: str, view: View | None = None, state: RunState | None = None) -> View:
    view = view or View()
    for key in keys:
        view = press(view, key, PANES, state or RunState(), page=5)
    return view


def test_tab_goes_through_the_panes_and_back_to_none() -> None:
    assert [pressed(*["TAB"] * count).focus for count in range(4)] == ["", "flow", "conversation", ""]
    assert pressed("SHIFT_TAB").focus == "conversation"


def test_scrolling_back_holds_the_pane_still_until_the_end() -> None:
    old, _ = sample_run.state()
    view = pressed("UP", "PAGEUP", state=old)
    assert (view.focus, view.scroll) == ("conversation", {"conversation": 6})
    assert view.state("conversation", RunState()) is old
    assert view.state("advice", old) is old
    assert with_scroll_limits(view, {"conversation": 4}).scroll == {"conversation": 4}
    view = pressed("END", view=view)
    assert (view.scroll, view.held) == ({}, {})
    assert pressed("UP", "DOWN", "DOWN").scroll == {}


def test_a_pane_that_begins_at_the_top_scrolls_down() -> None:
    assert pressed("TAB", "DOWN", "DOWN", "UP").scroll == {"flow": 1}
    assert pressed("TAB", "END").scroll == {"flow": MAX_SCROLL}
    assert pressed("TAB", "END", "HOME").scroll == {}


def test_zoom_help_and_escape() -> None:
    assert pressed("z").focus == "conversation"
    assert pressed("z").zoom
    assert not pressed("z", "z").zoom
    assert not pressed("z", "ESC").zoom
    assert pressed("?").help
    assert not pressed("?", "z").help
    assert not pressed("?", "z").zoom, "the key that leaves the help does nothing else"
    assert pressed("TAB", "ESC") == View()
    assert pressed("x", "LEFT") == View()


def test_a_reader_hands_keys_on_and_gives_the_terminal_its_settings_back() -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    heard: list[str] = []
    three = threading.Event()

    def hear(key: str) -> None:
        heard.append(key)
        if len(heard) == 3:
            three.set()

    reader = KeyReader(hear, fd=slave)
    try:
        reader.start()
        during = termios.tcgetattr(slave)
        assert not during[3] & (termios.ICANON | termios.ECHO)
        assert during[3] & termios.ISIG, "Ctrl-C stays a signal"
        os.write(master, b"p\x1b[A?")
        assert three.wait(30)
        assert heard == ["p", "UP", "?"]
    finally:
        reader.stop()
        reader.stop()
        after = termios.tcgetattr(slave)
        os.close(master)
        os.close(slave)
    assert after == before


def test_a_terminal_that_goes_away_ends_the_reader_quietly() -> None:
    master, slave = pty.openpty()
    reader = KeyReader(lambda key: None, fd=slave)
    reader.start()
    os.close(master)
    assert reader._thread is not None
    reader._thread.join(30)
    assert not reader._thread.is_alive()
    reader.stop()
    os.close(slave)


def test_there_are_no_keys_without_a_terminal() -> None:
    assert not has_keyboard(True), "pytest's standard input is no terminal"
    assert not has_keyboard(False)
