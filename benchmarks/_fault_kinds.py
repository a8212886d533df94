"""The ways in which the server of `_faults.py` answers wrongly: a table of functions that send one answer each."""

from __future__ import annotations

import base64
import gzip
import json
import random
import socket
import struct
import time
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from _reliability_server import KEY, completion, said, send

TIMEOUT_S = 0.7
"""The longest a call may take in the runs that are attacked."""
ESCAPES = "\x1b]0;OWNED\x07\x1b[2J\x9b31m\u202e"

Handler = BaseHTTPRequestHandler
Fault = Callable[[Handler, dict[str, Any], random.Random], None]


def _body(content: bytes, status: int = 200, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, body, rng: send(handler, content, status, named)


def _json(value: Any, status: int = 200, **headers: str) -> Fault:
    return _body(json.dumps(value).encode(), status, **headers)


def _says(content: Any, **changes: Any) -> Fault:
    """A well-formed completion with this content."""
    return lambda handler, body, rng: send(handler, json.dumps(completion(body, content, **changes)).encode())


def _changed(change: Callable[[dict[str, Any]], Any]) -> Fault:
    """A well-formed completion whose content is what a good answer becomes."""

    def fault(handler: Handler, body: dict[str, Any], rng: random.Random) -> None:
        send(handler, json.dumps(completion(body, change(said(body)))).encode())

    return fault


def _with(**changes: Any) -> Fault:
    """A good answer whose completion has other fields."""
    return lambda handler, body, rng: send(handler, json.dumps(completion(body, said(body), **changes)).encode())


def _message(**changes: Any) -> Fault:
    def fault(handler: Handler, body: dict[str, Any], rng: random.Random) -> None:
        made = completion(body, said(body))
        made["choices"][0]["message"].update(changes)
        send(handler, json.dumps(made).encode())

    return fault


def _error(text: str, status: int, **headers: str) -> Fault:
    return _json({"error": {"message": text, "type": "x", "code": None}}, status, **headers)


def _truncated(handler: Handler, body: dict[str, Any], rng: random.Random) -> None:
    content = json.dumps(completion(body, said(body))).encode()
    send(handler, content[: rng.randrange(len(content))], headers={"content-length": str(len(content))})


def _cut(handler: Handler, body: dict[str, Any], rng: random.Random) -> None:
    content = json.dumps(completion(body, said(body))).encode()
    send(handler, content[: rng.randrange(len(content))])


def _reset(handler: Handler, body: dict[str, Any], rng: random.Random) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def _hang(handler: Handler, body: dict[str, Any], rng: random.Random) -> None:
    time.sleep(2 * TIMEOUT_S)


def _drips(handler: Handler, body: dict[str, Any], rng: random.Random) -> None:
    content = json.dumps(completion(body, said(body))).encode()
    handler.send_response(200)
    handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    for byte in content[: int(3 * TIMEOUT_S / 0.1)]:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.1)


def _flipped(handler: Handler, body: dict[str, Any], rng: random.Random) -> None:
    content = bytearray(json.dumps(completion(body, said(body))).encode())
    for _ in range(3):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    send(handler, bytes(content))


def _noise(handler: Handler, body: dict[str, Any], rng: random.Random) -> None:
    send(handler, rng.randbytes(rng.randrange(1, 3000)))


def _wild(handler: Handler, body: dict[str, Any], rng: random.Random) -> None:
    """A good answer with one value, however deep, replaced."""
    value = said(body)
    _replace(value, rng)
    send(handler, json.dumps(completion(body, json.dumps(value))).encode())


ODD = (None, True, -1, 1e400, float("nan"), 10**400, 2**63, "", "\ud83d", ESCAPES, "x" * 20_000, [], {}, [[[[]]]], 0.5)


def _replace(value: Any, rng: random.Random) -> None:
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not keys:
        return
    key = rng.choice(keys)
    if isinstance(value[key], dict | list) and rng.random() < 0.7:
        _replace(value[key], rng)
    else:
        value[key] = rng.choice(ODD)


def stream(handler: Handler, body: dict[str, Any], rng: random.Random, spoilt: bool = False) -> None:
    """A good answer as events; `spoilt` by one event that is none, or by its end."""
    text = json.dumps(said(body))
    chunks = [text[index : index + 40] for index in range(0, len(text), 40)]
    lines = [json.dumps({"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [
        {"index": 0, "delta": {"content": chunk}, "finish_reason": None}]}) for chunk in chunks]  # fmt: skip
    lines.append(json.dumps({"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [
        {"index": 0, "delta": {}, "finish_reason": "stop"}]}))  # fmt: skip
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    lines.append(json.dumps({"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [],
                             "usage": usage}))  # fmt: skip
    lines.append("[DONE]")
    if spoilt:
        odd = ("{", "null", "[]", '{"choices": 3}', '{"error": {"message": "overloaded", "code": 529}}', "\x00",
               '{"choices": [{"index": 0, "delta": {"content": "\\ud83d"}}]}')  # fmt: skip
        where = rng.randrange(len(lines))
        lines = lines[:where] if rng.random() < 0.4 else [*lines[:where], rng.choice(odd), *lines[where:]]
    content = "".join(f"data: {line}\n\n" for line in lines).encode()
    send(handler, content, headers={"content-type": "text/event-stream"})


def _spoilt_stream(handler: Handler, body: dict[str, Any], rng: random.Random) -> None:
    if body.get("stream"):
        stream(handler, body, rng, spoilt=True)
    else:
        _cut(handler, body, rng)


_NESTED = "[" * 50_000
FAULTS: dict[str, Fault] = {
    "empty body": _body(b""), "null": _json(None), "a number": _json(3), "a list": _json([]), "a text": _json("hi"),
    "half of JSON": _cut, "shorter than announced": _truncated, "connection reset": _reset, "bits flipped": _flipped,
    "random bytes": _noise, "not UTF-8": _body(b'{"id": "\xff\xfe\xfa"}'), "UTF-16": _body("{}".encode("utf-16")),
    "HTML": _body(b"<html>Welcome</html>", content_type="text/html"), "nested body": _body(_NESTED.encode()),
    "no choices": _with(choices=[]), "choices are text": _with(choices="many"),
    "choices are null": _with(choices=None),
    "choice is null": _with(choices=[None]), "no message": _with(choices=[{"index": 0, "finish_reason": "stop"}]),
    "content is null": _message(content=None), "content is a number": _message(content=17),
    "content is a list": _message(content=[{"type": "text", "text": "x"}, 3]), "role is odd": _message(role="\ud83d"),
    "refusal": _message(content=None, refusal="I will not"), "tool calls are odd": _message(tool_calls=[{"id": 3}]),
    "content filtered": _with(choices=[{"index": 0, "finish_reason": "content_filter", "message": {
        "role": "assistant", "content": ""}}]),
    "finish reason is a number": _with(choices=[{"index": 0, "finish_reason": 7, "message": {
        "role": "assistant", "content": "{"}}]),
    "usage is text": _with(usage="much"), "usage is negative": _with(usage={
        "prompt_tokens": -10**9, "completion_tokens": -5, "total_tokens": -1}),
    "usage holds text": _with(usage={"prompt_tokens": "9", "completion_tokens": "x", "total_tokens": None}),
    "usage is NaN": _with(usage={"prompt_tokens": float("nan"), "completion_tokens": 1e400, "total_tokens": 1}),
    "usage is huge": _with(usage={"prompt_tokens": 10**30, "completion_tokens": 10**400, "total_tokens": 1}),
    "usage is a list": _with(usage=[1, 2]), "usage is missing": _with(usage=None),
    "model is odd": _with(model=f"\ud83d{ESCAPES}"), "id is a list": _with(id=[]),
    "created is text": _with(created="x"),
    "says nothing": _says(""), "says prose": _says("I would walk to the right, I think."), "says NaN": _says("NaN"),
    "says half of JSON": _changed(lambda good: json.dumps(good)[:-9]), "says a list": _changed(lambda good: [good]),
    "says it twice": _changed(lambda good: json.dumps(good) * 2), "says braces": _says("{" * 5000),
    "says it nested": _says(_NESTED), "says half an emoji": _changed(lambda good: {**good, "reasoning": "\ud83d"}),
    "says half emojis": _says('{"reasoning": "\\ud83d"}'), "says escapes": _says(f'{{"reasoning": "{ESCAPES}"}}'),
    "says another field": _changed(lambda good: {**good, "also": ESCAPES}), "says one value otherwise": _wild,
    "says null bytes": _says("\x00" * 100), "says 300 kB": _says("x" * 300_000), "says 3 MB": _says("yes " * 750_000),
    "says numbers as words": _changed(lambda good: json.dumps(good).replace("1", '"one"')),
    "says its key": _says(f"your key is {KEY} or {base64.b64encode(KEY.encode()).decode()}"),
    "gzip of 20 MB": _body(gzip.compress(b" " * 20_000_000), content_encoding="gzip"),
    "gzip of nothing": _body(b"", content_encoding="gzip"), "no gzip": _body(b"{}", content_encoding="gzip"),
    "half a gzip": _body(gzip.compress(b"{}" * 500)[:-20], content_encoding="gzip"),
    "no deflate": _body(b"{}", content_encoding="deflate"), "unknown encoding": _body(b"{}", content_encoding="zz"),
    "charset is odd": _body(b"{}", content_type="application/json; charset=klingon"),
    "hangs": _hang, "one byte at a time": _drips, "spoilt stream": _spoilt_stream,
    "400 too long": _error("maximum context length is 12 tokens", 400), "400 filtered": _error("content_filter", 400),
    "400 generation": _json({"error": {"code": "json_validate_failed", "failed_generation": "{\ud83d" + KEY}}, 400),
    "408": _error("late", 408), "409": _error("conflict", 409), "425": _error("early", 425),
    "429": _error("slow down", 429, retry_after="0"), "429 absurd date": _error("no", 429, retry_after=
        "Wed, 21 Oct 2015 07:28:00 +9999"), "429 NaN": _error("no", 429, retry_after="nan"),
    "429 negative": _error("no", 429, retry_after="-7"), "429 in text": _body(b"calm down", 429),
    "429 milliseconds": _error("no", 429, retry_after_ms="3"),
    "500": _error("oops", 500), "500 empty": _body(b"", 500), "500 nested": _body(_NESTED.encode(), 500),
    "500 escapes": _error(f"oops {ESCAPES}", 500), "500 half an emoji": _error("\ud83d", 500),
    "500 with the key": _error(f"bad {KEY} {urllib.parse.quote(KEY, safe='')} {KEY!r} {KEY[:24]}", 500),
    "500 with the key at the cut": _error("y" * 380 + KEY, 500), "500 with 2 MB": _error("z" * 2_000_000, 500),
    "502 page": _body(b"<html><script>alert(1)</script>bad gateway</html>", 502, content_type="text/html"),
    "503": _error("busy", 503), "504": _body(b"late", 504), "529": _error("overloaded", 529), "599": _body(b"?", 599),
    "redirect to itself": _body(b"", 307, location="/v1/chat/completions"), "304": _body(b"", 304),
    "204": _body(b"", 204), "an error of status 200": _error("overloaded", 200),
}  # fmt: skip
LAST = {
    "400": _error("who knows why", 400), "401": _error(f"bad key {KEY}", 401), "403": _error("no", 403),
    "404": _error("no such model", 404), "422": _json({"detail": [{"loc": [1, None], "msg": ESCAPES}]}, 422),
    "402": _error("pay", 402), "429 no credit": _error("insufficient_quota", 429),
    "429 for ever": _error("no", 429, retry_after_ms="1e999999"),
}  # fmt: skip
"""What ends a run with a message as a rule; drawn rarely."""
LAST_SHARE = 0.004
