"""A server on the loopback that takes notifications, or does what servers should not do."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Receiver", "receiving"]


class Receiver(ThreadingHTTPServer):
    """Answers each POST with ``answer``; `None` answers nothing until it is closed.

    Attributes
    ----------
    requests : `list` [`tuple`]
        Path and content type of each request, whatever was answered.
    messages : `list` [`dict`]
        What was posted and accepted.
    """

    daemon_threads = True
    # Closing does not wait for requests that never get an answer.
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: int | None = 200
        self.requests: list[tuple[str, str]] = []
        self.messages: list[dict[str, Any]] = []
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        """Where it is, with a path that is a secret."""
        return f"http://127.0.0.1:{self.server_port}/hooks/s3cret"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.requests.append((self.path, self.headers["Content-Type"]))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.answer is None:
            self.server.closing.wait()
            return
        if self.server.answer == 200:
            self.server.messages.append(json.loads(body))
        self.send_response(self.server.answer)
        if 300 <= self.server.answer < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Say nothing on standard error."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Have a server, in a thread."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
