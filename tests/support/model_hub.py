"""A model hub on this machine that serves one repository, as far as a download needs it."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

COMMIT: Final = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(repository: str, files: Mapping[str, bytes]) -> Iterator[str]:
    """Serve, and yield the hub's address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            about, resolved = f"/api/models/{repository}", f"/{repository}/resolve/{COMMIT}/"
            if path in (about, f"{about}/revision/main"):
                self._answer(json.dumps({"id": repository, "sha": COMMIT, "siblings": []}).encode())
            elif path == f"{about}/tree/{COMMIT}":
                self._answer(json.dumps([_entry(name, data) for name, data in files.items()]).encode())
            elif path.startswith(resolved) and (name := path.removeprefix(resolved)) in files:
                self._answer(files[name], {"X-Repo-Commit": COMMIT, "ETag": f'"{_digest(files[name])}"'})
            else:
                self._answer(b"", {"X-Error-Code": "RepoNotFound"}, status=404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, body: bytes, headers: Mapping[str, str] | None = None, status: int = 200) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _entry(name: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(data), "oid": _digest(data)}


def _digest(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
