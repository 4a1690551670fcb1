"""Measure what the edge costs beside nginx: processor time of each request, and the latency it adds.

The same requests go to the origin, to nginx in front of it, and to the proxy in front of it, in turn, so that
noise affects all alike. nginx is there twice: as it is by default, and without its access log. The origin is
an nginx, too, with answers that it has ready. Read the ratio: that of the processor time of the two
processes, user and system, as the median of all rounds.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

import click

from benchmarks.cpu import cpu_ms, ticks
from benchmarks.edge_load import Load, client_context, warm
from benchmarks.edge_servers import (
    LARGE_BYTES,
    Contestant,
    certificate_for,
    nginx_proxy,
    nginx_version,
    origin,
    rerank_proxy,
    speaks_tls,
)
from benchmarks.hardware import describe, load_average

_FIELDS: Final = (
    b"Host: search.example.org:9200\r\nConnection: keep-alive\r\n"
    b"User-Agent: elasticsearch-py/9.1.0 (Python/3.12.3; elastic-transport/9.1.0)\r\n"
    b"Accept: application/vnd.elasticsearch+json; compatible-with=9\r\n"
    b"x-elastic-client-meta: es=9.1.0,py=3.12.3,t=9.1.0,ur=2.5.0\r\nAuthorization: ApiKey "
    b"VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw==\r\nAccept-Encoding: gzip\r\n"
)
_QUERY: Final = (
    b'{"query":{"bool":{"must":[{"match":{"title":"a film about space"}}],"filter":[{"terms":{"id":[%b]}}]}}}'
)


def request(method: bytes, target: bytes, body: bytes = b"") -> bytes:
    """Return a request as the Python client sends it."""
    lines = b"%b %b HTTP/1.1\r\n%b" % (method, target, _FIELDS)
    if body:
        lines += (
            b"Content-Type: application/vnd.elasticsearch+json; compatible-with=9\r\nContent-Length: %d\r\n"
            % len(body)
        )
    return lines + b"\r\n" + body


def search_body(size: int) -> bytes:
    """Return a search of about that many bytes which names no retriever."""
    ids = b",".join(b"%d" % number for number in range(10_000, 10_000 + (size - len(_QUERY)) // 6))
    return _QUERY % ids


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request, and how many of them are a round.

    Attributes:
        requests: They differ in target or length as those of clients do, and have answers of the same length.
        rounds_of: The requests of a round, by the number of connections.
    """

    name: str
    requests: Sequence[bytes]
    rounds_of: Mapping[int, int]

    def loads(self) -> Iterator[Load]:
        for connections, count in self.rounds_of.items():
            yield Load(self.requests, count, connections)


CASES: Final = (
    Case(
        "small GET",
        [request(b"GET", b"/films/_doc/%d" % number) for number in range(1000, 2000)],
        {1: 5000, 32: 10000},
    ),
    Case(
        "search",
        [request(b"POST", b"/films/_search", search_body(size)) for size in range(724, 1324)],
        {1: 5000, 32: 10000},
    ),
    Case("10 MB body", [request(b"POST", b"/films/_bulk", b"x" * LARGE_BYTES)], {1: 10, 32: 32}),
    Case("10 MB answer", [request(b"GET", b"/large.json")], {1: 10, 32: 32}),
)
COLUMNS: Final = (
    "processor µs",
    "system",
    "to nginx",
    "to no log",
    "p50 ms",
    "p99 ms",
    "added p50",
    "added p99",
)


@dataclass(slots=True)
class Figures:
    """What was measured of one server with one load.

    Attributes:
        cpu_us: Microseconds of processor time of a request, for each round.
        times_s: Seconds of each request, of all rounds.
        user: Ticks of the clock in all rounds, in the process itself.
        system: The same, in the system.
    """

    cpu_us: list[float] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    user: int = 0
    system: int = 0

    def quantile_ms(self, quantile: float) -> float:
        times = sorted(self.times_s)
        return 1000 * times[int(quantile * (len(times) - 1))]

    def ratio(self, to: "Figures") -> float:
        return median(own / its for own, its in zip(self.cpu_us, to.cpu_us, strict=True))

    def row(self, direct: "Figures", nginx: "Figures", no_log: "Figures") -> str:
        in_system = self.system / max(self.user + self.system, 1)
        p50, p99 = self.quantile_ms(0.5), self.quantile_ms(0.99)
        cells = [f"{median(self.cpu_us):.1f}", f"{in_system:.0%}"]
        cells += [f"{self.ratio(nginx):.2f}", f"{self.ratio(no_log):.2f}"]
        cells += [f"{p50:.3f}", f"{p99:.3f}"]
        cells += [f"{p50 - direct.quantile_ms(0.5):.3f}", f"{p99 - direct.quantile_ms(0.99):.3f}"]
        return row(cells)


def row(cells: Sequence[str]) -> str:
    return " ".join(f"{cell:>12}" for cell in cells)


def measure_once(contestant: Contestant, load: Load, figures: Figures, *, tls: bool) -> None:
    """Add a round to the figures of a server."""
    with warm(contestant.port, load, client_context() if tls else None) as clients:
        before, (user, system) = cpu_ms(contestant.pid), ticks(contestant.pid)
        figures.times_s += clients.send(load.count)
        after, (user_after, system_after) = cpu_ms(contestant.pid), ticks(contestant.pid)
    if before is None or after is None:
        raise click.ClickException("this system does not show the processor time of processes")
    figures.cpu_us.append(1000 * (after - before) / load.count)
    figures.user += user_after - user
    figures.system += system_after - system


@contextmanager
def contestants(origin_port: int, other: Path | None, *, tls: bool) -> Iterator[list[Contestant]]:
    """Run all that is measured: the origin with its own clients, nginx with and without log, the proxy."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        certificate = certificate_for(directory / "certificate") if tls else None
        servers = [
            stack.enter_context(origin(directory / "direct", certificate)),
            stack.enter_context(nginx_proxy(directory / "nginx", origin_port, certificate, logs=True)),
            stack.enter_context(nginx_proxy(directory / "no-log", origin_port, certificate, logs=False)),
            stack.enter_context(rerank_proxy("proxy", origin_port, certificate)),
        ]
        if other is not None:
            servers.append(stack.enter_context(rerank_proxy("other", origin_port, certificate, other)))
        yield servers


def compare(servers: Sequence[Contestant], case: Case, load: Load, rounds: int, *, tls: bool) -> None:
    """Measure the servers with one load, in turn, and print the rows."""
    figures = {each: Figures() for each in servers}
    for number in range(rounds):  # the other way round each time
        for each in servers if number % 2 else reversed(servers):
            measure_once(each, load, figures[each], tls=tls)
    direct, nginx, no_log, *_ = figures.values()
    for each, own in figures.items():
        what = f"{case.name}, {load.connections}{', TLS' if tls else ''}"
        print(f"{what:22} {each.name:7} {own.row(direct, nginx, no_log)}", flush=True)


@click.command()
@click.option("--rounds", default=6, show_default=True, help="Rounds of each server and load.")
@click.option("--only", help="Only the cases with this in their names.")
@click.option(
    "--other", type=click.Path(exists=True, path_type=Path), help="Another checkout, measured besides."
)
@click.option("--tls", type=click.Choice(["both", "yes", "no"]), default="both", show_default=True)
def main(rounds: int, only: str | None, other: Path | None, tls: str) -> None:
    """Measure what the edge costs beside nginx."""
    print(f"{describe()}; {load_average()}; {nginx_version()}, uvloop {version('uvloop')}; {rounds} rounds")
    print(f"{'':30} " + row(COLUMNS))
    cases = [each for each in CASES if only is None or only in each.name]
    with tempfile.TemporaryDirectory() as directory, origin(Path(directory) / "origin") as upstream:
        for with_tls in (False, True):
            if tls == ("no" if with_tls else "yes"):
                continue
            if with_tls and not speaks_tls():
                print("this proxy does not speak TLS to its clients")
                continue
            with contestants(upstream.port, other, tls=with_tls) as servers:
                for case in cases:
                    for load in case.loads():
                        compare(servers, case, load, rounds, tls=with_tls)
    print(load_average())


if __name__ == "__main__":
    main()
