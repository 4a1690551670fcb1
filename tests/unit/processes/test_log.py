"""The log of a whole proxy, with crashes: every line is JSON, and none holds what is secret."""

import json
import os
import signal

from tests.support.processes import children
from tests.support.waiting import until_true
from tests.unit.processes.conftest import Supervise
from tests.unit.processes.test_edges import edges

MARK = "h0rse-battery"
HEADERS = f"Authorization: Basic {MARK}\r\nCookie: {MARK}\r\nX-Api-Key: {MARK}\r\nHost: h\r\n"
REQUESTS = [
    f"GET /i/_doc/1?routing={MARK} HTTP/1.1\r\n{HEADERS}\r\n",
    f"GET http://ada:{MARK}@h/i HTTP/1.1\r\n{HEADERS}\r\n",
    f"POST /i/_doc HTTP/1.1\r\n{HEADERS}Content-Length: {len(MARK)}\r\n\r\n{MARK}",
    f"GET /i/_search?source=text_similarity_reranker{MARK} HTTP/1.1\r\n{HEADERS}\r\n",
    f"GET /i HTTP/1.1\r\n{HEADERS}{MARK}\r\n\r\n",
    f"CONNECT h:1 HTTP/1.1\r\n{HEADERS}\r\n",
]


async def test_every_line_is_json_with_crashes_and_none_holds_a_secret(supervise: Supervise) -> None:
    settings = {
        "edge": {"processes": 2},
        "log": {"level": "debug", "format": "json", "access": "all"},
    }
    proxy = await supervise(settings)
    app = (await proxy.app())["pid"]
    own, other = await edges(proxy, 2)
    for request in REQUESTS * 3:
        await proxy.ask(request.encode())
    os.kill(app, signal.SIGSEGV)
    await proxy.app(other_than=app)
    os.kill(other, signal.SIGKILL)
    await until_true(lambda: other not in children(own), "the end of the edge")
    await edges(proxy, 2)
    proxy.process.send_signal(signal.SIGTERM)
    _, written = await proxy.process.communicate()
    lines = [json.loads(line) for line in written.decode().splitlines()]
    assert MARK not in written.decode()
    requests = [line for line in lines if line["event"]["dataset"] == "rerank_proxy.access"]
    assert len(requests) == len(REQUESTS) * 3
    assert {line["rerank_proxy"]["kind"] for line in requests} == {"plain", "rerank"}
    assert {line["process"]["name"] for line in requests} <= {"supervisor", "edge-1"}
    ends = {line["process"]["name"]: line for line in lines if line["event"].get("action") == "process-ended"}
    assert {name: end["rerank_proxy"]["signal"] for name, end in ends.items()} == {
        "app": signal.SIGSEGV,
        "edge-1": signal.SIGKILL,
    }
    assert not [line for line in lines if line["event"]["dataset"] == "rerank_proxy.stderr"]
    assert "Segmentation fault" in ends["app"]["error"]["stack_trace"]
