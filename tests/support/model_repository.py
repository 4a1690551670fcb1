"""A model repository on this machine: files over HTTP, with ranges, and with what can go wrong on the way."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Repository:
    """What is served; it may change between requests."""

    files: dict[str, bytes]
    url: str = ""
    ranges: bool = True
    """Whether it can go on in the middle of a file."""
    break_off_after: dict[str, list[int]] = field(default_factory=dict)
    """By file: after how many bytes each of the next answers ends, in the middle of its body."""
    failing: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """File and range of each request."""

    def models_asked(self) -> list[str | None]:
        return [asked_range for name, asked_range in self.asked if name.endswith(".pt")]


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Repository]:
    repository = Repository(dict(files))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/models/")
            asked_range = self.headers["Range"]
            repository.asked.append((name, asked_range))
            if repository.failing:
                self._head(503, 0)
            elif name not in repository.files:
                self._head(404, 0)
            else:
                self._file(name, asked_range if repository.ranges else None)

        def _file(self, name: str, asked_range: str | None) -> None:
            content = repository.files[name]
            start = int(asked_range.removeprefix("bytes=").removesuffix("-")) if asked_range else 0
            self._head(206 if asked_range else 200, len(content) - start)
            breaks = repository.break_off_after.get(name)
            end = start + breaks.pop(0) if breaks else len(content)
            self.wfile.write(content[start:end])

        def _head(self, status: int, length: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing: a client may close before it has read all."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            repository.url = f"http://127.0.0.1:{server.server_address[1]}/models"
            yield repository
        finally:
            server.shutdown()
            thread.join()
