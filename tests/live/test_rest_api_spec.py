"""Invariant: through the proxy each API of Elasticsearch answers the same, in every method and parameter.

The requests are made from Elasticsearch's descriptions of its APIs. Each goes to Elasticsearch and to the
proxy, in two passes that find the same: a new index, and nothing that the other pass has left.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from testbed import Reporter, RunningElasticsearch, TestbedError
from testbed.proxy import RunningProxy
from testbed.source import rest_api_spec
from tests.support.fidelity import comparable, final_answer
from tests.support.obtained import cannot_be_had
from tests.support.raw_http import Message, connect
from tests.support.rest_api_spec import ApiRequest, requests

NAME: Final = "described"
"""Of the index, and of everything else that paths name."""
PARTS: Final = {"name": NAME, "index": NAME, "id": "1", "metric": "_all", "node_id": "_all", "fields": "text"}

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
    "cluster.allocation_explain": "a shard is chosen at random",
    "cluster.stats": "memory and loads of the machine",
    "cluster.state": "versions of the state, which each request of the other side changes",
    "nodes.": "memory, loads, and the connections that are open",
    "tasks.": "the tasks that run",
    "indices.stats": "sizes, and counts of what was done",
    "indices.field_usage_stats": "counts of what was done",
    "indices.segments": "segments of indices, which are merged at any time",
    "indices.recovery": "sizes and percentages of what is recovered",
}
"""By the beginning of an API's name: why only the head of its answer is compared."""

UNORDERED: Final = ("indices.get", "indices.shard_stores", "search_shards")
"""By the beginning of an API's name: those that list indices in the order of a hash table."""

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


async def answers(port: int, asked: Iterable[ApiRequest], host: str) -> list[Message]:
    """Send requests on one connection, or on another where that may not be read any more."""
    left = deque(asked)
    got: list[Message] = []
    while left:
        async with connect(port) as wire:
            while left:
                request = left.popleft()
                await wire.send(request.raw(host))
                got.append((await final_answer(wire, has_body=request.method != "HEAD"))[-1])
                if got[-1].field("connection") == "close":
                    break
    return got


@contextmanager
def new_index(elasticsearch: RunningElasticsearch) -> Iterator[None]:
    call = elasticsearch.server.call
    assert call("PUT", f"/{NAME}", {"settings": {"number_of_replicas": 0}}).status == 200
    assert call("PUT", f"/{NAME}/_doc/1?refresh", {"text": "a crime"}).status == 201
    yield
    call("DELETE", f"/{NAME}?ignore_unavailable=true")


@pytest.fixture(scope="session")
def archive() -> Path:
    try:
        return rest_api_spec(Reporter())
    except TestbedError as error:
        cannot_be_had(str(error))


@pytest.mark.every_version("long")
async def test_every_api_answers_the_same(
    elasticsearch: RunningElasticsearch, proxy: RunningProxy, archive: Path
) -> None:
    """The host is the same for both, since `_nodes` names it."""
    host = urlsplit(elasticsearch.url).netloc
    asked = ordered(requests(archive, PARTS))
    passes: list[list[Message]] = []
    for url in (elasticsearch.url, proxy.server.url):
        with new_index(elasticsearch):
            passes.append(await answers(urlsplit(url).port or 0, asked, host))
    differences = []
    for request, direct, proxied in zip(asked, *passes, strict=True):
        if direct != proxied and _compared(request, direct) != _compared(request, proxied):
            differences.append(f"{request}\n{direct}\n{proxied}")
    assert not differences, f"{len(differences)} of {len(asked)}:\n\n" + "\n\n".join(differences[:10])
    assert len(asked) > 1000


def _compared(request: ApiRequest, answer: Message) -> object:
    head, content = comparable(answer)
    if reason_in(CHANGING_BODIES, request.api):
        lines = head.lower().split(b"\r\n")
        return [line for line in lines if not line.startswith(b"content-length")]
    return head, sorted(content) if request.api.startswith(UNORDERED) else content
