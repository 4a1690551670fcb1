"""The author of a template is told of its names, and not of lines and columns in what was made of it."""

import json
from typing import Any

import pytest

from rerank_proxy.relevance.client.places import by_names
from rerank_proxy.relevance.client.searching import RefusedError, Searcher
from rerank_proxy.relevance.templates import template_of
from rerank_proxy.xcontent.positions import position
from tests.support.judged_index import judged_index, refused

BARE: dict[str, Any] = {
    "rrf": {
        "retrievers": [
            {"standard": {"query": {"match": {"plot": "{{query}}"}}}},
            {"knn": {"field": "vector", "query_vector": [1, "ü"], "k": 5}},
        ],
    }
}
PLACES = {
    b'"rrf"': "[rrf]",
    b'"query": {"match"': "[rrf.retrievers.0.standard.query]",
    b'{"plot"': "[rrf.retrievers.0.standard.query.match]",
    b'"k"': "[rrf.retrievers.1.knn.k]",
    b"5": "[rrf.retrievers.1.knn.k]",
    b'"\xc3\xbc"': "[rrf.retrievers.1.knn.query_vector.1]",
}


def place_of(body: bytes, text: bytes) -> str:
    return position(body, body.index(text))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("text", PLACES)
def test_a_place_is_told_by_the_names_that_lead_to_it(text: bytes, whole: bool) -> None:
    body = template_of("t", {"retriever": BARE} if whole else BARE).fill("a query: [1:2]")
    sent = json.dumps(body, ensure_ascii=False).encode()
    assert by_names(f"{place_of(sent, text)} unknown", sent) == f"{PLACES[text]} unknown"


@pytest.mark.parametrize("reason", ["no place", "[7:1] of another body", "[1:99999]", "[1:1] all of it"])
def test_a_place_outside_of_the_body_stays(reason: str) -> None:
    assert by_names(reason, b'{"size":1}') == reason


async def test_of_a_search_that_is_refused() -> None:
    async with judged_index() as index, Searcher(index.url) as searcher:
        index.answer = lambda *_: refused(400, "[1:40] unknown field [qery]")
        body = {"retriever": {"standard": {"query": {"match": {"plot": "a"}}}}}
        with pytest.raises(RefusedError, match=r"^answered 400: \[standard\.query\.match\] unknown field"):
            await searcher.search("films", body)
