"""Nodes that the test bed starts for themselves: with security, on a port, and gone with their starter."""

import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from testbed import Reporter, RunningElasticsearch, Server, TestbedError, sources
from testbed.node import Node
from testbed.source import Unpacked
from tests.support.waiting import until

_REPOSITORY = Path(__file__).parents[2]


def _own_node(*, port: int = 0) -> Node:
    """Return a new node where there is a distribution to start, rather than ES_URL or a container."""
    source = sources()[0]
    if not isinstance(source, Unpacked):
        pytest.skip("Elasticsearch is not started by the test bed itself here")
    return Node(source.obtain(Reporter()), port=port)


def test_security_can_be_switched_on(secured: RunningElasticsearch) -> None:
    assert Server(secured.url).call("GET", "/").status == 401
    reply = secured.server.call("GET", "/_security/_authenticate")
    assert (reply.status, reply.json()["username"]) == (200, "elastic")


def test_nothing_outlives_a_starter_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL runs no `finally`: the guard has to stop the node and remove its data."""
    _own_node()  # skips where there is nothing to start
    program = """
        import sys
        from testbed import Reporter, sources
        from testbed.node import Node
        node = Node(sources()[0].obtain(Reporter()))
        elasticsearch = node.start()
        print(elasticsearch.url, node.directory, flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=_REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        url, directory = starter.stdout.readline().split()
        assert Server(url).call("GET", "/").status == 200
        starter.kill()
    until(lambda: None if Path(directory).exists() else True, "the node's directory is gone")
    with pytest.raises(OSError, match="refused"):
        Server(url).call("GET", "/")


def test_a_taken_port_is_one_line_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        with pytest.raises(TestbedError, match=rf"^port {port} cannot be used .*: choose another.*$"):
            _own_node(port=port).start()
