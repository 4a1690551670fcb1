"""What the edge's process takes for large bodies and for many connections.

Upstream is a double: a real one would spend its own time on a body of that size
(`tests/live/test_load.py` sends one in the long profile).
"""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.bulk_upstream import (
    bulk_upstream,
    drop_body,
    read_head,
    send_zeros,
    send_zeros_chunked,
)
from tests.support.edge_process import EdgeProcess, edge_process
from tests.support.raw_http import TIMEOUT_S

SIZE = 100_000_000
MOST_MIB = 32
CONNECTIONS = 1000
MOST_KIB_EACH = 16
GET = b"GET /_count HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    with bulk_upstream() as url, edge_process(url, tmp_path_factory.mktemp("edge")) as running:
        yield running


def connected(edge: EdgeProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", edge.port), timeout=TIMEOUT_S)


def ask(client: socket.socket, request: bytes) -> int:
    """Return how long the answer's body is."""
    client.sendall(request)
    return answer_size(client)


def answer_size(client: socket.socket) -> int:
    head = read_head(client)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
    return drop_body(client, head)


@pytest.mark.parametrize("what", ["a body", "a body in chunks", "an answer"])
def test_large_bodies_stream(edge: EdgeProcess, what: str) -> None:
    with connected(edge) as client:
        assert ask(client, GET) == 2
        before = edge.memory()
        edge.forget_peak()
        bulk = b"POST /_bulk HTTP/1.1\r\nHost: a\r\n"
        if what == "a body":
            send_zeros(client, bulk + b"content-length: %d\r\n\r\n" % SIZE, SIZE)
            assert answer_size(client) == 2
        elif what == "a body in chunks":
            send_zeros_chunked(client, bulk, SIZE)
            assert answer_size(client) == 2
        else:
            assert ask(client, b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % SIZE) == SIZE
        assert edge.memory("VmHWM") - before < MOST_MIB
        assert ask(client, GET) == 2


def test_many_idle_connections_cost_little_and_still_serve(edge: EdgeProcess) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CONNECTIONS + 200
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip("the limit of open files is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    try:
        with ExitStack() as stack:
            first = stack.enter_context(connected(edge))
            assert ask(first, GET) == 2
            before, files = edge.memory(), edge.open_files()
            clients = [stack.enter_context(connected(edge)) for _ in range(CONNECTIONS)]
            for client in clients:
                assert ask(client, GET) == 2
            assert edge.open_files() == files + CONNECTIONS
            assert (edge.memory() - before) * 1024 / CONNECTIONS < MOST_KIB_EACH
            for client in reversed(clients):
                assert ask(client, GET) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
