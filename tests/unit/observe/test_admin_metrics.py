"""What the admin listener tells of the processes of the proxy together."""

import gzip
import json
import os
import platform
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from rerank_proxy import __version__
from rerank_proxy.edge.listener import address_of, bind
from rerank_proxy.observe.admin import Admin
from rerank_proxy.observe.control import ControlClient, serve_control
from rerank_proxy.observe.edge_metrics import EdgeMetrics
from rerank_proxy.observe.exposition import OPENMETRICS
from rerank_proxy.observe.own_process import OwnProcess
from rerank_proxy.observe.process_metrics import ProcessMetrics
from rerank_proxy.settings import Address, AdminSettings
from tests.support.metrics import read_openmetrics, read_text

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with an admin listener, beside which another edge and an application answer."""
    own, other, app = EdgeMetrics(), EdgeMetrics(), CollectorRegistry()
    own.registry.register(OwnProcess("supervisor"))
    other.registry.register(OwnProcess("edge-1"))
    app.register(OwnProcess("app"))
    own.request("plain", 200, 0.02)
    other.request("plain", 200, 0.02, TRACE)
    Counter("rerank_proxy_searches", "Some.", ["outcome"], registry=app).labels("applied").inc(3)
    sockets = tmp_path / "edge-1.sock", tmp_path / "app.sock"
    admin = Admin(ControlClient(sockets[1]), ProcessMetrics(), own, lambda: None, [ControlClient(sockets[0])])
    listeners = bind(Address("127.0.0.1", 0))
    await admin.start(listeners, AdminSettings())
    async with (
        serve_control(sockets[0], other.registry, lambda _: None),
        serve_control(sockets[1], app, lambda _: None),
        aiohttp.ClientSession(f"http://{address_of(listeners)}", auto_decompress=False) as client,
    ):
        yield client
    await admin.stop()


async def get(
    session: aiohttp.ClientSession, path: str, **headers: str
) -> tuple[aiohttp.ClientResponse, bytes]:
    async with session.get(path, headers=headers, skip_auto_headers=["Accept-Encoding", "Accept"]) as answer:
        return answer, await answer.read()


async def test_samples_of_all_processes_are_added_up(session: aiohttp.ClientSession) -> None:
    answer, body = await get(session, "/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "Server" not in answer.headers
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in read_text(body.decode())
        for sample in family.samples
    }
    assert samples["rerank_proxy_requests_total", "200", "plain"] == 2
    assert samples["rerank_proxy_request_seconds_count", "200", "plain"] == 2
    assert samples["rerank_proxy_searches_total", "applied"] == 3
    assert not [name for name, *_ in samples if name.endswith("_created")]
    (build,) = [key for key in samples if key[0] == "rerank_proxy_build_info"]
    assert {__version__, platform.python_version()} < {*build}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system has no /proc")
async def test_what_each_process_takes(session: aiohttp.ClientSession) -> None:
    """All three are this one, as the system sees them."""
    _, body = await get(session, "/metrics")
    samples = {
        (sample.name, sample.labels["process"]): sample.value
        for family in read_text(body.decode())
        if family.name.startswith("rerank_proxy_process_") and not family.name.endswith("collections")
        for sample in family.samples
    }
    names = {name.removeprefix("rerank_proxy_process_") for name, _ in samples}
    assert names == {
        "cpu_seconds_total", "max_fds", "open_fds", "resident_memory_bytes", "start_time_seconds", "threads",
        "virtual_memory_bytes",
    }  # fmt: skip
    for process in ("supervisor", "edge-1", "app"):
        own = {name: samples[f"rerank_proxy_process_{name}", process] for name in names}
        assert own["threads"] >= 1
        assert 3 <= own["open_fds"] <= own["max_fds"]
        assert 0 < own["cpu_seconds_total"] <= sum(os.times()[:2])
        assert own["resident_memory_bytes"] < own["virtual_memory_bytes"]


async def test_exemplars_pass_from_process_to_scraper(session: aiohttp.ClientSession) -> None:
    answer, body = await get(session, "/metrics", Accept="application/openmetrics-text;version=1.0.0")
    assert answer.headers["Content-Type"] == OPENMETRICS
    exemplars = [
        (sample.name, sample.labels["le"], sample.exemplar.labels, sample.exemplar.value)
        for family in read_openmetrics(body.decode())
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert exemplars == [("rerank_proxy_request_seconds_bucket", "0.025", {"trace_id": TRACE}, 0.02)]


async def test_scrapers_may_ask_for_gzip(session: aiohttp.ClientSession) -> None:
    _, plain = await get(session, "/metrics")
    answer, body = await get(session, "/metrics", **{"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(body) * 4 < len(plain)
    assert gzip.decompress(body).startswith(plain[:200])


async def test_version_tells_python_and_libraries(session: aiohttp.ClientSession) -> None:
    answer, body = await get(session, "/version")
    told = json.loads(body)
    assert answer.headers["Content-Type"].startswith("application/json")
    assert (told["version"], told["python"]) == (__version__, platform.python_version())
    assert {*told} <= {"version", "python", "torch", "transformers", "onnxruntime"}


async def test_index_names_what_is_there(session: aiohttp.ClientSession) -> None:
    _, body = await get(session, "/")
    paths = [line.split()[0] for line in body.decode().splitlines() if line.startswith("/")]
    assert {"/live", "/ready", "/metrics", "/version"} == {*paths}
    for path in paths:
        answer, _ = await get(session, path)
        assert answer.status in (200, 503), path


async def test_an_application_that_stands_still_is_told_from_one_that_starts(tmp_path: Path) -> None:
    """It has a process, which answered before."""
    socket, metrics = tmp_path / "app.sock", ProcessMetrics()
    metrics.app_up = True
    admin = Admin(ControlClient(socket), metrics, EdgeMetrics(), lambda: None)

    async def reason() -> str | None:
        return (await admin._state())[1]

    starts = await reason()
    assert starts == "the reranking process is starting or restarting"
    async with serve_control(socket, CollectorRegistry(), lambda _: None):
        await reason()
    assert (await reason() or "").startswith("the reranking process runs, but does not answer")
    metrics.app_restarts += 1
    assert await reason() == starts
