"""An upstream for what searches nothing: an Elasticsearch without security, indices or any other API."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ANSWERS = {
    "/": {"version": {"number": "9.5.0"}, "tagline": "You Know, for Search"},
    "/_cluster/health": {"cluster_name": "stand-in", "status": "green"},
}


@contextmanager
def running_upstream() -> Iterator[str]:
    """Serve on a free port of this machine, and return the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if self.command == "GET" and path in _ANSWERS:
            self._answer(200, _ANSWERS[path])
        else:
            self._answer(400, {"error": f"no handler found for uri [{path}] and method [{self.command}]"})

    def do_POST(self) -> None:
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
