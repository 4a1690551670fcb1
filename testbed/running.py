"""A running Elasticsearch, wherever it runs, and waiting for one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from testbed.errors import TestbedError
from testbed.http import Server
from testbed.process import GuardedProcess
from testbed.progress import Step

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class RunningElasticsearch:
    """A running Elasticsearch, as tests, demo and benchmarks use it.

    Attributes:
        server: Its address, and credentials if it needs any.
        version: The version that `GET /` names, such as `9.5.0`.
        origin: Where it came from, for people to read.
    """

    server: Server
    version: str
    origin: str

    @property
    def url(self) -> str:
        """Scheme, host and port, without credentials and without a trailing slash."""
        return self.server.url

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])


_T = TypeVar("_T")


def wait_until(
    check: Callable[[], _T | None],
    process: GuardedProcess,
    name: str,
    timeout_s: float,
    step: Step,
    remedy: Callable[[str], str],
) -> _T:
    """Call `check` until it returns something other than None, and return that.

    Args:
        process: The process that is waited for; its end ends the wait.
        name: The name of the process, for people to read.
        remedy: Returns what to do about the problem that a log shows.

    Raises:
        TestbedError: The process has ended, or the time is over; with the remedy, and the end of the log.
    """
    deadline_s = time.monotonic() + timeout_s
    while (answer := check()) is None:
        status = process.poll()
        if status is not None or time.monotonic() > deadline_s:
            ended = (
                f"ended with status {status}" if status is not None else f"is not ready after {timeout_s:g} s"
            )
            raise TestbedError(f"{name} {ended}: {remedy(process.log_tail(200))}", process.log_tail())
        step.tick()
        time.sleep(_POLL_S)
    return answer


def is_healthy(server: Server) -> bool:
    """Tell whether the cluster has recovered its state and allocated its shards: `GET /` does not show it."""
    try:
        reply = server.call("GET", "/_cluster/health", timeout_s=10)
    except OSError:
        return False
    return reply.status == 200 and reply.json().get("status") in ("green", "yellow")


def read_version(server: Server) -> str:
    """Return the version that `GET /` names.

    Raises:
        TestbedError: There is no answer, or not that of an Elasticsearch.
    """
    try:
        reply = server.call("GET", "/")
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise TestbedError(
            f"no Elasticsearch answers at {server.url} ({reason}): start it, or correct ES_URL"
        ) from error
    if reply.status in (401, 403):
        raise TestbedError(f"{server.url} needs credentials: set ES_URL to http://USER:PASSWORD@HOST:PORT")
    if reply.status != 200 or reply.headers.get("x-elastic-product") != "Elasticsearch":
        raise TestbedError(
            f"{server.url} answers, but is not an Elasticsearch (status {reply.status}): correct ES_URL"
        )
    return str(reply.json()["version"]["number"])
