"""The searches of docs/retriever.md, sent as they stand there."""

import json
import re
from typing import Any, Final

import pytest

from rerank_proxy.settings import EndpointSettings
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.endpoints import local_endpoints
from tests.support.pages import read
from tests.support.project import ROOT
from tests.support.search_app import ENDPOINT, NumberAtTheEnd, search_app

PAGE: Final = read(ROOT / "docs" / "retriever.md")
SEARCHES: Final = [
    json.loads(body)
    for body in re.findall(r"^```http\nPOST /films/_search\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
]
MAPPINGS: Final[dict[str, Any]] = {
    "properties": {
        "plot": {"type": "text"},
        "plot_vector": {"type": "dense_vector", "dims": 3},
        "genre": {"type": "keyword"},
        "released": {"type": "integer"},
    }
}
FILMS: Final = [
    {"plot": f"crime {at}", "plot_vector": [1, at, 0], "genre": "Crime", "released": 1990 + at}
    for at in range(1, 6)
]


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: "+".join(search))
async def test_it_is_reranked(
    search: dict[str, Any], elasticsearch: RunningElasticsearch, make_index: MakeIndex
) -> None:
    index = make_index(FILMS, mappings=MAPPINGS)
    names = (ENDPOINT, "my-reranker", "small", "large")
    endpoints = local_endpoints({name: EndpointSettings(model=name) for name in names}, NumberAtTheEnd())
    async with search_app(elasticsearch.url, endpoints=endpoints) as app:
        answer = await app.search(index, search)
    assert answer.ids == ["4", "3", "2", "1", "0"]
    assert answer.headers["X-Rerank"].startswith("applied; ")
