"""An upstream for what searches nothing: an Elasticsearch without security, indices or any other API."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ANSWERS: dict[str, object] = {
    "/": {"version": {"number": "9.5.0"}, "tagline": "You Know, for Search"},
    "/_cluster/health": {"cluster_name": "stand-in", "status": "green"},
}


Answer = Callable[[str], object | None]
"""Returns the body that a path is answered with; None where it is none of the server's."""


@contextmanager
def running_upstream(answer: Answer = _ANSWERS.get) -> Iterator[str]:
    """Serve on a free port of this machine, and return the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, answer))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, answer: Answer, *arguments: Any) -> None:
        self._answer_to = answer
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        body = self._answer_to(path)
        if body is not None:
            self._answer(200, body)
        else:
            self._answer(400, {"error": f"no handler found for uri [{path}] and method [{self.command}]"})

    def do_POST(self) -> None:
        self.do_GET()

    def do_OPTIONS(self) -> None:
        self.do_GET()

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-elastic-product", "Elasticsearch")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""
