"""`explain`: the tree's own explanations in the answer, over upstream's of its queries."""

import json
from typing import Any, Final

import pytest

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.answer.explaining import explained
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.diversify import DiversifyRetriever
from rerank_proxy.search.retrievers.fusing import Component
from rerank_proxy.search.retrievers.knn import KnnRetriever
from rerank_proxy.search.retrievers.linear import LinearRetriever
from rerank_proxy.search.retrievers.pinned import PinnedDoc, PinnedRetriever
from rerank_proxy.search.retrievers.rescorer import RescorerRetriever
from rerank_proxy.search.retrievers.retriever import Found
from rerank_proxy.search.retrievers.rrf import RrfRetriever
from rerank_proxy.search.retrievers.standard import StandardRetriever
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from rerank_proxy.upstream.protocol import Reply
from rerank_proxy.xcontent.splicing import Printer
from tests.support.searches import reranking
from tests.unit.search.doubles import a_run
from tests.unit.search.doubles import found as answer

PIT: Final = b'{"id":"p"}'
ASKED: Final = {**reranking(), "explain": True}
FINAL: Final = b'{"query":{},"stored_fields":"_none_","explain":true}'
LEAF: Final = StandardRetriever(query=b'{"match":{"text":"crime"}}')
NAMED: Final = StandardRetriever(query=b'{"match":{"text":"other"}}', name="second")
OWN: Final = {"value": 2.5, "description": "sum of:", "details": []}
"""What upstream says of the final search, which native does not."""
NESTED: Final = {
    **OWN,
    "details": [{"value": 1.0, "description": "FieldExistsQuery [field=_primary_term]", "details": []}],
}


def doc(id_: str, score: float, shard_doc: int = 0) -> RankDoc:
    return RankDoc("films", id_, 0, shard_doc=shard_doc, score=score)


def shown(id_: str, score: float = 2.5, explanation: Any = OWN, shard: int = 0, index: str = "films") -> Any:
    return {
        "_shard": f"[films][{shard}]",
        "_node": "n",
        "_index": index,
        "_id": id_,
        "_score": score,
        "_explanation": explanation,
    }


def weight(word: str, id_: str) -> dict[str, Any]:
    return {"value": 0.5, "description": f"weight(text:{word} in {id_})", "details": []}


class Searches:
    """Explains each document that a query finds.

    Args:
        found: The identifiers, by the word of the query.
    """

    def __init__(self, **found: str) -> None:
        self.found = found
        self.sent: list[Any] = []

    async def __call__(self, body: bytes) -> Reply:
        sent = json.loads(body)
        self.sent.append(sent)
        word = next(word for word in self.found if word in json.dumps(sent["rescore"]))
        asked = [id_ for group in sent["query"]["bool"]["should"] for id_ in ids_of(group)]
        told = {id_: rescored(weight(word, id_) if id_ in self.found[word] else None) for id_ in asked}
        return answer(*(shown(id_, 0.5, explanation) for id_, explanation in told.items()))


def rescored(explanation: Any) -> dict[str, Any]:
    """What Elasticsearch says of a document whose query was rescored; None where that did not match."""
    first = {"value": 0.0, "description": "product of:", "details": [OWN, OWN]}
    if explanation is None:
        return first
    second = {"value": 0.5, "description": "product of:", "details": [explanation, OWN]}
    return {"value": 0.5, "description": "sum of:", "details": [first, second]}


def ids_of(group: Any) -> list[str]:
    ids: list[str] = group["bool"]["filter"][1]["ids"]["values"]
    return ids


async def explain(root: Found, searches: Searches, *hits: Any) -> list[Any]:
    """The explanation of each hit."""
    raw = json.dumps({"max_score": 2.5, "hits": hits}).encode()
    outer = json.loads(await explained(raw, root, a_run(ASKED), PIT, searches, Printer(pretty=False), FINAL))
    assert outer["max_score"] == 2.5
    assert [(hit["_id"], hit["_score"]) for hit in outer["hits"]] == [
        (hit["_id"], hit["_score"]) for hit in hits
    ]
    return [hit["_explanation"] for hit in outer["hits"]]


def reranker(child: Any, **options: Any) -> TextSimilarityReranker:
    return TextSimilarityReranker(child=child, field="t", inference_text="q", inference_id="e", **options)


RERANKED: Final = Found(reranker(LEAF), [doc("1", 2.5)], (Found(LEAF, [doc("1", 0.5)]),))


async def test_a_reranked_document() -> None:
    searches = Searches(crime="1")
    (explanation,) = await explain(RERANKED, searches, shown("1"))
    assert explanation == {
        "value": 2.5,
        "description": "text_similarity_reranker match using inference endpoint: [e] on document field: [t] "
        "matching on source query ",
        "details": [weight("crime", "1")],
    }
    (search,) = searches.sent
    assert search["rescore"] == {"window_size": 1, "query": {"rescore_query": {"match": {"text": "crime"}}}}
    assert search["pit"] == {"id": "p"}


async def test_in_an_index_with_nested_documents() -> None:
    (explanation,) = await explain(RERANKED, Searches(crime="1"), shown("1", 1.4e-45, NESTED))
    assert (explanation["value"], explanation["description"]) == (1.4e-45, "sum of:")
    ranked, clause = explanation["details"]
    assert ranked["description"].startswith("text_similarity_reranker match")
    assert clause["description"] == "match on required clause, product of:"


async def test_only_documents_of_the_page_are_asked_for() -> None:
    docs = [doc("1", 2.5), doc("2", 2.0), doc("3", 1.0)]
    searches = Searches(crime="123")
    await explain(Found(reranker(LEAF), docs, (Found(LEAF, docs),)), searches, shown("3"), shown("2"))
    (search,) = searches.sent
    assert [id_ for group in search["query"]["bool"]["should"] for id_ in ids_of(group)] == ["2", "3"]
    assert search["size"] == search["rescore"]["window_size"] == 2


async def test_without_hits_nothing_is_asked() -> None:
    searches = Searches(crime="1")
    assert await explain(RERANKED, searches) == []
    assert searches.sent == []


async def test_a_document_of_the_tail_is_explained_by_how_many_its_shard_has_ranked() -> None:
    docs = [doc("1", 2.5), doc("2", 2.0)]
    root = Found(reranker(LEAF), docs, (Found(LEAF, docs),))
    tail = [shown("1"), shown("8", 0.0), shown("9", 0.0, shard=1)]
    _, near, far = await explain(root, Searches(crime="12"), *tail)
    assert near == {"value": 0.0, "description": "doc not found in top 2 rank docs", "details": []}
    assert far == {"value": 0.0, "description": "", "details": []}


async def test_a_document_of_the_tail_in_an_index_with_nested_documents() -> None:
    root = Found(reranker(LEAF), [doc("1", 2.5)], (Found(LEAF, [doc("1", 2.5)]),))
    _, tail = await explain(root, Searches(crime="1"), shown("1"), shown("8", 0.0, NESTED))
    assert tail["description"] == "Failure to meet condition(s) of required/prohibited clause(s)"
    missed, clause = tail["details"]
    assert missed["description"] == (
        "no match on required clause (RankDocsQuery{rank_docs:[TextSimilarityRankDoc{doc=0, shardIndex=0, "
        "score=2.5, inferenceId=e, field=t, chunkScorerConfig=null}]})"
    )
    assert [each["description"] for each in missed["details"]] == ["doc not found in top 1 rank docs"]
    assert clause["description"] == "match on required clause, product of:"


async def test_rrf_tells_ranks_and_what_missed() -> None:
    components = (Component(retriever=LEAF), Component(retriever=NAMED))
    root = Found(
        RrfRetriever(components=components, rank_window_size=2),
        [doc("1", 0.03), doc("2", 0.01)],
        (
            Found(LEAF, [doc("2", 3.0), doc("1", 2.0)]),
            Found(NAMED, [doc("1", 3.0), doc("7", 2.0), doc("2", 1.0)]),  # the last is beyond the window
        ),
    )
    first, second = await explain(root, Searches(crime="12", other="1"), shown("1"), shown("2"))
    assert "computed for initial ranks [2, 1] with rankConstant: [60]" in first["description"]
    assert [each["value"] for each in first["details"]] == [2, 1]
    assert first["details"][1]["details"] == [weight("other", "1")]
    assert "at index [1] [second]" in first["details"][1]["description"]
    assert "initial ranks [1, 0]" in second["description"]
    assert second["details"][1] == {
        "value": 0.0,
        "description": "rrf score: [0], result not found in query at index [1] [second]",
        "details": [],
    }


async def test_linear_tells_normalised_scores() -> None:
    components = (
        Component(retriever=LEAF, weight=2.0, normalizer="minmax"),
        Component(retriever=NAMED, weight=0.5),
    )
    root = Found(
        LinearRetriever(components=components, rank_window_size=3),
        [doc("1", 2.0), doc("2", 1.5)],
        (
            Found(LEAF, [doc("1", 3.0), doc("2", 2.0), doc("3", 1.0)]),
            Found(NAMED, [doc("2", 1.0)]),
        ),
    )
    first, second = await explain(root, Searches(crime="123", other="2"), shown("1"), shown("2"))
    assert "normalized scores [1.0, 0.0] and weights [2.0, 0.5]" in first["description"]
    assert "normalized scores [0.5, 1.0] and weights [2.0, 0.5]" in second["description"]
    assert [each["value"] for each in second["details"]] == [1.0, 0.5]
    assert "using score normalizer [minmax]" in second["details"][0]["description"]


async def test_a_vector_search_is_explained_by_its_similarity() -> None:
    knn = KnnRetriever(section={}, k=1, num_candidates=1, name="vector")
    reranked = RankDoc("films", "1", 0, shard_doc=7, first_score=0.75, score=0.25)
    root = Found(reranker(knn), [doc("1", 2.5)], (Found(knn, [doc("0", 0.7), reranked]),))
    searches = Searches()
    (explanation,) = await explain(root, searches, shown("1"))
    assert searches.sent == []
    assert explanation["description"].endswith("source query [vector]")
    (leaf,) = explanation["details"]
    assert leaf["value"] == 2
    assert leaf["description"].startswith("doc [7] with an original score of [0.25] is at rank [2]")
    assert [each["description"] for each in leaf["details"]] == [
        "found vector with calculated similarity: 0.75"
    ]


async def test_a_vector_search_within_a_limit_of_similarity() -> None:
    knn = KnnRetriever(section={"similarity": b"0.5"}, k=1, num_candidates=1)
    root = Found(reranker(knn), [doc("1", 2.5)], (Found(knn, [doc("1", 0.75)]),))
    (explanation,) = await explain(root, Searches(), shown("1"))
    (similarity,) = explanation["details"][0]["details"]
    assert similarity["description"] == "vector similarity within limit"
    (found,) = similarity["details"]
    assert found["description"] == "found vector with calculated similarity: 0.75"


@pytest.mark.parametrize("narrowing", [True, False])
async def test_the_filters_of_a_vector_search(narrowing: bool) -> None:
    """Of filters that match all Elasticsearch says nothing, and nor does native."""
    knn = KnnRetriever(section={}, k=1, num_candidates=1, filters=(b'{"term":{"crime":1}}',))
    root = Found(reranker(knn), [doc("1", 2.5)], (Found(knn, [doc("1", 0.75)]),))
    own = {"value": 1.0, "description": "ConstantScore(_id:([fe 3f]))", "details": []}
    narrowed = {"value": 1.0, "description": "sum of:", "details": [own, weight("crime", "1")]}

    async def search(_: bytes) -> Reply:
        return answer(shown("1", 0.5, rescored(narrowed if narrowing else own)))

    raw = json.dumps({"hits": [shown("1")]}).encode()
    outer = json.loads(await explained(raw, root, a_run(ASKED), PIT, search, Printer(pretty=False), FINAL))
    (leaf,) = outer["hits"][0]["_explanation"]["details"]
    if narrowing:
        assert (leaf["value"], leaf["description"]) == (0.75, "sum of:")
        assert leaf["details"][1] == weight("crime", "1")
        (leaf, _) = leaf["details"]
    assert leaf["description"].startswith("doc [0] with an original score of [0.75] is at rank [1]")


async def test_pins_are_told_from_what_was_found() -> None:
    pinned = PinnedRetriever(child=LEAF, docs=(PinnedDoc(id="1"),))
    root = Found(pinned, [doc("1", 1.7014122e38), doc("2", 2.5)], (Found(LEAF, [doc("2", 2.5)]),))
    first, second = await explain(root, Searches(crime="2"), shown("1", 1.7014122e38), shown("2"))
    assert first["description"] == "Pinned document, original explanation:"
    assert first["details"][0]["details"] == []
    assert second["description"].startswith("doc [0] with an original score of [2.5] is at rank [2]")
    assert second["details"] == [weight("crime", "2")]


async def test_trees_are_explained_down_to_the_leaves() -> None:
    inner = RescorerRetriever(child=LEAF, rescore=(b"{}",), name="inner")
    leaf = Found(LEAF, [doc("1", 0.5)])
    root = Found(reranker(inner), [doc("1", 2.5)], (Found(inner, [doc("1", 1.5, 3)], (leaf,)),))
    (explanation,) = await explain(root, Searches(crime="1"), shown("1"))
    assert explanation["description"].endswith("source query [inner]")
    (below,) = explanation["details"]
    assert below["description"].startswith("doc [3] with an original score of [1.5] is at rank [1]")
    assert below["details"] == [weight("crime", "1")]


async def test_what_was_diversified_keeps_its_rank_in_the_childs_list() -> None:
    diversify = DiversifyRetriever(child=LEAF, field="v", size=1, lambda_=0.5)
    child = Found(LEAF, [doc("2", 3.0), doc("1", 2.5)])
    root = Found(diversify, [doc("1", 2.5)], (child,))
    (explanation,) = await explain(root, Searches(crime="12"), shown("1"))
    assert explanation["value"] == 2
    assert "is at rank [2]" in explanation["description"]


async def test_documents_of_one_id_are_told_apart_by_index() -> None:
    docs = [doc("1", 2.5), RankDoc("others", "1", 0, shard_doc=5, score=1.5)]
    knn = KnnRetriever(section={}, k=2, num_candidates=2)
    root = Found(RescorerRetriever(child=knn, rescore=(b"{}",)), docs, (Found(knn, docs),))
    one, other = await explain(root, Searches(), shown("1"), shown("1", 1.5, index="others"))
    assert [one["value"], other["value"]] == [1, 2]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"hits":{"hits":[{}]}}'])
async def test_what_is_no_answer_to_a_search(body: bytes) -> None:
    async def search(_: bytes) -> Reply:
        return Reply(200, (), body)

    raw = json.dumps({"hits": [shown("1")]}).encode()
    with pytest.raises(ElasticsearchError) as raised:
        await explained(raw, RERANKED, a_run(ASKED), PIT, search, Printer(pretty=False), FINAL)
    assert raised.value.status == 502


def without_id(hit: Any) -> Any:
    return {name: value for name, value in hit.items() if name != "_id"}


async def test_hits_that_do_not_say_which_document_they_are() -> None:
    """The same page once more says it."""
    docs = [doc("1", 2.5), doc("2", 2.0)]
    hits = [shown("2", 2.0), shown("3", 0.0)]
    searches = Searches(crime="2")

    async def search(body: bytes) -> Reply:
        if "rescore" in json.loads(body):
            return await searches(body)
        assert json.loads(body) == {"query": {}, "track_total_hits": False, "_source": False}
        return answer(*hits)

    root = Found(reranker(LEAF), docs, (Found(LEAF, docs),))
    raw = json.dumps({"hits": [*map(without_id, hits)]}).encode()
    outer = json.loads(await explained(raw, root, a_run(ASKED), PIT, search, Printer(pretty=False), FINAL))
    ranked, other = outer["hits"]
    assert "_id" not in ranked
    assert ranked["_explanation"]["details"] == [weight("crime", "2")]
    assert "doc not found" in other["_explanation"]["description"]


@pytest.mark.parametrize("page", [[], [shown("1", index="others")], [{"_index": "films"}]])
async def test_another_page_is_no_answer(page: list[Any]) -> None:
    async def search(_: bytes) -> Reply:
        return answer(*page)

    raw = json.dumps({"hits": [without_id(shown("1"))]}).encode()
    with pytest.raises(ElasticsearchError) as raised:
        await explained(raw, RERANKED, a_run(ASKED), PIT, search, Printer(pretty=False), FINAL)
    assert raised.value.status == 502


async def test_two_hits_of_one_id() -> None:
    """As custom routing makes them: both are shown."""
    searches = Searches(crime="1")
    first, second = await explain(RERANKED, searches, shown("1"), shown("1", shard=1))
    assert first == second
