"""A loopback server for providers of served models."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Server:
    """Answers each path from a table of `(status, content type, body[, headers])`, or of functions that make one.

    Status None hangs until the server is closed.
    """

    def __init__(self):
        self.table = {"/api/tags": (200, "application/json", b'{"models": [{"name": "tiny:latest"}]}')}
        self.requests = []
        self.headers = []
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.requests.append((self.path, json.loads(body) if body else None))
                outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                answer = outer.table.get(self.path, (404, "text/plain", b"nothing here"))
                status, kind, content, *more = answer() if callable(answer) else answer
                if status is None:
                    outer.release.wait(20)
                    return
                self.send_response(status)
                self.send_header("content-type", kind)
                headers = more[0] if more else {}
                for name, value in headers.items():
                    self.send_header(name, value)
                if "content-length" not in headers:
                    self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()
