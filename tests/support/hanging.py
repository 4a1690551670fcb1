"""TorchScript programs that never return, and an Elasticsearch that has no security and no trained models."""

import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from tests.support.trained_models import TOKENS

_APPLE: Final = TOKENS.index("apple")


class Returns(nn.Module):
    """A score for each row, and no loop."""

    def forward(self, ids: Tensor) -> Tensor:
        return ids.float().amax(dim=1, keepdim=True)


class LoopsOverThreeApples(nn.Module):
    """Loops over a row with three apples, and no other."""

    apple: Final[int]

    def __init__(self) -> None:
        super().__init__()
        self.apple = _APPLE

    def forward(self, ids: Tensor) -> Tensor:
        turns = 0
        while int((ids == self.apple).sum()) == 3:
            turns += 1
        return ids.float().amax(dim=1, keepdim=True) + turns


class LoopsAlways(nn.Module):
    """Loops over every row, and so while it is tried."""

    def forward(self, ids: Tensor) -> Tensor:
        turns = 0
        while ids.size(0) >= 0:
            turns += 1
        return ids.float().amax(dim=1, keepdim=True) + turns


class LoopsWhenRead(nn.Module):
    """Loops while its file is read, and holds the GIL."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0

    @torch.jit.export
    def __getstate__(self) -> tuple[int, bool]:
        return (self.turns, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[int, bool]) -> None:
        turns = 0
        while turns >= 0:
            turns = (turns + 1) % 1000
        self.turns = state[0]
        self.training = state[1]

    def forward(self, ids: Tensor) -> Tensor:
        return ids.float().amax(dim=1, keepdim=True)


def program(module: nn.Module, path: Path) -> bytes:
    """Return the bytes of a program, which are also left at `path`."""
    jit: Any = torch.jit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have another format
        jit.save(jit.script(module.eval()), str(path))
    return path.read_bytes()


class _NoSuchApi(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        reason = f"no handler found for uri [{self.path}] and method [{self.command}]"
        body = json.dumps({"error": reason}).encode()
        self.send_response(400)
        self.send_header("X-elastic-product", "Elasticsearch")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        pass


@contextmanager
def upstream_without_anything() -> Iterator[str]:
    """Serve, and yield the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _NoSuchApi)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
