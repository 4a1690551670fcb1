"""Invariant: through the proxy each API of Elasticsearch answers the same, in every method and parameter.

The requests are made from Elasticsearch's descriptions of its APIs. Each goes to Elasticsearch and to the
proxy, about things of other names, so that the first does not change what the second finds.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from testbed import Reporter, RunningElasticsearch, TestbedError
from testbed.proxy import RunningProxy
from testbed.source import rest_api_spec
from tests.support.fidelity import comparable, final_answer
from tests.support.raw_http import Message, connect
from tests.support.rest_api_spec import ApiRequest, requests

NAMES: Final = ("spec-direct", "spec-proxy0")
"""As long as each other, but for what is left out of the comparison."""

NOT_SENT: Final = {
    "shutdown.": "it marks nodes of the cluster that all tests share",
    "cluster.post_voting_config_exclusions": "it waits for nodes that do not exist",
    "nodes.hot_threads": "it watches threads for half a second",
    "indices.reload_secure": "it reads the keystore of the node again",
    "_internal.": "Elasticsearch's own, between its nodes",
}
"""By the beginning of an API's name: why it is not asked for."""

OWN: Final = {
    "inference.": "the proxy answers for the task type `rerank`, which upstream has no service for",
    "ml.": "the proxy answers for trained models, where it is set to take uploads",
}
"""By the beginning of an API's name: why the proxy's answers are its own."""

CHANGING_BODIES: Final = {
    "cat.": "columns of a table that is filled with times, loads and counts",
    "cluster.stats": "memory and loads of the machine",
    "cluster.state": "versions of the state, which each request of the other side changes",
    "nodes.": "memory, loads, and the connections that are open",
    "tasks.": "the tasks that run",
    "indices.stats": "sizes and counts of what other tests do",
}
"""By the beginning of an API's name: why only the head of its answer is compared."""

LAST: Final = ("indices.close", "indices.add_block", "indices.delete", "indices.shrink", "indices.split")
"""Sent behind the others, which find the index as it was."""


def reason_in(table: dict[str, str], api: str) -> str | None:
    return next((reason for beginning, reason in table.items() if api.startswith(beginning)), None)


def ordered(asked: Iterable[ApiRequest]) -> list[ApiRequest]:
    """Return what is sent, in order: what removes or closes things comes last."""
    sent = [
        each for each in asked if reason_in(NOT_SENT, each.api) is None and reason_in(OWN, each.api) is None
    ]
    return sorted(sent, key=lambda each: (each.method == "DELETE", each.api.startswith(LAST)))


async def answers(port: int, name: str, archive: Path, host: str) -> list[tuple[ApiRequest, Message]]:
    """Send all requests on one connection, or on another where that is closed."""
    parts = {"index": name, "name": name, "id": "1", "metric": "_all", "node_id": "_all", "fields": "text"}
    left = ordered(requests(archive, parts))
    got: list[tuple[ApiRequest, Message]] = []
    while left:
        async with connect(port) as wire:
            while left:
                request = left.pop(0)
                await wire.send(request.raw(host))
                answer = (await final_answer(wire, has_body=request.method != "HEAD"))[-1]
                got.append((request, answer))
                if answer.field("connection") == "close" or answer.status == 400:
                    break  # Elasticsearch may read nothing more
    return got


@pytest.fixture(scope="session")
def archive() -> Path:
    try:
        return rest_api_spec(Reporter())
    except TestbedError as error:
        pytest.skip(str(error))


@pytest.mark.every_version("long")
async def test_every_api_answers_the_same(
    elasticsearch: RunningElasticsearch, proxy: RunningProxy, archive: Path
) -> None:
    """The host is the same for both, since `_nodes` names it."""
    host = urlsplit(elasticsearch.url).netloc
    for name in NAMES:
        created = elasticsearch.server.call("PUT", f"/{name}", {"settings": {"number_of_replicas": 0}})
        assert created.status == 200
        document = elasticsearch.server.call("PUT", f"/{name}/_doc/1?refresh", {"text": "a crime"})
        assert document.status == 201
    direct, proxied = [
        await answers(urlsplit(url).port or 0, name, archive, host)
        for url, name in zip((elasticsearch.url, proxy.server.url), NAMES, strict=True)
    ]
    differences = []
    for (request, ours), (_, native) in zip(proxied, direct, strict=True):
        seen = [each.replace(NAMES[1].encode(), NAMES[0].encode()) for each in comparable(ours)]
        expected = list(comparable(native))
        if reason_in(CHANGING_BODIES, request.api):
            seen, expected = _heads(ours), _heads(native)
        if seen != expected:
            differences.append((request, expected, seen))
    for name in NAMES:
        elasticsearch.server.call("DELETE", f"/{name}")
    assert not differences, "\n\n".join(map(str, differences[:10])) + f"\n{len(differences)} of {len(direct)}"
    assert len(direct) > 1000


def _heads(answer: Message) -> list[bytes]:
    lines = comparable(answer)[0].split(b"\r\n")
    return [line for line in lines if not line.lower().startswith(b"content-length")]
