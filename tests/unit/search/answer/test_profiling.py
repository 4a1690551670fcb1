"""`profile`: the final search's, by native's names, and the rerankers' share."""

import json
from typing import Any, Final

import pytest

from rerank_proxy.chunks import ChunkRescorer, SentenceBoundaryChunkingSettings
from rerank_proxy.observe.outcome import Applied, Skipped
from rerank_proxy.search.answer.profiling import profiled
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.rescorer import RescorerRetriever
from rerank_proxy.search.retrievers.retriever import Found, Retriever
from rerank_proxy.search.retrievers.standard import StandardRetriever
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from rerank_proxy.xcontent.splicing import Printer
from tests.support.searches import reranking
from tests.unit.search.doubles import a_run

LEAF: Final = StandardRetriever()
RESCORER: Final = RescorerRetriever(child=LEAF, rescore=(b"{}",))
NESTED: Final = "#FieldExistsQuery [field=_primary_term]"


def node(type_: str, description: str, *children: Any) -> dict[str, Any]:
    """As Elasticsearch profiles a query; the numbers are left alone."""
    below = {"children": list(children)} if children else {}
    return {
        "type": type_,
        "description": description,
        "time_in_nanos": 12345678901234567890,
        "breakdown": {"score": 2234},
        **below,
    }


BOOST: Final = node("BoostQuery", "(ConstantScore(_id:([fe 3f])))^2.1823215", node("X", "_id:([fe 3f])"))
RANKED: Final = node("BooleanQuery", "((ConstantScore(_id:([fe 3f])))^2.1823215 #*:*)~1", BOOST)
TAIL: Final = node("TermQuery", "text:crime")
QUERY: Final = node(
    "BooleanQuery", "(((ConstantScore(_id:([fe 3f])))^2.1823215 #*:*)~1) #text:crime", RANKED, TAIL
)
IN_NESTED: Final = node(
    "BooleanQuery", f"+((ConstantScore(_id:([fe 3f])))^2.1823215 #*:*)~1 {NESTED}",
    QUERY, node("FieldExistsQuery", "FieldExistsQuery [field=_primary_term]"),
)  # fmt: skip


def shard(number: int, query: Any, index: str = "films") -> dict[str, Any]:
    search = {"query": [query], "rewrite_time": 3707128, "collector": [{"name": "QueryPhaseCollector"}]}
    return {"id": f"[node][{index}][{number}]", "shard_id": number, "index": index, "searches": [search]}


def doc(number: int, score: float, shard: int = 0, lucene: int = 0) -> RankDoc:
    return RankDoc("films", str(number), 0, shard_doc=shard << 32 | lucene, score=score)


def profile(
    shards: list[Any],
    docs: list[RankDoc],
    retriever: Retriever = RESCORER,
    outcomes: Any = (),
    **options: Any,
) -> Any:
    raw = json.dumps({"shards": shards, "request": {"source": {}}}).encode()
    root = Found(retriever, docs, (Found(LEAF),))
    run = a_run({**reranking(), **options}, outcomes=[*outcomes], windows={"e": 300})
    return json.loads(profiled(raw, root, run, Printer(pretty=False)))


def described(query: Any) -> Any:
    """Type, description and children, without numbers."""
    return query["type"], query["description"], [described(each) for each in query.get("children", ())]


def queries(answer: Any) -> list[Any]:
    return [described(each["searches"][0]["query"][0]) for each in answer["shards"]]


def test_the_ranked_documents_query_has_natives_name() -> None:
    docs = "{rank_docs:[RankDoc{_rank=1, _doc=7, _shard=0, _score=2.5}]}"
    (query,) = queries(profile([shard(0, QUERY)], [doc(1, 2.5, lucene=7)]))
    assert query == (
        "RankDocsQuery",
        f"RankDocsQuery{docs}",
        [("TopQuery", f"TopQuery{docs}", []), ("TermQuery", "text:crime", [])],
    )


def test_in_an_index_with_nested_documents() -> None:
    docs = "{rank_docs:[RankDoc{_rank=1, _doc=7, _shard=0, _score=2.5}]}"
    (query,) = queries(profile([shard(0, IN_NESTED)], [doc(1, 2.5, lucene=7)]))
    type_, description, (ranked, exists) = query
    assert (type_, description) == ("BooleanQuery", f"+RankDocsQuery{docs} {NESTED}")
    assert ranked[:2] == ("RankDocsQuery", f"RankDocsQuery{docs}")
    assert [each[0] for each in ranked[2]] == ["TopQuery", "TermQuery"]
    assert exists == ("FieldExistsQuery", "FieldExistsQuery [field=_primary_term]", [])


def test_each_shard_has_its_own_documents_in_their_order_there() -> None:
    """Shards are numbered by their number and then by their index, and answer in any order."""
    docs = [doc(1, 4.0, shard=1, lucene=9), doc(2, 3.0, shard=3), doc(3, 2.0, shard=1, lucene=2), doc(4, 1.0)]
    shards = [shard(1, QUERY, "b"), shard(0, QUERY, "b"), shard(0, QUERY, "a"), shard(1, QUERY, "a")]
    found = [query[1].partition("[")[2] for query in queries(profile(shards, docs))]
    assert found == [
        "RankDoc{_rank=2, _doc=0, _shard=3, _score=3.0}]}",
        "RankDoc{_rank=3, _doc=2, _shard=1, _score=2.0}, RankDoc{_rank=1, _doc=9, _shard=1, _score=4.0}]}",
        "RankDoc{_rank=4, _doc=0, _shard=0, _score=1.0}]}",
        "]}",
    ]


@pytest.mark.parametrize(
    ("rescorer", "shown"),
    [
        (None, "null"),
        (
            ChunkRescorer(),
            "ChunkScorerConfig{size=1, inferenceText=[null], chunkingSettings="
            '{"strategy":"sentence","max_chunk_size":300,"sentence_overlap":0}}',
        ),
        (
            ChunkRescorer(3, SentenceBoundaryChunkingSettings(100, 0)),
            "ChunkScorerConfig{size=3, inferenceText=[null], chunkingSettings="
            '{"strategy":"sentence","max_chunk_size":100,"sentence_overlap":0}}',
        ),
    ],
)
def test_a_reranker_describes_its_documents_otherwise(rescorer: ChunkRescorer | None, shown: str) -> None:
    reranker = TextSimilarityReranker(
        child=LEAF, field="text", inference_text="q", inference_id="e", chunk_rescorer=rescorer
    )
    ((_, description, _),) = queries(profile([shard(0, QUERY)], [doc(1, 2.5, lucene=7)], reranker))
    assert description == (
        "RankDocsQuery{rank_docs:[TextSimilarityRankDoc{doc=7, shardIndex=0, score=2.5, inferenceId=e, "
        f"field=text, chunkScorerConfig={shown}}}]}}"
    )


def test_a_query_without_parts() -> None:
    (query,) = queries(profile([shard(0, node("MatchNoDocsQuery", "MatchNoDocsQuery"))], []))
    assert query == ("RankDocsQuery", "RankDocsQuery{rank_docs:[]}", [])


FILTER: Final = node("TermQuery", "odd:T")
IDENTIFIER: Final = node("TermQuery", "_id:[fe 3f]")


def test_filters_of_hits_and_of_aggregations_stand_beside_it() -> None:
    """And the identifiers of documents, which native does not look up, do not."""
    profiled_ = shard(0, FILTER)
    profiled_["searches"][0]["query"] += [QUERY, FILTER, IDENTIFIER]
    answer = profile([profiled_], [doc(1, 2.5)], post_filter={"match_all": {}})
    types = [query["type"] for query in answer["shards"][0]["searches"][0]["query"]]
    assert types == ["TermQuery", "RankDocsQuery", "TermQuery"]


def test_where_nobody_asks_for_scores_only_the_tail_is_left() -> None:
    docs = "{rank_docs:[RankDoc{_rank=1, _doc=7, _shard=0, _score=2.5}]}"
    unscored = node("ConstantScoreQuery", "ConstantScore(text:crime)", TAIL)
    (query,) = queries(profile([shard(0, unscored)], [doc(1, 2.5, lucene=7)]))
    (inner,) = query[2]
    assert query[:2] == ("ConstantScoreQuery", f"ConstantScore(RankDocsQuery{docs})")
    assert inner[:2] == ("RankDocsQuery", f"RankDocsQuery{docs}")
    assert [each[:2] for each in inner[2]] == [("TopQuery", f"TopQuery{docs}"), ("TermQuery", "text:crime")]


def test_the_request_that_was_profiled_has_natives_query() -> None:
    raw = json.dumps(
        {"shards": [], "request": {"source": {"query": {"bool": {}}, "from": 0}, "indices": ["a"]}}
    )
    root = Found(RESCORER, [doc(1, 2.5, shard=1, lucene=7)], (Found(LEAF),))
    answer = json.loads(profiled(raw.encode(), root, a_run(reranking()), Printer(pretty=False)))
    ranked = {"_rank": 1, "_doc": 7, "_shard": 1, "_score": 2.5}
    assert answer["request"] == {
        "source": {"query": {"rank_docs_query": {"rank_docs": [ranked]}}, "from": 0},
        "indices": ["a"],
    }


def test_all_else_stays_as_it_is() -> None:
    search = shard(0, QUERY)
    answer = profile([search], [doc(1, 2.5)])
    assert answer["request"] == {"source": {}}
    shown = answer["shards"][0]["searches"][0]
    assert shown["collector"] == [{"name": "QueryPhaseCollector"}]
    assert shown["query"][0]["breakdown"] == {"score": 2234}
    assert shown["query"][0]["time_in_nanos"] == 12345678901234567890
    assert "reranker" not in answer


def test_rerankers_stand_beside_the_shards() -> None:
    outcomes = [Applied("e", "m", 10, 8, 3, 1, 12.5, "text"), Skipped("f", "status_exception")]
    assert profile([], [], outcomes=outcomes)["reranker"] == [
        {
            "outcome": "applied",
            "endpoint": "e",
            "model": "m",
            "window": 10,
            "scored": 8,
            "cached": 3,
            "truncated": 1,
            "ms": 12.5,
        },
        {"outcome": "skipped", "endpoint": "f", "reason": "status_exception"},
    ]


def test_pretty_answers_stay_pretty() -> None:
    """Each value at its depth: the answer's own printer gives the same bytes for the whole."""
    printer = Printer(pretty=True)
    shards = [shard(0, IN_NESTED), shard(1, QUERY)]
    raw = printer.value({"profile": {"shards": shards}}, 0)
    before = raw.index(b"{", 1)
    run = a_run(reranking(), outcomes=[Skipped("f", "x")])
    found = profiled(raw[before:-2], Found(RESCORER, [doc(1, 2.5)], (Found(LEAF),)), run, printer)
    assert found == printer.value(json.loads(found), 1)
